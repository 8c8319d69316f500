"""Undo what a task changed, or show what that would be."""

from __future__ import annotations

from .client import query, quote
from .out import line
from .reading import rows_of, text_of, texts_of
from .stop import FAILED, OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .desk import Desk, Given
    from .wire import Json

_TAIL = 8


def undo(desk: Desk, given: Given) -> int:
    path, call = f"/api/v1/tasks/{quote(given.word())}/undo", given.one("call")
    if given.has("dry-run"):
        told = desk.daemon.get(f"{path}{query(call=call)}")
    else:
        told = desk.daemon.post(path, {"call": call} if call else {})
    code = FAILED if rows_of(told, "left") else OK
    if given.has("json"):
        desk.screen.json(told)
        return code
    for text in _files(told):
        desk.screen.tell(text)
    for text in _notes(told, dry=given.has("dry-run")):
        desk.screen.note(text)
    return code


def _files(told: Json) -> Iterator[str]:
    for one in rows_of(told, "files"):
        kind = "" if one["kind"] == "file" else f" ({_KINDS.get(str(one['kind']), one['kind'])})"
        yield line(f"{one['what']:<10}{one['path']}{kind}")
    for one in rows_of(told, "left"):
        yield line(f"{'left':<10}{one['path']}: {one['why']}")


def _notes(told: Json, *, dry: bool) -> Iterator[str]:
    if not rows_of(told, "files"):
        yield "nothing to undo"
    elif dry:
        yield "nothing was done: this is what would be, now"
    for one in rows_of(told, "lasting"):
        yield line(f"stays: {one['tool']} {one['target']} (call {one['call']}): {one['why']}")
    if apart := [str(one) for one in texts_of(told, "apart")]:
        yield line(f"not looked into: {', '.join(apart)}; what commands changed there stays")
    for child in texts_of(told, "children"):
        yield f"its child changed files too: holdfast task undo {str(child)[-_TAIL:]}"
    if told.get("resumed"):
        yield "an undo was cut off: the next finishes it" if dry else "a cut-off undo was finished"
    if name := text_of(told, "id"):
        task, _, number = name.rpartition(".")
        yield f"take it back with: holdfast task undo {task[-_TAIL:]}.{number}"


_KINDS = {"dir": "folder", "link": "link"}
