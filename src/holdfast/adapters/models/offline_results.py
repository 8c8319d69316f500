"""Reading back what tools say in words, without insisting on the details of their format."""

from __future__ import annotations

import itertools
import re

from msgspec import Struct

_NOTE = re.compile(
    r"^\s*\[.*\]\s*$|^\s*\((?:no |nothing|empty|cut|truncated|and |\d+ more).*\)\s*$"
)
_CUT = re.compile(r"\b(?:cut|truncated|shortened|more lines|more matches|more entries|and more)\b")
_NUMBERED = re.compile(r"^\s*(\d+)(?:\t|\s?[|│:→]\s?)")
_NEXT = re.compile(r"\boffset[ =:]+(\d+)")


class Content(Struct, frozen=True, kw_only=True):
    """Text of a file. `more` if it goes on, from line `next` where that is known."""

    text: str
    more: bool = False
    next: int = 0


def entries_of(text: str) -> list[str]:
    """The entries of a list, a glob or a search: its lines, without the tool's own remarks."""
    lines = [line.rstrip() for line in text.splitlines()]
    kept = [line for line in lines if line and not _NOTE.match(line)]
    if len(kept) == 1 and re.match(r"(?i)^(?:no |nothing|there (?:is|are) no)", kept[0]):
        return []
    return kept


def content_of(text: str) -> Content:
    """A page of a file as it is, without line numbers and closing remarks."""
    body, notes = _without_notes(text)
    numbers = [_NUMBERED.match(line) for line in body.splitlines()]
    if numbers and all(numbers) and _counts_up([int(found[1]) for found in numbers if found]):
        body = "\n".join(_NUMBERED.sub("", line, count=1) for line in body.splitlines())
    following = _NEXT.search(notes)
    return Content(text=body, more=bool(_CUT.search(notes) or following), next=_as_int(following))


def is_cut(text: str) -> bool:
    """True when the tool remarks that there is more than it shows."""
    return bool(_CUT.search(_without_notes(text)[1]))


def _without_notes(text: str) -> tuple[str, str]:
    """The text without its last lines in brackets, and those."""
    lines = text.split("\n")
    end = len(lines)
    while end and (not lines[end - 1].strip() or _NOTE.match(lines[end - 1])):
        end -= 1
    notes = "\n".join(lines[end:]).strip()
    return ("\n".join(lines[:end]), notes) if notes else (text, "")


def _counts_up(numbers: list[int]) -> bool:
    return all(after == before + 1 for before, after in itertools.pairwise(numbers))


def _as_int(found: re.Match[str] | None) -> int:
    return int(found[1]) if found else 0
