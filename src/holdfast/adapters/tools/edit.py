"""Changes to a text, as pure functions: replace a unique piece, or ranges of lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from msgspec import Struct

from .beneath import Denied

_NEAR_LINES = 5_000
_NEAR_WIDTH = 200
_MOST = 1_000


class Lines(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Lines `start_line` to `end_line`, from 1, both included, become `new`.

    With `end_line` = `start_line` - 1, `new` is put before `start_line`.
    """

    start_line: int
    end_line: int
    new: str


def replaced(text: str, old: str, new: str) -> str:
    """`text` with its one `old` turned into `new`."""
    if has_windows_ends(text) and "\r" not in old:
        old, new = old.replace("\n", "\r\n"), new.replace("\r\n", "\n").replace("\n", "\r\n")
    found = _places(text, old)
    if len(found) == 1:
        return text[: found[0]] + new + text[found[0] + len(old) :]
    if not found:
        raise Denied("no_match", f"`old` is not in the file; {_near(text, old)}")
    where = ", ".join(str(text.count("\n", 0, place) + 1) for place in found[:8])
    raise Denied(
        "not_unique",
        f"`old` is in the file {len(found)} times (lines {where}"
        f"{', …' if len(found) > 8 else ''}); give more of its surroundings",
    )


def relined(text: str, edits: Sequence[Lines]) -> str:
    """`text` with ranges of its lines replaced; all numbers are those of the old text."""
    lines = lines_of(text)
    end = "\r\n" if has_windows_ends(text) else "\n"
    ordered = sorted(edits, key=lambda edit: (edit.start_line, edit.end_line))
    last = 0
    for edit in ordered:
        start, stop = edit.start_line, edit.end_line
        if not 1 <= start <= stop + 1 <= len(lines) + 1:
            have = f"the file has {len(lines)} lines"
            raise Denied("no_such_lines", f"lines {start} to {stop} cannot be replaced: {have}")
        if start <= last:
            raise Denied("overlapping_edits", f"line {start} is changed twice")
        last = max(last, stop)
    for edit in reversed(ordered):
        new = [line.rstrip("\r\n") + end for line in lines_of(edit.new)]
        if new and edit.start_line > 1 and not lines[edit.start_line - 2].endswith("\n"):
            lines[edit.start_line - 2] += end
        if new and edit.end_line == len(lines) and lines and not lines[-1].endswith("\n"):
            new[-1] = new[-1].rstrip("\r\n") if not edit.new.endswith("\n") else new[-1]
        lines[edit.start_line - 1 : edit.end_line] = new
    return "".join(lines)


def lines_of(text: str) -> list[str]:
    """The lines with their ends; only a line feed ends one."""
    return [line for line in re.split(r"(?<=\n)", text) if line]


def has_windows_ends(text: str) -> bool:
    return "\r\n" in text and text.count("\r\n") == text.count("\n")


def difference(old: str, new: str) -> tuple[int, int, int]:
    """The first line that differs, how many lines went and how many came."""
    before, after = lines_of(old), lines_of(new)
    same = 0
    while same < min(len(before), len(after)) and before[same] == after[same]:
        same += 1
    end = 0
    while end < min(len(before), len(after)) - same and before[-1 - end] == after[-1 - end]:
        end += 1
    return same + 1, len(before) - same - end, len(after) - same - end


def _places(text: str, piece: str) -> list[int]:
    """Where `piece` begins, overlapping ones too."""
    found: list[int] = []
    place = text.find(piece)
    while place >= 0 and len(found) < _MOST:
        found.append(place)
        place = text.find(piece, place + 1)
    return found


def _near(text: str, old: str) -> str:
    """Where something like `old` is: lines equal but for spaces, else similar ones."""
    wanted = next((line.strip() for line in old.splitlines() if line.strip()), "")
    lines = [line.strip() for line in text.split("\n", _NEAR_LINES)]
    if same := [number for number, line in enumerate(lines, start=1) if line == wanted][:5]:
        where = ", ".join(map(str, same))
        return f"its first line is there apart from spaces, at line {where}: read it again"
    lines = [line[:_NEAR_WIDTH] for line in lines]
    if close := get_close_matches(wanted[:_NEAR_WIDTH], list(dict.fromkeys(lines)), n=1):
        return f"line {lines.index(close[0]) + 1} is similar: {close[0]!r}"
    return "nothing similar is there either"
