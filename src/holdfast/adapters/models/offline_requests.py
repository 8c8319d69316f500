"""What a person asks of the offline model, taken apart and understood, or not understood."""

from __future__ import annotations

import json
import re
from typing import Any, cast

from msgspec import Struct

from . import offline_steps as steps
from .offline_abilities import ABILITIES, QUOTED, Begin
from .offline_attached import over
from .offline_steps import Attached, Step


class Unclear(Struct, frozen=True, kw_only=True):
    """The parts of a request that were not understood."""

    parts: tuple[str, ...]


def understand(text: str, attached: tuple[Attached, ...] = ()) -> tuple[Begin, ...] | Unclear:
    """What `text` asks for, part by part; or which parts are unclear. A whole or nothing."""
    begins: list[Begin] = []
    unclear: list[str] = []
    for part in split(text):
        if not begins and _OF_BEFORE.match(_plain(part)):
            unclear.append(part)
        elif begin := _understood(part, attached):
            begins.append(begin)
        elif halves := _joined_by_and(part, attached):
            begins += halves
        else:
            unclear.append(part)
    return Unclear(parts=tuple(unclear)) if unclear or not begins else tuple(begins)


def directives(text: str) -> tuple[Begin, ...] | None:
    """The steps of a text that is nothing but `/tool name {json}` lines; None for any other."""
    parts = _directive_lines(text)
    return tuple(map(_directive, parts)) if parts else None


def split(text: str) -> list[str]:
    """The parts of a request: lines, numbered or not, and what stands before and after `then`."""
    text = text.strip()
    if parts := _directive_lines(text):
        return parts
    head, _, body = text.partition("\n")
    if body.strip() and head.rstrip().endswith(":"):
        return [text]
    found: list[str] = []
    for line in text.splitlines():
        bare = re.sub(r"^\s*(?:[-*•]|\d+[.)])\s+", "", line).strip()
        if bare.startswith("/tool "):
            found.append(bare)
        else:
            found += _parts(bare)
    return found


_LONGEST = 400
_LONGEST_LINE = 2_000
_THEN = re.compile(
    r"(?:[,;.]?\s+and\s+then\s+|[,;.]\s+then\s+|\s+then\s+|;\s+|[.!?]\s+(?=[A-Z/]))"
    r"(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)(?=(?:[^`]*`[^`]*`)*[^`]*$)"
)
_POLITE = re.compile(
    r"^(?:(?:hey|hi|hello|ok|okay|so|now|then|first|finally|next|also|please|kindly|just)[,:!]?\s+"
    r"|(?:can|could|would|will)\s+you\s+(?:please\s+)?"
    r"|i(?:'d| would)?\s+(?:want|like|need)\s+(?:you\s+)?to\s+|help\s+me\s+(?:to\s+)?)+",
    re.IGNORECASE,
)
_PLEASE = re.compile(
    r"(?:[,\s]+(?:please|thanks|thank you|for me|now|(?:right |in )?here))*(?:\s|\?|(?<!\d)!)*$",
    re.IGNORECASE,
)
_OF_BEFORE = re.compile(
    r"(?:write|save|put|store|append|add)\s+(?:the\s+)?(?:result|answer|output|it|that|this)s?\s+"
    r"(?:(?:in)?to|in|as)\s",
    re.IGNORECASE,
)
_FULL_STOP = re.compile(r"(?<=[^.\s])\.$")


def _parts(line: str) -> list[str]:
    """What stands before and after `then`; a line too long to be a request is one part."""
    line = _tidy(line)
    parts = [line] if len(line) > _LONGEST_LINE else _THEN.split(line)
    return [part for part in parts if part.strip(" .,;")]


def _understood(part: str, attached: tuple[Attached, ...]) -> Begin | None:
    if part.lstrip().startswith("/tool "):
        return _directive(part.strip())
    plain = _plain(part)
    if len(re.sub(QUOTED, "", plain.partition("\n")[0])) > _LONGEST:
        return None
    if not re.match(r"(?:run|exec|execute)\b|[$!]|.*\n", plain, re.IGNORECASE):
        plain = _FULL_STOP.sub("", _PLEASE.sub("", plain))
    if attached and (begin := over(attached, plain)):
        return begin
    for ability in ABILITIES:
        for wording in ability.wordings:
            found = re.fullmatch(wording, plain, re.IGNORECASE | re.DOTALL)
            if found and (begin := ability.begin(found)):
                return begin
    return None


def _plain(part: str) -> str:
    return _POLITE.sub("", _tidy(part))


def _joined_by_and(part: str, attached: tuple[Attached, ...]) -> list[Begin]:
    """Both halves of "list files and count words in a.txt", if each can stand alone."""
    for found in re.finditer(r",?\s+and\s+", part) if len(part) <= _LONGEST else ():
        first = _understood(part[: found.start()], attached)
        second = _understood(part[found.end() :], attached)
        if first and second:
            return [first, second]
    return []


def _tidy(part: str) -> str:
    """With single spaces, save in quotes and after the first line: those are to be kept."""
    head, newline, body = part.strip().partition("\n")
    pieces = re.split(f"({QUOTED})", head)
    spaced = [
        piece if index % 2 else re.sub(r"\s+", " ", piece) for index, piece in enumerate(pieces)
    ]
    return "".join(spaced) + newline + body


def _directive_lines(text: str) -> list[str]:
    """`/tool` lines and what follows each, if the text begins with one and has nothing else."""
    if not re.match(r"\s*/tool\s+\S", text):
        return []
    return [
        part.strip()
        for part in re.split(r"^\s*(?=/tool\s)", text, flags=re.MULTILINE)
        if part.strip()
    ]


def _directive(line: str) -> Begin:
    found = re.match(r"/tool\s+(\S+)\s*(.*)$", line, re.DOTALL)
    name, rest = (found[1], found[2].strip()) if found else ("", "")
    try:
        arguments: object = json.loads(rest or "{}")
    except ValueError as wrong:
        return _cannot(f"The arguments of /tool {name} are not valid JSON: {wrong}.")
    if not isinstance(arguments, dict):
        return _cannot(f"The arguments of /tool {name} must be a JSON object.")
    return lambda _: steps.direct(name, cast("dict[str, Any]", arguments))


def _cannot(reason: str) -> Begin:
    def step(_: str) -> Step:
        yield from ()
        raise steps.CannotGoOn(reason)

    return step
