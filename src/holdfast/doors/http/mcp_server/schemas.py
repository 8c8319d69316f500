"""What a tool takes and gives, as JSON Schema, from its row of Holdfast's own interface."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec

from holdfast.doors.http.route import Entry

_PATH = re.compile(r"\{(\w+)(?::path)?\}")
_REF = re.compile(r'"#/\$defs/([^"]+)"')


def taken(entry: Entry, only: Iterable[str], more: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments: what the path names, and those parts of the body or query that are offered."""
    model = entry.body if entry.method == "POST" else entry.query
    whole = model.model_json_schema()
    offered = {name: whole["properties"][name] for name in only}
    named = {name: {"type": "string", "description": about} for name, about in _places(entry)}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {**named, **_untitled(offered), **more},
        "additionalProperties": False,
    }
    required = [*named, *(name for name in whole.get("required", ()) if name in offered)]
    if required:
        schema["required"] = required
    return _with_definitions(schema, whole.get("$defs", {}))


def given(entry: Entry) -> dict[str, Any] | None:
    """The structured answer; None for what has none."""
    if isinstance(entry.answer, str):
        return None
    (_,), definitions = msgspec.json.schema_components(
        [entry.answer], ref_template="#/$defs/{name}"
    )
    root: dict[str, Any] = dict(definitions[entry.answer.__name__])
    return _with_definitions(root, definitions)


def places(path: str) -> list[tuple[str, str]]:
    """What of a path stands for something: as it stands there, and the argument's name."""
    return [(found[0], _ARGUMENTS.get(found[1], found[1])) for found in _PATH.finditer(path)]


_ARGUMENTS = {"ref": "task", "id": "session"}
_ABOUT = {
    "task": "Its id, or the last eight characters of it.",
    "call": "The id of the call, as the question has it.",
    "session": "The name of the conversation.",
    "name": "The name of the server of tools.",
    "attempt": "The attempt that begin_server_login told.",
}


def _places(entry: Entry) -> list[tuple[str, str]]:
    return [(name, _ABOUT[name]) for _, name in places(entry.path)]


def _with_definitions(schema: dict[str, Any], all_of_them: Mapping[str, Any]) -> dict[str, Any]:
    """With the definitions that it needs, and no others."""
    found: dict[str, Any] = {}
    open_ones = set(_REF.findall(msgspec.json.encode(schema).decode()))
    while open_ones:
        name = open_ones.pop()
        if name not in found:
            found[name] = _untitled(all_of_them[name])
            open_ones |= set(_REF.findall(msgspec.json.encode(found[name]).decode()))
    return {**schema, "$defs": dict(sorted(found.items()))} if found else schema


def _untitled(schema: Any) -> Any:
    """Without the titles that only repeat names."""
    match schema:
        case dict():
            pairs = cast("dict[str, Any]", schema).items()
            return {k: _untitled(v) for k, v in pairs if k != "title" or _named(v)}
        case list():
            return [_untitled(one) for one in cast("list[Any]", schema)]
        case _:
            return schema


def _named(value: Any) -> bool:
    """A property may be called `title`; then it is a schema, no text."""
    return isinstance(value, dict)
