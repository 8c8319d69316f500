"""What every embedder must do: one function per promise, each given an embedder and a stranger.

The stranger is the name of a model that does not embed.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import anyio

from holdfast.core.budget import Reservation
from holdfast.core.error import Invalid, Refused
from holdfast.core.message import Usage
from holdfast.ports.embedder import Embedded, Embedder

_SECONDS = 20

Clause = Callable[[Embedder, str], Awaitable[None]]


class Purse:
    """Implements `ports.Account`; remembers what was done. `poor`: affords nothing."""

    def __init__(self, *, poor: bool = False) -> None:
        self.held: list[Reservation] = []
        self.settled: list[Usage] = []
        self.ended = 0
        self._poor = poor

    async def hold(self, model: str, most: Reservation) -> None:
        if self._poor:
            raise Refused("too dear", code="budget_exceeded")
        self.held.append(most)

    async def settle(self, model: str, usage: Usage) -> None:
        self.settled.append(usage)
        self.ended += 1

    async def release(self) -> None:
        self.ended += 1

    async def lose(self) -> None:
        self.ended += 1


async def each_text_has_its_vector_in_the_order_of_the_texts(embedder: Embedder, _: str) -> None:
    texts = [f"text {number}" for number in range(300)]
    whole = await _embedded(embedder, texts)
    assert len(whole.vectors) == 300
    assert len(set(whole.vectors)) == 300
    for place in (0, 99, 299):
        (alone,) = (await _embedded(embedder, [texts[place]])).vectors
        assert _near(alone, whole.vectors[place])


async def vectors_are_finite_and_of_one_length(embedder: Embedder, _: str) -> None:
    got = await _embedded(embedder, ["a", "b " * 500, "ü 漢 🙂"])
    assert len({len(vector) for vector in got.vectors}) == 1
    assert got.vectors[0]
    assert all(math.isfinite(number) for vector in got.vectors for number in vector)


async def the_same_text_has_the_same_vector_and_may_come_twice(embedder: Embedder, _: str) -> None:
    got = await _embedded(embedder, ["same", "other", "same"])
    assert _near(got.vectors[0], got.vectors[2])
    assert not _near(got.vectors[0], got.vectors[1])


async def every_request_is_held_before_and_settled_after_with_what_it_used(
    embedder: Embedder, _: str
) -> None:
    purse = Purse()
    got = await _embedded(embedder, [f"text {number}" for number in range(300)], purse)
    assert purse.held
    assert len(purse.held) == len(purse.settled) == purse.ended
    assert got.usage.input == sum(usage.input for usage in purse.settled) > 0
    assert got.usage.cost == sum(usage.cost or 0 for usage in purse.settled)
    for most, usage in zip(purse.held, purse.settled, strict=True):
        assert most == Reservation() or usage.tokens <= most.tokens
        assert not most.cost or (usage.cost or 0) <= most.cost


async def what_cannot_be_afforded_is_not_sent(embedder: Embedder, _: str) -> None:
    purse = Purse(poor=True)
    problem = await _refused(embedder, "", ["a"], purse)
    assert problem.code == "budget_exceeded"
    assert purse.ended == 0


async def it_says_which_model_it_was_and_takes_its_name(embedder: Embedder, _: str) -> None:
    first = await _embedded(embedder, ["a"])
    provider, slash, model = first.model.partition("/")
    assert provider
    assert slash
    assert model
    for name in ("@embedder", first.model):
        with anyio.fail_after(_SECONDS):
            again = await embedder.embed(name, ["a"], Purse(), "query")
        assert again.model == first.model


async def what_nobody_can_embed_is_refused_before_anything_is_held(
    embedder: Embedder, stranger: str
) -> None:
    for texts, says in (
        ([], "nothing"),
        (["a", " \n"], "text 2 is empty"),
        (["a", "\ud83d"], "text 2 has half a character"),
        (["a"] * 100_000, "at most"),
        (["a" * 10_000_000], "at most"),
    ):
        purse = Purse()
        problem = await _refused(embedder, "", texts, purse)
        assert isinstance(problem, Invalid)
        assert says in str(problem)
        assert not purse.held
    for name in ("@executor", "nobody/knows", stranger):
        purse = Purse()
        problem = await _refused(embedder, name, ["a"], purse)
        assert isinstance(problem, Invalid)
        assert problem.hint
        assert not purse.held


async def a_cancelled_call_ends_what_it_held(embedder: Embedder, _: str) -> None:
    purse = Purse()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await embedder.embed("", ["a"], purse)
        await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert len(purse.held) == purse.ended
    assert (await _embedded(embedder, ["a"])).vectors


async def _embedded(embedder: Embedder, texts: list[str], account: Purse | None = None) -> Embedded:
    with anyio.fail_after(_SECONDS):
        return await embedder.embed("", texts, account or Purse())


async def _refused(embedder: Embedder, name: str, texts: list[str], account: Purse) -> Refused:
    try:
        with anyio.fail_after(_SECONDS):
            await embedder.embed(name, texts, account)
    except Refused as problem:
        return problem
    raise AssertionError("it was not refused")


def _near(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return len(one) == len(other) and all(
        math.isclose(a, b, abs_tol=1e-6) for a, b in zip(one, other, strict=True)
    )


CLAUSES: tuple[Clause, ...] = (
    each_text_has_its_vector_in_the_order_of_the_texts,
    vectors_are_finite_and_of_one_length,
    the_same_text_has_the_same_vector_and_may_come_twice,
    every_request_is_held_before_and_settled_after_with_what_it_used,
    what_cannot_be_afforded_is_not_sent,
    it_says_which_model_it_was_and_takes_its_name,
    what_nobody_can_embed_is_refused_before_anything_is_held,
    a_cancelled_call_ends_what_it_held,
)

__all__ = ["CLAUSES", "Clause", "Purse"]
