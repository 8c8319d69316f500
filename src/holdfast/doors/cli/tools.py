"""Using a tool by hand."""

from __future__ import annotations

import json

from .asking import workspace
from .client import quote
from .out import line
from .reading import part_of, rows_of, text_of, texts_of
from .stop import FAILED, NOT_ALLOWED, OK, REFUSED, Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json

_HEAD = ("TOOL", "EFFECT", "FROM", "WHAT")


def tool_list(desk: Desk, given: Given) -> int:
    rows = rows_of(desk.daemon.get("/api/v1/tools"), "tools")
    if name := given.word():
        rows = [one for one in rows if text_of(one, "name") == name]
        if not rows:
            raise Stop(f"there is no tool {name}", hint="holdfast tool list", code=REFUSED)
    if given.has("json"):
        desk.screen.json({"tools": rows})
    elif name:
        _explain(desk, rows[0])
    else:
        desk.screen.table(_HEAD, [_row(one) for one in rows])
    return OK


def tool_use(desk: Desk, given: Given) -> int:
    name, *pairs = given.words
    seconds = given.number("wait")
    known = _fields(desk, name) if pairs else {}
    body: Json = {
        "arguments": dict(_pair(word, known) for word in pairs),
        "workspace": str(workspace(given)),
        "key": given.one("key"),
        "wait_seconds": 60.0 if seconds is None else seconds,
    }
    used = desk.daemon.post(f"/api/v1/tools/{quote(name)}", body)
    end, task = text_of(used, "end"), text_of(used, "task")
    if given.has("json"):
        desk.screen.json(used)
    elif end == "open":
        desk.screen.note(f"not done yet: {task} works, or waits for a yes", mark="bad")
        desk.screen.note("holdfast approvals")
    else:
        desk.screen.tell(text_of(used, "text"))
    if end == "returned":
        return OK
    if end != "open":
        desk.screen.note(f"{end}: holdfast task show {task}", mark="bad")
    return NOT_ALLOWED if end == "refused" else FAILED


def _fields(desk: Desk, name: str) -> Json:
    """What the tool takes, by name."""
    for one in rows_of(desk.daemon.get("/api/v1/tools"), "tools"):
        if text_of(one, "name") == name:
            return part_of(part_of(one, "schema"), "properties")
    return {}


def _pair(word: str, known: Json) -> tuple[str, object]:
    """`KEY=VALUE`: what is JSON is taken as that; all else, and what the tool takes as text, as
    text."""
    key, equals, value = word.partition("=")
    if not (key and equals):
        raise Stop(f"{word[:80]!r} is no KEY=VALUE", hint="like path=src", name="usage")
    if text_of(part_of(known, key), "type") == "string":
        return key, value
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _explain(desk: Desk, tool: Json) -> None:
    desk.screen.tell(text_of(tool, "description"))
    schema = part_of(tool, "schema")
    needed = texts_of(schema, "required")
    for name, about in part_of(schema, "properties").items():
        must = "needed" if name in needed else "may be left out"
        desk.screen.tell(f"  {name} ({must}): {line(text_of(about, 'description')) or '-'}")


def _row(tool: Json) -> tuple[str, ...]:
    words = text_of(tool, "description").partition("\n")[0]
    return (
        line(text_of(tool, "name")),
        text_of(tool, "effect"),
        line(text_of(tool, "source")) or "-",
        line(words)[:80],
    )
