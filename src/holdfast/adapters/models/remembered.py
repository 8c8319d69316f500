"""What is worked out once of things that many requests have in common, such as their tools."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Thing = TypeVar("Thing")
Made = TypeVar("Made")
_MOST = 8


class Remembered(Generic[Thing, Made]):
    """What `make` says of a sequence, asked again only for another one than the last few were.

    What was made is not changed afterwards.
    """

    def __init__(self, make: Callable[[Sequence[Thing]], Made]) -> None:
        self._make = make
        self._known: list[tuple[tuple[Thing, ...], Made]] = []

    def of(self, things: Sequence[Thing]) -> Made:
        wanted = tuple(things)
        for place, (told, made) in enumerate(self._known):
            if told == wanted:
                if place:  # the last one asked for is looked at first
                    self._known.insert(0, self._known.pop(place))
                return made
        made = self._make(wanted)
        self._known[:] = [(wanted, made), *self._known[: _MOST - 1]]
        return made
