"""What servers ask while a call of theirs is under way, and what a person answers."""

from __future__ import annotations

import json

from .client import quote
from .out import line, plain
from .reading import part_of, rows_of, text_of, texts_of
from .stop import OK, Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json


def mcp_questions(desk: Desk, given: Given) -> int:
    found = desk.daemon.get("/api/v1/mcp-questions")
    if given.has("json"):
        desk.screen.json(found)
        return OK
    rows = rows_of(found, "questions")
    if not rows:
        desk.screen.note("no server asks anything")
    for one in rows:
        desk.screen.tell(f"{text_of(one, 'id')}  {text_of(one, 'server')}  {text_of(one, 'task')}")
        for text in plain(text_of(one, "text")).splitlines():
            desk.screen.tell(f"    {text}")
        for name, field in part_of(one, "fields").items():
            desk.screen.tell(f"    --set {line(name)}={_about(field)}")
    return OK


def mcp_answer(desk: Desk, given: Given) -> int:
    if given.has("no") and given.has("set"):
        raise Stop("--no goes without --set", name="usage")
    question = given.word()
    rows = rows_of(desk.daemon.get("/api/v1/mcp-questions"), "questions")
    found = [part_of(one, "fields") for one in rows if text_of(one, "id") == question]
    fields: Json = found[0] if found else {}
    body: Json = {"accept": not given.has("no"), "content": _content(given, fields)}
    answered = desk.daemon.post(f"/api/v1/mcp-questions/{quote(question)}", body)
    if given.has("json"):
        desk.screen.json(answered)
    else:
        desk.screen.note(f"{text_of(answered, 'server')} has its answer", mark="good")
    return OK


def _content(given: Given, fields: Json) -> Json:
    """What was set, each as its field wants it. Raises `Stop`."""
    found: Json = {}
    for pair in given.many("set"):
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise Stop(f"--set {pair!r} is not NAME=VALUE", name="usage")
        kind = text_of(part_of(fields, name), "type")
        try:
            found[name] = value if kind in {"string", ""} else json.loads(value)
        except ValueError:
            raise Stop(f"{name} wants {kind}, which {value!r} is not", name="usage") from None
    return found


def _about(field: Json) -> str:
    words = [f"({text_of(field, 'type') or 'text'})"]
    words += [f"one of {', '.join(map(str, texts_of(field, 'enum')))}"] if "enum" in field else []
    words += [f"else {field['default']}"] if "default" in field else []
    words += ["needed"] if field.get("required") and "default" not in field else []
    return line(f"{' '.join(words)}  {text_of(field, 'description')}".strip())
