"""The commands about policy: what it is, why it says that, what a change changes, leases."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path

from .client import query, quote
from .leasing import lease_terms
from .out import line, plain, short, span
from .reading import count_of, part_of, rows_of, text_of, texts_of
from .stop import FAILED, OK, Stop
from .tasks import arguments_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .desk import Desk, Given
    from .wire import Json

_RULES = ("SAYS", "RULE", "WHY")
_LEASES = ("LEASE", "FOR", "USED", "LEFT", "BY", "RULE")
_MATCHES = ("WHERE", "SAYS", "RULE", "WHY")
_CHANGES = ("CALL", "AGENT", "BEFORE", "NOW", "BY")
_LONGEST = 1 << 20


def show(desk: Desk, given: Given) -> int:
    found = desk.daemon.get(f"/api/v1/policy{query(agent=given.one('agent'))}")
    if given.has("json"):
        desk.screen.json(found)
        return OK
    screen = desk.screen
    screen.tell(f"{found['version']}  preset {found['preset']}: {found['about']}")
    rows = rows_of(found, "rules") + rows_of(found, "preset_rules")
    screen.table(_RULES, list(map(_rule, rows)))
    for ceiling in rows_of(found, "ceilings"):
        screen.tell("")
        screen.tell(f"The most that {', '.join(texts_of(ceiling, 'agents'))} may do:")
        screen.table(_RULES, list(map(_rule, rows_of(ceiling, "rules"))))
    if leases := rows_of(found, "leases"):
        screen.tell("")
        screen.table(_LEASES, [_lease(one, time.time()) for one in leases])
    if text_of(found, "labels") == "report":
        screen.note("labels are only reported: no rule about them asks or denies", mark="bad")
    if apart := texts_of(found, "apart"):
        screen.tell(f"\nRead apart: {line(', '.join(apart))}")
    for doubt in texts_of(found, "doubts"):
        screen.note(line(doubt), mark="bad")
    if problem := text_of(found, "problem"):
        screen.note(f"a changed file was not taken: {line(problem)}", mark="bad")
    return OK


def explain(desk: Desk, given: Given) -> int:
    body: Json = {
        name: given.one(name)
        for name in ("task", "call", "agent", "workspace", "preset", "method", "at")
        if given.has(name)
    }
    if not given.has("task"):
        words = given.words[1:]
        body |= {"tool": given.word(0), "words": words, "labels": given.many("label")}
        body["unattended"] = given.has("unattended")
        body["arguments"] = arguments_in(given.many("argument"))
        if not given.word(0):
            raise Stop("name a tool and what it is told, or --task", name="usage")
        if "workspace" in body:
            body["workspace"] = str(Path(body["workspace"]).absolute())
    elif given.word(0):
        body["call"] = given.word(0)
    found = desk.daemon.post("/api/v1/policy/explain", body, repeatable=True)
    if given.has("json"):
        desk.screen.json(found)
        return OK
    _explained(desk, found)
    return OK


def _explained(desk: Desk, found: Json) -> None:
    screen, verdict = desk.screen, part_of(found, "verdict")
    screen.tell(f"{verdict['say']}: {line(str(found['call']))}")
    screen.tell(f"  by      {line(text_of(verdict, 'rule'))}")
    if reason := text_of(verdict, "reason"):
        screen.tell(f"  because {line(reason)}")
    if reported := text_of(verdict, "reported"):
        screen.tell(f"  but     {line(reported)}, if labels were more than reported")
    if labels := texts_of(found, "labels"):
        screen.tell(f"  labels  {line(', '.join(labels))}")
    screen.tell(f"  under   {found['policy']}")
    if then := part_of(found, "then"):
        screen.tell(f"  then    {then['say']} by {line(then['rule'])}, under {then['policy']}")
    if rows := rows_of(found, "matches"):
        screen.tell("")
        screen.table(_MATCHES, [_match(one) for one in rows])
    if suggested := text_of(found, "suggested"):
        screen.note(f"to allow it from now on: {line(suggested)}")


def test(desk: Desk, given: Given) -> int:
    """As the Test Anything Protocol has it: a line for each, and exit 1 if one is not so."""
    body: Json = {"expect": _expectations(given.word(0)), "policy": _text(given.one("policy"))}
    found = desk.daemon.post("/api/v1/policy/test", body, repeatable=True)
    rows = rows_of(found, "results")
    if given.has("json"):
        desk.screen.json(found)
        return OK if found.get("ok") else FAILED
    desk.screen.tell(f"1..{len(rows)}")
    for number, row in enumerate(rows, start=1):
        mark = "ok" if row.get("ok") else "not ok"
        desk.screen.tell(f"{mark} {number} - {row['expected']}: {line(str(row['call']))}")
        if not row.get("ok"):
            said = part_of(row, "found")
            desk.screen.tell(f"  # it is {said['say']} by {line(text_of(said, 'rule'))}")
            return FAILED
    return OK


def diff(desk: Desk, given: Given) -> int:
    body: Json = {"old": _text(given.word(0)), "new": _text(given.word(1))}
    if not given.word(1):
        body = {"old": "", "new": body["old"]}
    found = desk.daemon.post("/api/v1/policy/diff", body, repeatable=True)
    if given.has("json"):
        desk.screen.json(found)
        return OK
    screen = desk.screen
    for name, head in (("wider", "Wider:"), ("narrower", "Narrower:")):
        if rows := rows_of(found, name):
            screen.tell(head)
            screen.table(_CHANGES, list(map(_change, rows)))
    wider, narrower = len(rows_of(found, "wider")), len(rows_of(found, "narrower"))
    tried = count_of(found, "tried")
    screen.note(
        f"{wider} wider, {narrower} narrower, of {tried} calls and examples that were tried"
    )
    return OK


def grant(desk: Desk, given: Given) -> int:
    body: Json = {"rule": given.word(0), **lease_terms(given), "reason": given.one("reason")}
    found = desk.daemon.post("/api/v1/policy/leases", body)
    return _told_lease(desk, given, found)


def revoke(desk: Desk, given: Given) -> int:
    target = f"/api/v1/policy/leases/{quote(given.word(0))}/revoke"
    return _told_lease(desk, given, desk.daemon.post(target, {}, repeatable=True))


def _told_lease(desk: Desk, given: Given, found: Json) -> int:
    if given.has("json"):
        desk.screen.json(found)
    else:
        desk.screen.table(_LEASES, [_lease(found, time.time())])
    return OK


def _expectations(name: str) -> list[Any]:
    path = Path(name)
    try:
        told = tomllib.loads(_read(path))
    except tomllib.TOMLDecodeError as error:
        raise Stop(f"{name}: not valid TOML: {error}", name="bad_policy_test") from error
    rows = told.get("expect")
    if not isinstance(rows, list) or not rows or set(told) != {"expect"}:
        hint = "write [[expect]] tables with say, tool and words: docs/guides/policy.md"
        raise Stop(f"{name} holds no expectations", hint=hint, name="bad_policy_test")
    return rows  # pyright: ignore[reportUnknownVariableType] - the daemon reads them


def _text(name: str) -> str:
    return _read(Path(name)) if name else ""


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST)
        return data.decode()
    except OSError as error:
        raise Stop(f"{path} cannot be read: {error.strerror}", name="no_such_file") from error
    except UnicodeDecodeError as error:
        raise Stop(f"{path} is not UTF-8", name="no_such_file") from error


def _rule(row: Json) -> tuple[str, ...]:
    return text_of(row, "say"), line(text_of(row, "rule")), line(text_of(row, "reason"))


def _match(row: Json) -> tuple[str, ...]:
    mark = "> " if row.get("decided") else "  "
    return f"{mark}{text_of(row, 'where')}", *_rule(row)


def _change(row: Json) -> tuple[str, ...]:
    before, after = part_of(row, "before"), part_of(row, "after")
    call = plain(text_of(row, "call"))
    by = line(text_of(after, "rule"))
    return call, text_of(row, "agent"), text_of(before, "say"), text_of(after, "say"), by


def _lease(row: Json, now: float) -> tuple[str, ...]:
    uses, until = count_of(row, "uses"), count_of(row, "until")
    used = f"{count_of(row, 'used')} of {uses}" if uses else f"{count_of(row, 'used')}"
    scope = text_of(row, "scope") or "all"
    whom = f"{scope}:{short(text_of(row, 'of'))}" if row.get("of") else scope
    left = span(max(0.0, until / 1000 - now)) if until else "no end"
    return short(text_of(row, "id")), whom, used, left, text_of(row, "by"), _words(row)


def _words(lease: Json) -> str:
    """The rule of a lease, as `policy grant` takes it."""
    rule = part_of(lease, "rule")
    tool = ",".join(texts_of(rule, "tools")) or text_of(rule, "tool") or "*"
    commands: list[list[str]] = rule.get("command") or []
    about = [*(" ".join(words) for words in commands), *texts_of(rule, "paths")]
    about += texts_of(rule, "hosts")
    target = ", ".join(about) or text_of(rule, "target")
    return line(f"{tool}:{target}" if target else tool)
