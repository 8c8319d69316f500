"""Unified diffs, applied to a text as a pure function.

Models miscount: the numbers in a hunk's header are only a hint where to look. The lines must
match exactly.
"""

from __future__ import annotations

import re

from msgspec import Struct

from .beneath import Denied
from .edit import has_windows_ends, lines_of

_HUNK = re.compile(r"@@(?: -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@| @@|$)")
_SIGNS = " -+"


class Hunk(Struct, frozen=True):
    """A piece of a patch: where it says it belongs, the lines it finds, the lines it leaves."""

    start: int
    old: list[str]
    new: list[str]


def patched(text: str, patch: str) -> str:
    """`text` with a unified diff applied. A hunk whose lines have moved is found nearby."""
    lines = lines_of(text)
    shift = floor = 0
    for number, hunk in enumerate(hunks(patch, windows=has_windows_ends(text)), start=1):
        place = _place(lines, hunk.old, hunk.start - 1 + shift, floor)
        if place is None:
            first = f": {hunk.old[0].strip()[:120]!r} …" if hunk.old else ""
            raise Denied("no_match", f"hunk {number} of the patch does not match the file{first}")
        stop = place + len(hunk.old)
        new = list(hunk.new)
        if hunk.old and new and not lines[stop - 1].endswith("\n") and hunk.old[-1][-1:] == "\n":
            new[-1] = new[-1].rstrip("\r\n")
        lines[place:stop] = new
        shift += len(new) - len(hunk.old)
        floor = place + len(new)
    return "".join(lines)


def hunks(patch: str, *, windows: bool = False) -> list[Hunk]:
    """The hunks of a patch to one file. Raises `Denied` if it is not one."""
    lines = lines_of(patch)
    starts = [index for index, line in enumerate(lines) if _HUNK.match(line.rstrip("\r\n"))]
    if not starts:
        raise Denied("bad_patch", "the patch holds no hunk: it needs `@@ -1,2 +1,3 @@` and lines")
    for line, after in zip(lines[starts[0] :], [*lines[starts[0] + 1 :], ""], strict=True):
        if line.startswith("diff --git ") or (line[:4], after[:4]) == ("--- ", "+++ "):
            raise Denied("bad_patch", "the patch changes several files; send one patch per file")
    stops = [*starts[1:], len(lines)]
    return [_hunk(lines[a:b], windows=windows) for a, b in zip(starts, stops, strict=True)]


def _hunk(lines: list[str], *, windows: bool) -> Hunk:
    match = _HUNK.match(lines[0].rstrip("\r\n"))
    hunk = Hunk(int(match[1] or 1) if match else 1, [], [])
    sign = " "
    for line in lines[1:]:
        if line.startswith("\\"):
            for side in _sides(hunk, sign):
                side[-1:] = [side[-1].rstrip("\r\n")] if side else []
            continue
        # An empty context line often arrives without its leading space.
        sign, rest = (line[0], line[1:]) if line[0] in _SIGNS else (" ", line)
        if rest is line and line.strip():
            raise Denied("bad_patch", f"a line of a hunk begins with none of ` -+`: {line[:80]!r}")
        for side in _sides(hunk, sign):
            side.append(rest.rstrip("\r\n") + ("\r\n" if windows else "\n"))
    return hunk


def _sides(hunk: Hunk, sign: str) -> list[list[str]]:
    return {" ": [hunk.old, hunk.new], "-": [hunk.old], "+": [hunk.new]}[sign]


def _place(lines: list[str], old: list[str], near: int, floor: int) -> int | None:
    """Where `old` is in `lines` from `floor` on, closest to where it should be."""
    if not old:
        return min(max(near, floor), len(lines))
    places = [at for at in range(floor, len(lines) - len(old) + 1) if _same(lines, old, at)]
    return min(places, key=lambda at: abs(at - near), default=None)


def _same(lines: list[str], old: list[str], at: int) -> bool:
    """Equal, or equal but for the end of the very last line."""
    here = lines[at : at + len(old)]
    unended = at + len(old) == len(lines) and not here[-1].endswith("\n")
    return here == old or (unended and here[:-1] == old[:-1] and here[-1] == old[-1].rstrip("\r\n"))
