"""What is worked out once of things that many requests have in common, such as their tools."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import msgspec

Thing = TypeVar("Thing")
Made = TypeVar("Made")
_MOST = 8


def alike(one: object, other: object) -> bool:
    """Whether two are the same when written down: to Python, 1 and True are equal."""
    if one is other:
        return True
    return one == other and msgspec.json.encode(one) == msgspec.json.encode(other)


class Remembered(Generic[Thing, Made]):
    """What `make` says of a sequence, asked again only for another one than the last few were.

    `same` says of two whether they are. What was made is not changed afterwards.
    """

    def __init__(
        self, make: Callable[[Sequence[Thing]], Made], same: Callable[[Thing, Thing], bool]
    ) -> None:
        self._make, self._same = make, same
        self._known: list[tuple[tuple[Thing, ...], Made]] = []

    def of(self, things: Sequence[Thing]) -> Made:
        wanted = tuple(things)
        for place, (told, made) in enumerate(self._known):
            if len(told) == len(wanted) and all(map(self._same, told, wanted)):
                if place:  # the last one asked for is looked at first
                    self._known.insert(0, self._known.pop(place))
                return made
        made = self._make(wanted)
        self._known[:] = [(wanted, made), *self._known[: _MOST - 1]]
        return made
