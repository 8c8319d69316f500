"""Looking at one task and acting on it."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from .approving import describe
from .asking import limits_of
from .client import query, quote
from .following import Progress, follow
from .leasing import lease_terms
from .listing import cost, spent, state
from .out import ago, line
from .reading import count_of, part_of, rows_of, text_of, texts_of
from .run import give, showing, with_thinking
from .stop import FAILED, INTERRUPTED, OK, Stop
from .tries import told

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .desk import Desk, Given
    from .wire import Json

_EVENT_PAGE = 500


def show(desk: Desk, given: Given) -> int:
    wanted = query(show_thinking=showing(desk, given), advice="true")
    row = desk.daemon.get(f"{_target(given)}{wanted}")
    if given.has("json"):
        desk.screen.json(row)
    elif given.has("answer"):
        if row.get("answer") is None:
            raise Stop(f"{row['id']} has no answer: it is {row['status']}", code=FAILED)
        desk.screen.answer(str(row["answer"]))
    else:
        for name, value in [*_facts(row, time.time()), *_tries(desk, str(row["id"]))]:
            desk.screen.tell(f"{name:<11}{value}")
        if row.get("answer") is not None:
            desk.screen.tell("")
            desk.screen.answer(with_thinking(str(row["answer"]), row))
        elif row.get("thinking"):
            desk.screen.tell("")
            desk.screen.tell(with_thinking("", row))
    return OK


def watch(desk: Desk, given: Given) -> int:
    """Ctrl-C here ends the watching only: the task belongs to whoever submitted it."""
    task = str(desk.daemon.get(_target(given))["id"])
    progress = Progress(desk)
    try:
        row = follow(
            desk,
            task,
            progress.hear,
            after=given.count("after") or 0,
            show_thinking=showing(desk, given),
        )
    except KeyboardInterrupt:
        desk.screen.note(f"the task goes on: holdfast task watch {task[-8:]}")
        return INTERRUPTED
    return give(desk, row, as_json=given.has("json"))


def cancel(desk: Desk, given: Given) -> int:
    row = desk.daemon.post(f"{_target(given)}/cancel", {"reason": given.one("reason")})
    return _acted(desk, given, row, "canceled")


def retry(desk: Desk, given: Given) -> int:
    limits = limits_of(given)
    row = desk.daemon.post(f"{_target(given)}/retry", {"limits": limits} if limits else {})
    if given.has("json"):
        desk.screen.json(row)
    else:
        desk.screen.tell(str(row["id"]))
    return OK


def approve(desk: Desk, given: Given) -> int:
    row, question = _question(desk, given)
    body: Json = {"digest": question["digest"], "whole_task": given.has("whole-task")}
    body |= {name: True for name in ("vouch", "alike") if given.has(name)}
    if given.has("edit"):
        body["arguments"] = arguments_in(given.many("edit"))
    if any(map(given.has, ("for", "rule", "uses", "until"))):
        given.options.setdefault("for", ["task"])
        body["lease"] = {**lease_terms(given), "rule": given.one("rule")}
    target = f"/api/v1/tasks/{row['id']}/calls/{quote(question['call'])}/approve"
    what = "sent back, edited:" if given.has("edit") else "approved"
    return _acted(desk, given, desk.daemon.post(target, body), what, question)


def arguments_in(told: list[str]) -> Json:
    """Arguments as NAME=VALUE; a value is text, or JSON behind NAME:=."""
    found: Json = {}
    for one in told:
        name, sign, value = one.partition("=")
        if not sign or not name.rstrip(":"):
            raise Stop(f"{one!r} is no argument: write NAME=VALUE", name="usage")
        try:
            found[name.rstrip(":")] = json.loads(value) if name.endswith(":") else value
        except ValueError as error:
            raise Stop(f"{value!r} is not JSON: {error}", name="usage") from error
    return found


def deny(desk: Desk, given: Given) -> int:
    row, question = _question(desk, given)
    target = f"/api/v1/tasks/{row['id']}/calls/{quote(question['call'])}/refuse"
    told = desk.daemon.post(target, {"reason": given.one("reason")})
    return _acted(desk, given, told, "refused", question)


def say(desk: Desk, given: Given) -> int:
    text = " ".join(given.words[1:])
    return _acted(desk, given, desk.daemon.post(f"{_target(given)}/say", {"text": text}), "told")


def approvals(desk: Desk, given: Given) -> int:
    found = desk.daemon.get("/api/v1/approvals")
    if given.has("json"):
        desk.screen.json(found)
        return OK
    asked: list[Json] = rows_of(found, "approvals")
    if not asked:
        desk.screen.note("nothing waits for an answer")
    for question in asked:
        task = str(question["task"])
        left = count_of(question, "until") / 1000 - time.time()
        until = f", {_left(left)} left" if left > 0 else ""
        title = line(text_of(question, "title"))
        desk.screen.tell(f"{task[-8:]}  {title} (call {question['call']}{until})")
        for text in describe(question, _call(desk, task, str(question["call"]))):
            desk.screen.tell(f"  {text}")
        if rule := text_of(question, "rule"):
            allows = line(text_of(question, "suggested"))
            desk.screen.tell(f"    asked by: {line(rule)}; what would allow it: {allows}")
        if strange := texts_of(question, "nobodys"):
            desk.screen.tell(f"    nobody has said: {line('; '.join(strange))}")
        for noticed in texts_of(question, "advice"):
            desk.screen.tell(f"    careful: {line(noticed)}")
        if whom := texts_of(question, "for_whom"):
            desk.screen.tell(f"    for: {line('; '.join(whom))}")
    if asked:
        desk.screen.note("answer with: holdfast task approve TASK, or task deny TASK")
    return OK


def bundle(desk: Desk, given: Given) -> int:
    row = desk.daemon.get(_target(given))
    to = given.word(1) or f"{row['id']}.zip"
    reply = desk.daemon.open("GET", f"/api/v1/tasks/{row['id']}/bundle")
    try:
        if to == "-":
            for piece in reply.pieces():
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return OK
        path = Path(to).expanduser()
        if path.is_dir():
            path /= f"{row['id']}.zip"
        write_new(path, reply.pieces())
    except FileExistsError as error:
        raise Stop(f"{to} exists already", hint="name another file") from error
    finally:
        reply.close()
    desk.screen.json({"file": str(path)}) if given.has("json") else desk.screen.tell(str(path))
    return OK


def write_new(path: Path, pieces: Iterable[bytes]) -> None:
    """The whole file, for its owner only, or no file."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    whole = False
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(pieces)
        whole = True
    finally:
        if not whole:
            path.unlink(missing_ok=True)


