"""What servers have for people besides tools: resources to read, prompts to fill in."""

from __future__ import annotations

from .client import quote
from .out import line, plain
from .reading import part_of, rows_of, text_of
from .stop import OK, Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json

_HEAD = ("ADDRESS", "NAME", "KIND", "WHAT IT IS")
_PROMPTS = ("PROMPT", "TAKES", "WHAT IT IS")


def mcp_resources(desk: Desk, given: Given) -> int:
    place = f"/api/v1/mcp/{quote(given.word())}/resources"
    if uri := given.word(1):
        return _read(desk, given, desk.daemon.post(place, {"uri": uri}))
    said = part_of(desk.daemon.get(place), "said")
    if given.has("json"):
        desk.screen.json(said)
        return OK
    rows = [*rows_of(said, "resources"), *rows_of(said, "resourceTemplates")]
    if rows:
        desk.screen.table(_HEAD, [_resource(one) for one in rows])
    else:
        desk.screen.note(f"{given.word()} has nothing to read")
    return OK


def mcp_prompts(desk: Desk, given: Given) -> int:
    place = f"/api/v1/mcp/{quote(given.word())}/prompts"
    if wanted := given.word(1):
        return _filled(desk, given, place, wanted)
    said = part_of(desk.daemon.get(place), "said")
    if given.has("json"):
        desk.screen.json(said)
        return OK
    if rows := rows_of(said, "prompts"):
        desk.screen.table(_PROMPTS, [_prompt(one) for one in rows])
    else:
        desk.screen.note(f"{given.word()} has no prompts")
    return OK


def _read(desk: Desk, given: Given, told: Json) -> int:
    said = part_of(told, "said")
    if given.has("json"):
        desk.screen.json(said)
        return OK
    for one in rows_of(said, "contents"):
        if "text" in one:
            desk.screen.answer(text_of(one, "text"))
        else:
            kind, size = text_of(one, "mimeType"), len(text_of(one, "blob")) * 3 // 4
            what = f"{line(text_of(one, 'uri'))}: {line(kind)}, {size:,} bytes; --json has them"
            desk.screen.note(what)
    return OK


def _filled(desk: Desk, given: Given, place: str, wanted: str) -> int:
    arguments: dict[str, str] = {}
    for pair in given.many("set"):
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise Stop(f"--set {pair!r} is not NAME=VALUE", name="usage")
        arguments[name] = value
    body: Json = {"prompt": wanted, "arguments": arguments}
    said = part_of(desk.daemon.post(place, body), "said")
    if given.has("json"):
        desk.screen.json(said)
        return OK
    for one in rows_of(said, "messages"):
        content = part_of(one, "content")
        text = text_of(content, "text") or f"[{text_of(content, 'type')}]"
        desk.screen.tell(f"{line(text_of(one, 'role'))}: {plain(text)}")
    return OK


def _resource(row: Json) -> tuple[str, ...]:
    address = text_of(row, "uri") or text_of(row, "uriTemplate")
    rest = (text_of(row, key) for key in ("name", "mimeType", "description"))
    return (line(address), *map(line, rest))


def _prompt(row: Json) -> tuple[str, ...]:
    takes = [
        f"{text_of(one, 'name')}{'' if one.get('required') else '?'}"
        for one in rows_of(row, "arguments")
    ]
    words = text_of(row, "description")
    return (line(text_of(row, "name")), line(", ".join(takes)), line(words))
