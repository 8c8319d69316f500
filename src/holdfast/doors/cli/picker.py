"""Choosing a model: the list, narrowed while you type, twenty to a page."""

from __future__ import annotations

import os
import sys
import termios
import tty

from .out import columns, line, pad
from .reading import count_of, text_of
from .stop import Stop
from .surroundings import width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from .wire import Json

PAGE = 20
_UP, _DOWN, _BACK, _FORTH = ("\x1b[A", "\x10"), ("\x1b[B", "\x0e"), ("\x1b[5~",), ("\x1b[6~", "\t")
_ENTER, _RUBOUT, _LEAVE = ("\r", "\n"), ("\x7f", "\x08"), ("\x1b", "\x03", "\x04")
_BADGES = (("thinking", "R"), ("vision", "V"), ("tools", "T"))


class List:
    """What can be seen of a list: what matches, the page, the chosen row."""

    def __init__(self, cards: list[Json], now: str) -> None:
        self._cards, self.typed = cards, ""
        self.place = next((n for n, one in enumerate(cards) if text_of(one, "name") == now), 0)

    @property
    def shown(self) -> list[Json]:
        words = self.typed.lower().split()
        return [one for one in self._cards if all(w in text_of(one, "name").lower() for w in words)]

    @property
    def chosen(self) -> str:
        shown = self.shown
        return text_of(shown[self.place], "name") if shown else ""

    def move(self, by: int) -> None:
        self.place = max(0, min(len(self.shown) - 1, self.place + by))

    def type(self, typed: str) -> None:
        self.typed, self.place = typed, 0

    def lines(self, room: int) -> list[str]:
        """The page with the chosen row, and what was typed."""
        shown = self.shown
        start = self.place // PAGE * PAGE
        rows = [described(one) for one in shown[start : start + PAGE]]
        wide = [max((columns(row[n]) for row in rows), default=0) for n in range(4)]
        drawn = [f"{len(shown)} of {len(self._cards)} models: {line(self.typed)}_"]
        for number, row in enumerate(rows, start=start):
            mark = ">" if number == self.place else " "
            cells = "  ".join(pad(cell, size) for cell, size in zip(row, wide, strict=True))
            drawn.append(f"{mark} {cells}".rstrip()[: room - 1])
        pages = -(-len(shown) // PAGE)
        drawn.append(f"page {start // PAGE + 1} of {pages}" if pages > 1 else "")
        drawn.append("type to narrow, arrows to move, Enter takes it, Esc leaves")
        return [one for one in drawn if one]


def described(card: Json) -> tuple[str, str, str, str]:
    """Name, badges, what it costs, how much it reads."""
    badges = "".join(f"[{sign}]" for name, sign in _BADGES if card.get(name))
    size = count_of(card, "window")
    return line(text_of(card, "name")), badges, tier(card), f"{size // 1000}K" if size else ""


def tier(card: Json) -> str:
    """What a million tokens out cost: nothing, up to $5, up to $30, or more."""
    price = card.get("output_price")
    if price is None:
        return ""
    if not price:
        return "free"
    return "$" if price <= 5_000_000 else "$$" if price <= 30_000_000 else "$$$"


def pick(cards: list[Json], now: str) -> str:
    """The name of the model that a person chooses at the terminal. Raises `Stop` if none."""
    if not cards:
        raise Stop("there is no model to choose", hint="holdfast connect")
    seen = List(cards, now)
    before = termios.tcgetattr(0)
    tty.setcbreak(0, termios.TCSADRAIN)
    drawn = 0
    try:
        for key in _keys():
            drawn = _draw(seen, drawn) if key == "" else drawn
            if key in _ENTER and seen.chosen:
                return seen.chosen
            if key in _LEAVE:
                break
            if key:
                _press(seen, key)
                drawn = _draw(seen, drawn)
    finally:
        sys.stderr.write(f"\x1b[{drawn}F\x1b[J" if drawn else "")
        sys.stderr.flush()
        termios.tcsetattr(0, termios.TCSADRAIN, before)
    raise Stop("no model was chosen")


def _press(seen: List, key: str) -> None:
    steps = {_UP: -1, _DOWN: 1, _BACK: -PAGE, _FORTH: PAGE}
    by = next((by for keys, by in steps.items() if key in keys), 0)
    if by:
        seen.move(by)
    elif key in _RUBOUT:
        seen.type(seen.typed[:-1])
    elif key.isprintable():
        seen.type(seen.typed + key)


def _draw(seen: List, over: int) -> int:
    """Draw the page over what was drawn before; how many lines it has."""
    rows = seen.lines(width())
    sys.stderr.write((f"\x1b[{over}F\x1b[J" if over else "") + "".join(f"{one}\n" for one in rows))
    sys.stderr.flush()
    return len(rows)


def _keys() -> Generator[str]:
    """Nothing at first; then one key at a time, an escape sequence whole."""
    yield ""
    while True:
        read = os.read(0, 64).decode("utf-8", "replace")
        if not read:
            return
        while read:
            size = _size(read)
            yield read[:size]
            read = read[size:]


def _size(read: str) -> int:
    if not read.startswith("\x1b[") or len(read) < 3:
        return 1
    end: Callable[[str], bool] = str.isalpha
    return next((n + 1 for n, sign in enumerate(read[2:], 2) if end(sign) or sign == "~"), 1)