def replay(desk: Desk, given: Given) -> int:
    found = desk.daemon.get(f"{_target(given)}/replay")
    same = bool(found.get("same"))
    if given.has("json"):
        desk.screen.json(found)
    elif same:
        desk.screen.tell(f"the same: {found.get('events')} events decided anew, no difference")
    else:
        for difference in rows_of(found, "differences"):
            parts = (line(f"{name} {value}") for name, value in difference.items())
            desk.screen.tell("; ".join(parts))
    return OK if same else FAILED


def verify(desk: Desk, given: Given) -> int:
    found = desk.daemon.get(f"{_target(given)}/verify")
    good = bool(found.get("ok"))
    if given.has("json"):
        desk.screen.json(found)
    elif good:
        desk.screen.tell(f"whole: {found.get('events')} events, chain and summary agree")
    else:
        for problem in texts_of(found, "problems") or ["the daemon does not say what is wrong"]:
            desk.screen.tell(line(str(problem)))
    return OK if good else FAILED


def _target(given: Given) -> str:
    return f"/api/v1/tasks/{quote(given.word())}"


def _acted(desk: Desk, given: Given, row: Json, what: str, question: Json | None = None) -> int:
    if given.has("json"):
        desk.screen.json(row)
        return OK
    about = f"{question['tool']} {question.get('target') or ''}" if question else ""
    desk.screen.tell(line(f"{what} {str(row['id'])[-8:]} {about}"))
    return OK


def _question(desk: Desk, given: Given) -> tuple[Json, Json]:
    """The task and the question that is meant: the only one, or the one that is named."""
    row = desk.daemon.get(_target(given))
    asked: list[Json] = rows_of(row, "questions")
    wanted = given.word(1)
    found = [q for q in asked if not wanted or str(q["call"]).startswith(wanted)]
    if not found:
        what = f"a call {wanted}" if wanted else "anything"
        raise Stop(f"{row['id']} does not ask about {what}", hint="holdfast approvals")
    if len(found) > 1:
        known = ", ".join(str(q["call"]) for q in found)
        raise Stop(f"{row['id']} asks more than one thing: {known}", hint="name the call too")
    return row, found[0]


def _call(desk: Desk, task: str, call: str) -> Json:
    """A proposed call with its arguments, from the task's own events."""
    for event in _events(desk, task):
        for judged in rows_of(part_of(event, "data"), "judged"):
            if judged["call"]["id"] == call:
                return judged["call"]
    return {}


def _tries(desk: Desk, task: str) -> Iterator[tuple[str, str]]:
    """Who was asked for each turn that took more than one try."""
    turn = 1
    for event in _events(desk, task):
        for place, one in enumerate(told(part_of(event, "data"))):
            yield "" if place else f"turn {turn}", one
        turn += event.get("kind") == "Replied"


def _events(desk: Desk, task: str) -> Iterator[Json]:
    after = 0
    while True:
        page = desk.daemon.get(f"/api/v1/tasks/{task}/events?after={after}")
        events: list[Json] = rows_of(page, "events")
        yield from events
        if len(events) < _EVENT_PAGE:
            return
        after = int(events[-1]["seq"])


def _left(seconds: float) -> str:
    return f"{seconds / 3600:.0f} h" if seconds >= 5400 else f"{seconds / 60:.0f} min"


def _facts(row: Json, now: float) -> list[tuple[str, str]]:
    fault = part_of(row, "fault")
    changed = sorted({line(str(change["path"])) for change in rows_of(row, "changes")})
    facts = [
        ("task", str(row["id"])),
        ("status", state(row)),
        ("wanted", line(text_of(row, "title"))),
        ("by", line(text_of(row, "by"))),
        ("session", line(text_of(row, "session"))),
        ("workspace", line(text_of(row, "workspace"))),
        ("submitted", ago(count_of(row, "submitted_at"), now)),
        ("updated", ago(count_of(row, "updated_at"), now)),
        ("attempt", text_of(row, "attempt")),
        ("used", f"{spent(row, 'steps')} steps, {spent(row, 'tokens'):,} tokens, {cost(row)}"),
        ("parent", text_of(row, "parent")),
        ("children", ", ".join(str(one) for one in texts_of(row, "children"))),
        (
            "changed",
            ", ".join(changed),
        ),
        ("heard", line(", ".join(str(one) for one in texts_of(row, "heard")))),
        ("fault", line(f"{fault.get('code', '')} {fault.get('message', '')}")),
    ]
    facts += [("careful", line(noticed)) for noticed in texts_of(row, "advice")]
    facts += [
        ("asks", line(f"{q['call']}: {q.get('question')}")) for q in rows_of(row, "questions")
    ]
    return [(name, value) for name, value in facts if value]
