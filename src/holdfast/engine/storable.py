"""What comes from outside, made fit for the journal, which reads back whatever it has written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

from msgspec.structs import replace

from holdfast.core.ids import canonical
from holdfast.core.message import Change, Failed, Outcome, Refused, Reply, Returned, Unknown
from holdfast.core.task import Wait
from holdfast.ports.model import Delta

_DEEPEST = 64
R = TypeVar("R", bound=Outcome | Wait)


def text(words: str) -> str:
    """`words` with a mark in place of what is no character (half of a pair, a byte of a name)."""
    return words.encode(errors="replace").decode()


def delta(piece: Delta) -> Delta:
    """A piece of a reply that can be sent on; half of a pair may still be on its way."""
    if piece.text.isascii() and piece.thought.isascii() and piece.call.isascii():
        return piece
    return Delta(text=text(piece.text), thought=text(piece.thought), call=text(piece.call))


def outcome(result: R) -> R:
    """A result whatever names of files it speaks of."""
    match result:
        case Returned() | Failed():
            return replace(result, text=text(result.text))
        case Refused() | Unknown():
            return replace(result, reason=text(result.reason))
        case _:
            return result


def reply(said: Reply) -> Reply:
    """A reply whose words, and whose calls' names and arguments, can be kept."""
    thoughts = tuple(replace(one, text=text(one.text)) for one in said.thoughts)
    calls = tuple(
        replace(call, tool=text(call.tool), arguments={}, problem=why)
        if (why := _problem(call.arguments))
        else replace(call, tool=text(call.tool))
        for call in said.calls
    )
    return replace(said, text=text(said.text), thoughts=thoughts, calls=calls)


def problem(changes: Iterable[Change]) -> str:
    """Why what a call may change cannot be noted, or empty."""
    for change in changes:
        if (name := text(change.path)) != change.path:
            return f"the name of {name} is not Unicode, so its change could not be noted"
    return ""


def _problem(arguments: Mapping[str, Any]) -> str:
    """Why arguments could not be stored and read again, or empty."""
    level: list[Any] = [arguments]
    for _ in range(_DEEPEST):
        level = [part for value in level for part in _parts(value)]
    if level:
        return f"the arguments are nested deeper than {_DEEPEST} levels"
    try:
        canonical(arguments)
    except UnicodeEncodeError:
        return "the arguments hold text that is not Unicode"
    return ""


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return cast("dict[Any, Any]", value).values()
    return cast("list[Any]", value) if isinstance(value, list) else ()
