"""`holdfast run`: ask, follow, answer."""

from __future__ import annotations

import os
import time

from .approving import Approver
from .asking import request
from .choosing import pick_model
from .client import Happening
from .following import Progress, closing, follow
from .out import plain
from .reading import part_of, rows_of, text_of
from .stop import INTERRUPTED, OK, Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json

_GOODBYE = 5.0


def run(desk: Desk, given: Given) -> int:
    desk.screen.quiet = given.has("quiet")
    pick_model(desk, given)
    body = request(desk, given)
    row = submit(desk, body)
    if given.has("detach"):
        desk.screen.json(row) if given.has("json") else desk.screen.tell(str(row["id"]))
        return OK
    if body["unattended"] and not body.get("allow"):
        desk.screen.note(
            "nobody is here to ask: what the policy would ask is denied (--allow and --yes grant)",
            mark="point",
            color="faint",
        )
    task = str(row["id"])
    try:
        row = attend(desk, task, given, ask=not body["unattended"])
    except KeyboardInterrupt:
        return interrupted(desk, task)
    return give(desk, row, as_json=given.has("json"))


def submit(desk: Desk, body: Json) -> Json:
    """Put it on the queue, once: a key makes sending it again harmless."""
    body.setdefault("key", f"cli-{os.urandom(9).hex()}")
    return desk.daemon.post("/api/v1/tasks", body, repeatable=True)


def attend(desk: Desk, task: str, given: Given, *, ask: bool) -> Json:
    """Follow a task and put its questions to the person who sits there; its last summary."""
    progress, approver = Progress(desk, asks=ask), Approver(desk, task)

    def hear(item: Happening) -> None:
        progress.hear(item)
        if ask and asks(item):
            approver.look(progress.calls)

    return follow(desk, task, hear, show_thinking=showing(desk, given))


def give(desk: Desk, row: Json, *, as_json: bool) -> int:
    """The answer on stdout and nothing else; what it took on stderr."""
    if as_json:
        desk.screen.json(row)
    elif row.get("answer") is not None:
        desk.screen.answer(with_thinking(str(row["answer"]), row))
    code = closing(desk, row)
    if row.get("thinking") and row.get("answer") is None and not as_json:
        desk.screen.note(plain(with_thinking("", row)), color="faint")
    return code


def showing(desk: Desk, given: Given) -> str:
    """When to show what the model thought; a program that reads gets it only if it asked."""
    people = desk.screen.out_is_terminal or given.has("json")
    return given.one("show-thinking") or ("" if people else "never")


def with_thinking(answer: str, row: Json) -> str:
    """The answer and, where it is to be shown, what the model thought."""
    thinking = text_of(row, "thinking")
    return f"{answer}\n\nThinking:\n{thinking}".lstrip("\n") if thinking else answer


def interrupted(desk: Desk, task: str) -> int:
    """Ctrl-C: stop the task, not only the waiting for it. A second one does not wait."""
    deadline = time.monotonic() + _GOODBYE
    try:
        row = desk.daemon.post(
            f"/api/v1/tasks/{task}/cancel", {"reason": "interrupted"}, repeatable=True
        )
        while row.get("status") != "CANCELED" and time.monotonic() < deadline:
            time.sleep(0.05)
            row = desk.daemon.get(f"/api/v1/tasks/{task}")
        desk.screen.note(f"stopped {task[-8:]}", mark="bad")
    except Stop as stop:
        desk.screen.note(f"the task may still be running: {stop.message}", mark="bad")
    return INTERRUPTED


def asks(item: Happening) -> bool:
    """True when an event may have opened a question to a person."""
    judged: list[Json] = rows_of(item.data, "judged")
    if item.kind == "Replied":
        return any(part_of(one, "verdict").get("type") == "ask" for one in judged)
    if item.kind == "TopUpRequested":
        return True
    return item.kind == "CallWaiting" and part_of(item.data, "wait").get("type") == "human"
