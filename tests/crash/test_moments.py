"""Whatever dies, wherever it dies: nothing is lost, nothing unsafe is repeated, one answer each."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import pytest

from holdfast.adapters.stores.memory import MemoryJournal
from holdfast.ports.journal import Journal
from holdfast.testing.crash import OpenJournal, Proof, Story, random_story, survive

EVERYTHING = Story(
    names=("work",),
    script=(("read", "pay", "put"), ("book", "ask"), ("delegate", "fail"), ("pay", "forbidden")),
)


def _outliving() -> OpenJournal:
    """A journal in memory that outlives the lives that use it."""
    journal = MemoryJournal()

    @asynccontextmanager
    async def opened() -> AsyncGenerator[Journal, None]:
        yield journal

    def again() -> AbstractAsyncContextManager[Journal]:
        return opened()

    return again


def _survived(story: Story, *at: int) -> Proof:
    async def run() -> Proof:
        with anyio.fail_after(60):
            return await survive(_outliving(), story, *at)

    return anyio.run(run)


def test_dying_at_every_single_moment_in_turn_loses_and_repeats_nothing() -> None:
    """Rows GC-17, GC-18, GC-44."""
    moment = 0
    while True:
        moment += 1
        proof = _survived(EVERYTHING, moment)
        assert proof.holds, (moment, proof)
        if not proof.crashes:
            break
    assert moment > 40


def test_dying_twice_in_a_row_at_every_moment_loses_and_repeats_nothing() -> None:
    story = Story(names=("a",), script=(("pay", "book"), ("delegate",)))
    moment = 0
    while True:
        moment += 1
        proof = _survived(story, moment, moment + 1, moment + 3)
        assert proof.holds, (moment, proof)
        if not proof.crashes:
            break


@pytest.mark.parametrize("seed", range(4))
def test_random_stories_with_random_crashes_lose_and_repeat_nothing(seed: int) -> None:
    _random_crashes(seed, at_least=int(os.getenv("HOLDFAST_TEST_CRASHES", "60")))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_thousand_random_crash_points_lose_and_repeat_nothing() -> None:
    _random_crashes(20261121, at_least=2_000)


def _random_crashes(seed: int, *, at_least: int) -> None:
    dice, crashes = random.Random(seed), 0
    while crashes < at_least:
        story = random_story(dice)
        at = {dice.randint(1, 120) for _ in range(dice.randint(1, 8))}
        proof = _survived(story, *at)
        assert proof.holds, (seed, story, at, proof)
        crashes += proof.crashes
