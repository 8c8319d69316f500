"""JSON that may be a tool call: what it asks for, or why it cannot be read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn, cast

import msgspec
from msgspec import Struct

_TOOL = ("tool_name", "name", "tool")
_ARGUMENTS = ("arguments", "parameters", "args")
_SPARE_COMMA = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|,(?=\s*+[}\]])', re.DOTALL)
_NAMED = re.compile(r'"(?:tool_name|name|tool)"\s{0,8}:\s{0,8}"([^"\\\n]{1,64})"')
_HEAD = 2_000
_SNIPPET, _REASON = 260, 180
_MOST_VALUES = 64


class Wanted(Struct, frozen=True, kw_only=True):
    """A call that was asked for. `id` may be empty."""

    tool: str
    arguments: dict[str, Any]
    id: str = ""


class Broken(Struct, frozen=True, kw_only=True):
    """A call that was meant but cannot be read."""

    tool: str
    reason: str
    snippet: str


class _NotJson(Exception):
    """Says why."""


def read(text: str, offered: frozenset[str], *, meant: bool) -> list[Wanted | Broken]:
    """The calls that `text` asks for; none if it is something else.

    `meant`: it stood where only calls stand, so what is no good call is a broken one. Elsewhere
    JSON is a call if it names a tool that is `offered`, and nothing else is.
    """
    try:
        values = _values(text)
    except _NotJson as wrong:
        named = _NAMED.search(text[:_HEAD])
        tool = named[1] if named else ""
        likely = tool in offered and any(f'"{key}"' in text[:_HEAD] for key in _ARGUMENTS)
        return [_broken(tool, str(wrong), text)] if meant or likely else []
    found = [_call(value, offered, text, meant=meant) for value in values]
    whole = [one for one in found if one is not None]
    return whole if len(whole) == len(found) else []


def _call(value: Any, offered: frozenset[str], text: str, *, meant: bool) -> Wanted | Broken | None:
    if not isinstance(value, dict):
        return _broken("", "a call is an object with name and arguments", text) if meant else None
    fields = cast("dict[str, Any]", value)
    key = next((key for key in _TOOL if isinstance(fields.get(key), str)), "")
    tool: str = fields.get(key, "")
    given = next((name for name in _ARGUMENTS if name in fields), "")
    if not meant and (tool not in offered or (key == "name" and not given)):
        return None
    if not tool:
        return _broken("", 'it does not say which tool: "name" is missing', text)
    arguments, problem = _arguments(fields.get(given) if given else {})
    if problem:
        return _broken(tool, problem, text)
    name = fields.get("id")
    return Wanted(tool=tool, arguments=arguments, id=name[:64] if isinstance(name, str) else "")


def _arguments(given: Any) -> tuple[dict[str, Any], str]:
    """The object of arguments, which may itself have been written as a string."""
    if isinstance(given, str):
        try:
            values = list(_decoded(given))
            (given,) = values or [None]
        except (_NotJson, ValueError):
            return {}, "the arguments are a string that is not a JSON object"
    if given is None:
        return {}, ""
    if not isinstance(given, dict):
        return {}, f"the arguments are not an object but a {type(given).__name__}"
    arguments = cast("dict[str, Any]", given)
    try:
        msgspec.json.encode(arguments)
    except (UnicodeEncodeError, RecursionError):
        return {}, "the arguments hold text that is not Unicode, or are nested too deeply"
    return arguments, ""


def _values(text: str) -> list[Any]:
    """Every JSON value of the text, one behind the other; lists and wrappings taken apart."""
    try:
        found = list(_decoded(text))
    except _NotJson as wrong:
        mended = _SPARE_COMMA.sub(lambda m: m[0] if m[0][0] == '"' else "", text)
        if mended == text:
            raise
        try:
            found = list(_decoded(mended))
        except _NotJson:
            raise wrong from None
    if not found:
        raise _NotJson("there is nothing in it")
    return [one for value in found for one in _unwrapped(value)]


def _decoded(text: str) -> Iterator[Any]:
    at, end = 0, len(text)
    for _ in range(_MOST_VALUES):
        space = _SPACE.match(text, at)
        at = space.end() if space else at
        if at == end:
            return
        try:
            value, at = _DECODER.raw_decode(text, at)
        except RecursionError:
            raise _NotJson("it is nested too deeply") from None
        except ValueError as wrong:
            raise _NotJson(f"it is not valid JSON: {wrong}") from None
        yield value
    raise _NotJson(f"it holds more than {_MOST_VALUES} calls")


def _unwrapped(value: Any) -> Iterator[Any]:
    """The calls in a list, in `tool_calls` or in `function`."""
    match value:
        case list():
            for one in cast("list[Any]", value):
                yield from _unwrapped(one) if not isinstance(one, list) else (one,)
        case {"tool_calls": list()}:
            yield from _unwrapped(value["tool_calls"])
        case {"function": {"name": str()} as function, **rest}:
            yield {"id": cast("dict[str, Any]", rest).get("id"), **cast("dict[str, Any]", function)}
        case _:
            yield value


def _broken(tool: str, reason: str, text: str) -> Broken:
    snippet = text.strip()
    snippet = snippet if len(snippet) <= _SNIPPET else f"{snippet[: _SNIPPET - 1]}…"
    reason = reason if len(reason) <= _REASON else f"{reason[: _REASON - 1]}…"
    return Broken(tool=tool or "unknown", reason=reason, snippet=snippet)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


_SPACE = re.compile(r"[\s,;]*")
_DECODER = json.JSONDecoder(strict=False, parse_constant=_no_constant)
