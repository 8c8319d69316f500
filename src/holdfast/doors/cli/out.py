"""Everything that is written: data to stdout, talk to stderr, calm and without tricks."""

from __future__ import annotations

import json
import sys

from .surroundings import is_terminal, may_color, speaks_unicode, width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

_MARKS = {"point": ("·", "-"), "bad": ("✗", "x"), "good": ("✓", "ok"), "cut": ("…", "...")}
_COLORS = {"bad": "31", "good": "32", "warn": "33", "faint": "2", "strong": "1"}
_BIDI = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_HIDDEN = dict.fromkeys((*range(32), *range(127, 160), *_BIDI, 0xFEFF, 0x2028, 0x2029))
_KEPT = {code: None for code in _HIDDEN if code not in (9, 10)}
_WIDE = ((0x1100, 0x115F), (0x2E80, 0xA4CF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFE30, 0xFE6F))
_WIDER = ((0xFF00, 0xFF60), (0xFFE0, 0xFFE6), (0x1F300, 0x1FAFF), (0x20000, 0x3FFFD))
_STEPS = ((60, "s"), (3600, "m"), (86_400, "h"))


class Screen:
    """Where a command writes. `quiet` silences the talk, never the data and never the errors."""

    def __init__(self) -> None:
        self.out_is_terminal = is_terminal(1)
        self.err_is_terminal = is_terminal(2)
        self.in_is_terminal = is_terminal(0)
        self.unicode = speaks_unicode()
        self.color = may_color()
        self.quiet = False

    @property
    def attended(self) -> bool:
        """Somebody sits there who can be asked."""
        return self.in_is_terminal and self.err_is_terminal

    def tell(self, text: str) -> None:
        """One line, or several, of data."""
        _write(sys.stdout, f"{text}\n")

    def answer(self, text: str) -> None:
        """What a task produced: exactly as it is for a program, harmless for a terminal."""
        self.tell(plain(text) if self.out_is_terminal else text)

    def give(self, piece: str) -> None:
        """A piece of data without an end of line."""
        _write(sys.stdout, plain(piece) if self.out_is_terminal else piece)
        sys.stdout.flush()

    def draw(self, text: str) -> None:
        """A whole screen, with the sequences that place it: nothing in it may come from outside."""
        _write(sys.stdout, text)
        sys.stdout.flush()

    def json(self, value: object) -> None:
        self.tell(json.dumps(value, ensure_ascii=False, indent=2 if self.out_is_terminal else None))

    def note(self, text: str, *, mark: str = "", color: str = "") -> None:
        """One line of talk."""
        if self.quiet:
            return
        sign = f"{self.mark(mark)} " if mark else ""
        sys.stderr.flush()
        _write(sys.stderr, f"{self.paint(sign + text, color or mark)}\n")

    def error(self, message: str, hint: str = "") -> None:
        _write(sys.stderr, f"{self.paint('error:', 'bad')} {message}\n")
        if hint:
            _write(sys.stderr, f"{self.paint('hint:', 'strong')} {hint}\n")

    def ask(self, text: str) -> None:
        """A prompt, on stderr, without an end of line."""
        _write(sys.stderr, text)
        sys.stderr.flush()

    def mark(self, name: str) -> str:
        return _MARKS[name][0 if self.unicode else 1]

    def paint(self, text: str, color: str) -> str:
        """Colour for stderr. It repeats what the words say already."""
        code = _COLORS.get(color, "")
        if not (code and self.color and self.err_is_terminal):
            return text
        return f"\x1b[{code}m{text}\x1b[0m"

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Columns side by side; on a terminal the last one is cut to what is left."""
        cells = [head, *(tuple(line(cell) for cell in row) for row in rows)]
        widths = [max(columns(row[place]) for row in cells) for place in range(len(head))]
        room = width() if self.out_is_terminal else 0
        for row in cells:
            start = "  ".join(pad(cell, wide) for cell, wide in zip(row, widths[:-1], strict=False))
            last = row[-1]
            if room:
                last = self.cut(last, max(12, room - columns(start) - 3))
            self.tell(f"{start}  {last}".strip() if start else last)

    def cut(self, text: str, most: int) -> str:
        """At most `most` columns of a text, its end marked when something is missing."""
        text = line(text)
        if columns(text) <= most:
            return text
        sign = self.mark("cut")
        while text and columns(text) > most - len(sign):
            text = text[:-1]
        return text.rstrip() + sign


def plain(text: str) -> str:
    """A text that cannot move the cursor, change colours or turn the reading direction."""
    return _unescaped(text).translate(_KEPT)


def line(text: str) -> str:
    """A text as one harmless line."""
    return " ".join(_unescaped(text).translate({**_KEPT, 9: " ", 10: " "}).split(" ")).strip()


def columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(2 if any(a <= ord(c) <= b for a, b in _WIDE + _WIDER) else 1 for c in text)


def pad(text: str, wide: int) -> str:
    return text + " " * (wide - columns(text))


def ago(milliseconds: int, now: float) -> str:
    """How long ago something happened, in the largest unit that fits."""
    if not milliseconds:
        return "-"
    return f"{span(max(0.0, now - milliseconds / 1000))} ago"


def span(seconds: float) -> str:
    for unit, (limit, sign) in zip((1, 60, 3600), _STEPS, strict=True):
        if seconds < limit:
            return f"{int(seconds // unit)} {sign}"
    return f"{int(seconds // 86_400)} d"


def dollars(amount: float) -> str:
    return f"${amount:.4f}" if amount < 100 else f"${amount:,.2f}"


def short(task: str) -> str:
    """The part of an id that is enough for people: its last eight characters."""
    return task[-8:]


def _unescaped(text: str) -> str:
    """Without escape sequences: CSI up to its final byte, OSC and kin up to BEL or ST."""
    if "\x1b" not in text and "\x9b" not in text:
        return text
    first, *rest = text.replace("\x9b", "\x1b[").split("\x1b")
    return first + "".join(_after_escape(piece) for piece in rest)


def _after_escape(piece: str) -> str:
    if piece.startswith("["):
        for place, sign in enumerate(piece[1:], start=1):
            if "@" <= sign <= "~":
                return piece[place + 1 :]
        return ""
    if piece[:1] in {"]", "P", "^", "_", "X"}:
        return piece.partition("\x07")[2]
    return piece[1:]


def _write(stream: TextIO, text: str) -> None:
    """Write a text; what the stream's encoding cannot say becomes a visible escape."""
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
