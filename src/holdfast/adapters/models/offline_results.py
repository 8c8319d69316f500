"""Reading back what tools say in words, without insisting on the details of their format."""

from __future__ import annotations

import re

from msgspec import Struct

_NOTE = re.compile(r"\[[^\]\n]*\]")
_CUT = re.compile(r"\b(?:cut|truncated|shortened|more|stopped|first \d)", re.IGNORECASE)
_PAGE = re.compile(r"\[lines [\d,]+ to [\d,]+[^;\]]*(?:; read on [^\]]*?(?P<next>\d[\d,]*))?\]")
_NOTHING = re.compile(r"\[the file (?:is empty|has (?:only|fewer than) [\d,]+ lines)\]")
_UNREADABLE = re.compile(r"\[(?:.* cannot be read as text|cut in line .*|older output shortened)\]")


class Content(Struct, frozen=True, kw_only=True):
    """Text of a file. It goes on from line `next`, unless that is 0. `problem` says why not."""

    text: str = ""
    next: int = 0
    problem: str = ""


def content_of(text: str) -> Content:
    """A page of a file as it is, without the tool's closing remark."""
    body, newline, last = text.rstrip("\n").rpartition("\n")
    if _NOTHING.fullmatch(last):
        return Content(text=body)
    if _UNREADABLE.fullmatch(last):
        return Content(text=body, problem=last.strip("[]"))
    if found := _PAGE.fullmatch(last):
        following = int((found["next"] or "0").replace(",", ""))
        return Content(text=body + newline, next=following)
    return Content(text=text)


def entries_of(text: str) -> list[str]:
    """The entries of a list, a glob or a search: its lines, without the tool's own remarks."""
    lines = [line.rstrip() for line in text.splitlines()]
    return [line for line in lines if line and not _NOTE.fullmatch(line.strip())]


def name_of(entry: str) -> str:
    """The path in an entry of a list: `file<tab>12<tab>src/a.py`. Folders end with `/`."""
    return entry.rpartition("\t")[2]


def shown(entry: str) -> str:
    """An entry of a list for people: `src/` or `a.txt (12 bytes)`."""
    match entry.split("\t"):
        case ["file", size, name]:
            return f"{name} ({size} bytes)"
        case [*_, name]:
            return name
        case _:
            return entry


def is_cut(text: str) -> bool:
    """True when the tool remarks that there is more than it shows."""
    notes = [line for line in text.splitlines() if _NOTE.fullmatch(line.strip())]
    return any(_CUT.search(note) for note in notes)
