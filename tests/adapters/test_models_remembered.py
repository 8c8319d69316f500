"""What was worked out of tools is not used for others that only seem to be the same."""

from __future__ import annotations

import operator
from collections.abc import Sequence

from holdfast.adapters.models.remembered import Remembered, alike
from holdfast.ports.model import ToolSpec


def spec(name: str, const: object = None) -> ToolSpec:
    return ToolSpec(name=name, description="", schema={"const": const})


def test_the_same_is_made_once_and_what_is_different_anew():
    made: list[tuple[ToolSpec, ...]] = []

    def make(tools: Sequence[ToolSpec]) -> int:
        made.append(tuple(tools))
        return len(made)

    known = Remembered(make, alike)
    assert [known.of([spec("a"), spec("b")]) for _ in range(3)] == [1, 1, 1]
    assert known.of([spec("b"), spec("a")]) == 2
    assert known.of([spec("a")]) == 3
    assert known.of([]) == 4
    assert [known.of([spec("a", 1)]), known.of([spec("a", True)])] == [5, 6]
    assert known.of([spec("a"), spec("b")]) == 1


def test_no_more_than_the_last_few_are_remembered():
    known = Remembered(len, operator.eq)
    sets = [[number] * number for number in range(1, 30)]
    for _ in range(2):
        assert [known.of(one) for one in sets] == list(range(1, 30))
    assert len(known._known) == 8  # pyright: ignore[reportPrivateUsage]  it must not grow
