"""What every ledger must do: one function per promise, each given a place without charges."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Protocol, TypeVar

import anyio

from holdfast.core.budget import Reservation
from holdfast.core.error import HoldfastError, Invalid, NotFound, Refused, Unavailable
from holdfast.core.ids import Instant
from holdfast.core.message import Usage
from holdfast.ports.ledger import (
    Budget,
    CostQuery,
    Hold,
    Ledger,
    OverBudget,
    Payer,
    Standing,
    Used,
    Warned,
)

from .fake_clock import FakeClock

DOLLAR = 1_000_000
CENT = 10_000
ME = Payer(task="t1", session="chat", agent="coder", team="red", by="ada")


class Place(Protocol):
    """Where a ledger is kept. Leaving `opened` is an orderly stop; only one may be open."""

    @property
    def clock(self) -> FakeClock: ...

    def opened(self) -> AbstractAsyncContextManager[Ledger]: ...

    def killed(self) -> AbstractAsyncContextManager[Ledger]:
        """As `opened`, but on leaving its process ends without another word."""
        ...


Clause = Callable[[Place], Awaitable[None]]
E = TypeVar("E", bound=HoldfastError)


class Till:
    """One ledger with a shorter way to hold."""

    def __init__(self, place: Place, ledger: Ledger, *budgets: Budget) -> None:
        self.ledger, self._clock = ledger, place.clock
        ledger.budgets(budgets)

    async def hold(
        self, name: str, cost: int | None = CENT, tokens: int = 10, payer: Payer = ME
    ) -> str:
        most = Reservation(tokens=tokens, cost=cost)
        at = self._clock.now()
        await self.ledger.hold(Hold(id=name, payer=payer, model="p/m", most=most, at=at))
        return name

    async def pay(
        self, name: str, cost: int | None, *, most: int | None = None, **used: int
    ) -> Sequence[Warned]:
        await self.hold(name, cost if most is None else most)
        return await self.ledger.settle(name, Usage(cost=cost, **used))

    async def refused(self, name: str, cost: int | None = CENT, tokens: int = 10) -> OverBudget:
        with anyio.fail_after(5):
            try:
                await self.hold(name, cost, tokens)
            except OverBudget as error:
                assert str(error)
                assert error.hint
                return error
        raise AssertionError(f"{name} was not refused")

    async def standing(self, key: str) -> Standing:
        return next(s for s in await self.ledger.standings() if s.key.startswith(key))

    async def spent(self, key: str) -> int:
        return (await self.standing(key)).spent.cost


async def what_is_used_is_counted_and_what_is_not_is_given_back(place: Place) -> None:
    async with place.opened() as ledger:
        till = Till(place, ledger, Budget(scope="agent", cost=DOLLAR, tokens=100, calls=9))
        await till.hold("a", 60 * CENT, tokens=50)
        now = await till.standing("agent/coder/day/")
        assert (now.held, now.spent) == (Used(cost=60 * CENT, tokens=50, calls=1), Used())
        await ledger.settle("a", Usage(cost=25 * CENT, input=10, output=5))
        now = await till.standing("agent/coder/day/")
        assert (now.held, now.spent) == (Used(), Used(cost=25 * CENT, tokens=15, calls=1))
        await ledger.release(await till.hold("b", 75 * CENT))
        await ledger.lose(await till.hold("c", 75 * CENT))
        now = await till.standing("agent/coder/day/")
        assert (now.held, now.spent) == (Used(), Used(cost=DOLLAR, tokens=25, calls=2))
        assert now.doubtful == Used(cost=75 * CENT, tokens=10, calls=1)


async def every_budget_that_applies_is_asked(place: Place) -> None:
    for number, budget in enumerate(
        [
            Budget(scope="installation", cost=CENT),
            Budget(scope="team", of="red", cost=CENT),
            Budget(scope="agent", of="coder", tokens=10),
            Budget(scope="session", calls=1),
            Budget(scope="agent", per="month", calls=1),
            Budget(scope="agent", per="total", calls=1),
        ]
    ):
        async with place.opened() as ledger:
            payer = Payer(task="t", session=f"s{number}", agent="coder", team="red")
            till = Till(place, ledger)
            await till.hold(f"first {number}", payer=payer)
            await ledger.settle(f"first {number}", Usage(cost=CENT, input=10))
            wide = Budget(scope="installation", per="total", cost=DOLLAR)
            ledger.budgets([wide, budget])
            with anyio.fail_after(5):
                refused = await _fails(OverBudget, till.hold, f"second {number}", payer=payer)
            assert refused.key.startswith(budget.scope)
            ledger.budgets([wide])
            await ledger.release(await till.hold(f"third {number}", payer=payer))
        place.clock.advance(86_400)


async def a_budget_for_each_holds_for_each_by_itself(place: Place) -> None:
    async with place.opened() as ledger:
        each = Budget(scope="agent", cost=CENT)
        till = Till(place, ledger, each, Budget(scope="agent", of="rich", cost=3 * CENT))
        for agent, number in (("coder", 1), ("writer", 1), ("rich", 3)):
            payer = Payer(agent=agent)
            for turn in range(number):
                await till.hold(f"{agent} {turn}", payer=payer)
                await ledger.settle(f"{agent} {turn}", Usage(cost=CENT))
            await _fails(OverBudget, till.hold, f"{agent} more", payer=payer)
        nobody = Payer(role="judge")
        await ledger.release(await till.hold("nobody's", 9 * CENT, payer=nobody))


async def holds_at_once_never_exceed_a_budget(place: Place) -> None:
    async with place.opened() as ledger:
        till = Till(place, ledger, Budget(scope="installation", cost=10 * CENT))
        passed: list[str] = []

        async def call(number: int) -> None:
            try:
                passed.append(await till.hold(f"call {number}"))
            except OverBudget:
                return
            now = await till.standing("installation")
            assert now.held.plus(now.spent).cost <= 10 * CENT
            await ledger.settle(f"call {number}", Usage(cost=CENT))

        await _at_once(40, call)
        assert len(passed) == 10
        assert await till.spent("installation") == 10 * CENT


async def who_finds_the_money_set_aside_waits_for_what_comes_back(place: Place) -> None:
    async with place.opened() as ledger:
        till = Till(place, ledger, Budget(scope="installation", cost=10 * CENT))
        passed: list[int] = []

        async def call(number: int) -> None:
            await till.hold(f"call {number}", 6 * CENT)
            await ledger.settle(f"call {number}", Usage(cost=CENT))
            passed.append(number)

        with anyio.fail_after(10):
            await _at_once(5, call)
        assert sorted(passed) == [0, 1, 2, 3, 4]
        assert (await till.refused("six", 6 * CENT)).short == Used(cost=CENT)


async def who_is_cancelled_while_waiting_holds_nothing(place: Place) -> None:
    async with place.opened() as ledger:
        till = Till(place, ledger, Budget(scope="installation", cost=CENT))
        await till.hold("first")
        with anyio.move_on_after(0.01):
            await till.hold("second")
        await ledger.release("first")
        assert (await till.standing("installation")).held == Used()
        await till.hold("third")


async def a_refused_hold_holds_nothing_anywhere(place: Place) -> None:
    async with place.opened() as ledger:
        wide = Budget(scope="installation", cost=DOLLAR)
        till = Till(place, ledger, wide, Budget(scope="agent", calls=0))
        refused = await till.refused("a")
        assert refused.key.startswith("agent/coder/day/")
        assert not refused.final
        assert (await till.standing("installation")).held == Used()
        assert await ledger.costs(CostQuery(by=("model",))) == ()


async def more_than_was_held_is_recorded_as_it_was(place: Place) -> None:
    logging.getLogger("holdfast.ledger").setLevel(logging.ERROR)
    async with place.opened() as ledger:
        till = Till(place, ledger, Budget(scope="installation", cost=5 * CENT))
        await till.pay("a", 7 * CENT, most=CENT)
        assert await till.spent("installation") == 7 * CENT
        assert (await till.refused("b")).short == Used(cost=3 * CENT)


async def a_period_ends_at_midnight_utc(place: Place) -> None:
    async with place.opened() as ledger:
        till = Till(place, ledger, Budget(scope="installation", cost=CENT))
        for first, second in [
            (_at(2026, 12, 31, 23, 59, 59), _at(2027, 1, 1)),
            (_at(2028, 2, 28, 23, 59, 59), _at(2028, 2, 29)),
            (_at(2028, 2, 29, 23, 59, 59), _at(2028, 3, 1)),
        ]:
            _move(place.clock, first)
            await till.pay(f"first {first}", CENT)
            await till.refused(f"second {first}")
            _move(place.clock, second - 1)
            await till.refused(f"third {first}")
            _move(place.clock, second)
            await ledger.release(await till.hold(f"fourth {first}"))


async def a_month_ends_on_its_last_day(place: Place) -> None:
    async with place.opened() as ledger:
        till = Till(place, ledger, Budget(scope="agent", per="month", cost=CENT))
        for last in (_at(2027, 2, 28), _at(2028, 2, 29), _at(2028, 4, 30), _at(2028, 12, 31)):
            _move(place.clock, last + 86_399_999)
            await till.pay(f"first {last}", CENT)
            assert "month" in (await till.refused(f"second {last}")).key
            _move(place.clock, last + 86_400_000)
            assert (await till.standing("agent")).spent == Used()
            await ledger.release(await till.hold(f"third {last}"))


async def a_call_counts_in_the_period_in_which_it_was_held(place: Place) -> None:
    async with place.opened() as ledger:
        till = Till(place, ledger, Budget(scope="installation", cost=CENT))
        _move(place.clock, _at(2027, 1, 1) - 1)
        await till.hold("old")
        place.clock.advance(1)
        await till.hold("new")
        await ledger.settle("old", Usage(cost=CENT))
        assert await till.spent("installation/day/2027-01-01") == 0
        await ledger.settle("new", Usage(cost=CENT // 2))
        assert await till.spent("installation/day/2027-01-01") == CENT // 2
    days = [
        ("2026-12-31", CENT),
        ("2027-01-01", CENT // 2),
    ]
    async with place.opened() as ledger:
        rows = await ledger.costs(CostQuery(by=("day",)))
        assert [(row.group[0], row.cost) for row in rows] == days


async def what_a_killed_process_had_set_aside_counts_in_full(place: Place) -> None:
    budget = Budget(scope="agent", cost=10 * CENT)
    async with place.killed() as ledger:
        till = Till(place, ledger, budget)
        await till.pay("paid", CENT, most=4 * CENT)
        await till.hold("cut off", 4 * CENT)
        await ledger.release(await till.hold("released", CENT))
    for _ in range(2):
        async with place.killed() as ledger:
            till = Till(place, ledger, budget)
            now = await till.standing("agent/coder")
            assert (now.spent.cost, now.doubtful.cost, now.held.cost) == (5 * CENT, 4 * CENT, 0)
            assert [hold.id for hold in await ledger.doubtful()] == ["cut off"]
            assert (await ledger.doubtful())[0].payer == ME
            await till.refused("too much", 6 * CENT)


async def a_doubt_is_ended_by_the_true_amount(place: Place) -> None:
    budget = Budget(scope="agent", cost=10 * CENT)
    async with place.killed() as ledger:
        till = Till(place, ledger, budget)
        for name in ("one", "two", "three"):
            await till.hold(name, 3 * CENT)
    async with place.opened() as ledger:
        till = Till(place, ledger, budget)
        await till.refused("four", 3 * CENT)
        await ledger.settle("one", Usage(cost=CENT))
        await ledger.release("two")
        assert [hold.id for hold in await ledger.doubtful()] == ["three"]
        assert await till.spent("agent") == 4 * CENT
        await ledger.settle("three", Usage(cost=0))
        await till.pay("four", 9 * CENT)
        assert (await till.standing("agent")).doubtful == Used()


async def two_who_end_the_same_doubt_at_once_end_it_once(place: Place) -> None:
    async with place.opened() as ledger:
        till = Till(place, ledger, Budget(scope="agent", cost=9 * CENT))
        await till.hold("a", 5 * CENT)
        await ledger.lose("a")
        refused: list[NotFound] = []

        async def end(index: int) -> None:
            try:
                await ledger.settle("a", Usage(cost=(1 + index) * CENT))
            except NotFound as error:
                refused.append(error)

        await _at_once(2, end)
        assert len(refused) == 1
        now = await till.standing("agent/coder")
        (row,) = await ledger.costs(CostQuery())
        assert (now.spent.cost, now.doubtful.cost, row.calls) == (row.cost, 0, 1)


async def every_hold_ends_once(place: Place) -> None:
    async with place.opened() as ledger:
        till = Till(place, ledger)
        await till.pay("a", CENT)
        for again in (ledger.release, ledger.lose):
            assert (await _fails(NotFound, again, "a")).code == "hold_not_open"
        await _fails(NotFound, ledger.settle, "a", Usage(cost=CENT))
        await _fails(NotFound, ledger.release, "never")
        await till.hold("b")
        await _fails(Refused, till.hold, "b")
        await ledger.lose("b")
        await ledger.release("b")
        await _fails(NotFound, ledger.release, "b")
        assert [(row.cost, row.calls) for row in await ledger.costs(CostQuery())] == [(CENT, 1)]


async def a_threshold_is_told_once(place: Place) -> None:
    budgets = (
        Budget(scope="agent", cost=10 * CENT, warn=(50, 90)),
        Budget(scope="installation", per="month", tokens=100, warn=(100,)),
    )
    told: list[tuple[str, int]] = []
    for turn in range(5):
        async with place.opened() as ledger:
            till = Till(place, ledger, *budgets)
            for warned in await till.pay(f"a{turn}", CENT, input=10):
                told.append((warned.key.split("/")[0], warned.percent))
                assert str(warned.percent) in warned.text
            await till.hold(f"b{turn}", CENT, tokens=10)
            told += [(w.key.split("/")[0], w.percent) for w in await ledger.lose(f"b{turn}")]
    assert told == [("agent", 50), ("agent", 90), ("installation", 100)]
    place.clock.advance(86_400)
    async with place.opened() as ledger:
        till = Till(place, ledger, *budgets)
        await till.hold("big", 5 * CENT, tokens=0)
        assert [w.percent for w in await ledger.settle("big", Usage(cost=5 * CENT))] == [50]


async def a_raised_budget_lets_pass_for_its_period(place: Place) -> None:
    budget = Budget(scope="agent", cost=CENT, calls=1)
    async with place.killed() as ledger:
        till = Till(place, ledger, budget)
        await till.pay("a", CENT)
        refused = await till.refused("b", 2 * CENT)
        assert refused.short == Used(cost=2 * CENT, calls=1)
        for _ in range(2):
            standing = await ledger.top_up(refused.key, refused.short, by="ada", once="u1")
            assert standing is not None
            assert standing.raised == refused.short
        await till.pay("b", 2 * CENT)
    async with place.opened() as ledger:
        till = Till(place, ledger, budget)
        assert (await till.standing("agent")).raised == Used(cost=2 * CENT, calls=1)
        await ledger.top_up("agent/coder/day", Used(cost=CENT, calls=1), by="ada", once="u2")
        await till.pay("c", CENT)
        other = Payer(agent="writer")
        await till.hold("first of another", payer=other)
        await ledger.settle("first of another", Usage(cost=CENT))
        await _fails(OverBudget, till.hold, "second of another", payer=other)
        place.clock.advance(86_400)
        await till.pay("d", CENT)
        await till.refused("e")
        assert await ledger.top_up(refused.key, Used(cost=CENT), by="ada", once="u3") is None
        await till.refused("e")


async def a_budget_of_everybody_is_raised_for_somebody(place: Place) -> None:
    async with place.opened() as ledger:
        Till(place, ledger, Budget(scope="agent", cost=CENT))
        error = await _fails(Invalid, ledger.top_up, "agent/*/day", Used(cost=1), by="me", once="x")
        assert "agent/NAME/day" in str(error)


async def only_what_is_a_budget_can_be_raised(place: Place) -> None:
    async with place.opened() as ledger:
        Till(place, ledger, Budget(scope="agent", of="a/b", cost=CENT))
        for key in ("agent/x/day", "agent/a/b/month", "team", "", "price/", "nonsense/day", "a/b"):
            error = await _fails(Invalid, ledger.top_up, key, Used(cost=1), by="me", once=key)
            assert error.code == "unknown_budget"
        standing = await ledger.top_up("agent/a/b/day", Used(cost=1), by="me", once="x")
        assert standing is not None
        assert standing.of == "a/b"


async def a_raise_wakes_who_waits_and_new_budgets_do(place: Place) -> None:
    async with place.opened() as ledger:
        till = Till(place, ledger, Budget(scope="installation", cost=CENT))
        await till.hold("a")
        passed: list[str] = []

        async def more(name: str) -> None:
            passed.append(await till.hold(name))

        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(more, "b")
                await anyio.wait_all_tasks_blocked()
                assert not passed
                await ledger.top_up("installation/day", Used(cost=CENT), by="me", once="1")
            async with anyio.create_task_group() as group:
                group.start_soon(more, "c")
                await anyio.wait_all_tasks_blocked()
                assert passed == ["b"]
                ledger.budgets([])
        assert passed == ["b", "c"]


async def a_model_without_a_price_is_asked_about_never_free(place: Place) -> None:
    async with place.opened() as ledger:
        till = Till(place, ledger)
        refused = await till.refused("a", None)
        assert (refused.key, refused.final) == ("price/p/m", False)
        assert await ledger.top_up(refused.key, refused.short, by="ada", once="x") is None
        await till.pay("b", None)
    money = [Budget(scope="agent", cost=CENT)]
    async with place.opened() as ledger:
        till = Till(place, ledger, *money)
        await till.pay("c", None)
        place.clock.advance(86_400)
        await till.refused("d", None)
        ledger.budgets([], unpriced="deny")
        assert (await till.refused("e", None)).final
        ledger.budgets([Budget(scope="agent", calls=3)], unpriced="allow")
        await till.pay("f", None, input=5)
        ledger.budgets(money, unpriced="allow")
        assert not (await till.refused("g", None)).final
        (row,) = await ledger.costs(CostQuery())
        assert (row.calls, row.unpriced, row.cost) == (3, 3, 0)


async def what_costs_nothing_is_counted_after_an_orderly_stop(place: Place) -> None:
    async with place.opened() as ledger:
        till = Till(place, ledger, Budget(scope="agent", cost=CENT))
        await till.pay("paid", CENT)
        await till.hold("free", 0)
        await ledger.settle("free", Usage(input=3, output=4, cost=0))
        await ledger.lose(await till.hold("free and lost", 0))
        await till.refused("not free")
    async with place.opened() as ledger:
        assert await ledger.doubtful() == ()
        (row,) = await ledger.costs(CostQuery())
        assert (row.calls, row.cost, row.input, row.output) == (2, CENT, 3, 4)


async def a_budget_of_tokens_counts_what_costs_nothing(place: Place) -> None:
    budget = Budget(scope="agent", tokens=25)
    async with place.killed() as ledger:
        till = Till(place, ledger, budget)
        await till.hold("a", 0)
        await ledger.settle("a", Usage(input=5, cost=0))
        await till.hold("b", 0)
    async with place.killed() as ledger:
        till = Till(place, ledger, budget)
        assert (await till.standing("agent")).spent.tokens == 15
        assert "tokens: 15 used" in str(await till.refused("c", 0, tokens=11))


async def costs_are_added_up_by_anything(place: Place) -> None:
    async with place.opened() as ledger:
        till = Till(place, ledger)
        _move(place.clock, _at(2026, 12, 27, 12))
        for number in range(40):
            agent, role = ("coder", "executor") if number % 2 else ("writer", "judge")
            payer = Payer(task=f"t{number % 4}", session="s", agent=agent, role=role, by="me")
            await till.hold(f"{number}", 5, payer=payer)
            usage = Usage(cost=number, input=10, output=2, cache_read=4, reasoning=1, saved=3)
            await ledger.settle(f"{number}", usage)
            place.clock.advance(6 * 3600)
        await ledger.lose(await till.hold("lost", 7))
        await till.hold("open", 9)
        (row,) = await ledger.costs(CostQuery())
        assert (row.cost, row.calls, row.saved, row.input) == (780, 40, 120, 400)
        assert (row.doubtful, row.doubtful_calls, row.held) == (7, 1, 9)
        agents = await ledger.costs(CostQuery(by=("agent",), until=_at(2027, 1, 6, 12)))
        assert [(r.group, r.cost) for r in agents] == [(("coder",), 400), (("writer",), 380)]
        weeks = await ledger.costs(CostQuery(by=("week", "model")))
        assert [r.group for r in weeks] == [
            ("2026-W52", "p/m"),
            ("2026-W53", "p/m"),
            ("2027-W01", "p/m"),
        ]
        assert [r.cost for r in weeks] == [0 + 1, sum(range(2, 30)), sum(range(30, 40))]
        months = await ledger.costs(CostQuery(by=("month", "role")))
        assert [r.group[0] for r in months] == ["2026-12", "2026-12", "2027-01", "2027-01"]
        one = CostQuery(payer=Payer(task="t1", role=""), since=_at(2027, 1, 1))
        assert [r.cost for r in await ledger.costs(one)] == [sum(range(21, 40, 4))]
        assert await ledger.costs(CostQuery(by=("task",), since=_at(2030, 1, 1))) == ()
        (row,) = await ledger.costs(CostQuery(since=_at(2030, 1, 1)))
        assert (row.group, row.calls) == ((), 0)


async def new_budgets_know_what_was_spent_before(place: Place) -> None:
    async with place.opened() as ledger:
        till = Till(place, ledger)
        await till.pay("a", 3 * CENT)
        await till.hold("b", 2 * CENT)
        await till.hold("free", 0)
        ledger.budgets([Budget(scope="session", cost=6 * CENT, tokens=100)])
        now = await till.standing("session/chat")
        assert (now.spent.cost, now.held.cost, now.held.tokens) == (3 * CENT, 2 * CENT, 20)
        await ledger.release(await till.hold("c"))
        ledger.budgets([])
        await ledger.settle("b", Usage(cost=CENT))
        ledger.budgets([Budget(scope="session", cost=6 * CENT)])
        now = await till.standing("session/chat")
        assert (now.spent.cost, now.held.cost) == (4 * CENT, 0)


async def every_budget_is_shown_even_if_nobody_used_it(place: Place) -> None:
    async with place.opened() as ledger:
        Till(
            place,
            ledger,
            Budget(scope="installation", cost=DOLLAR, per="total"),
            Budget(scope="agent", cost=1),
            Budget(scope="team", of="red", cost=1, per="month"),
        )
        day = f"{datetime.fromtimestamp(place.clock.now() / 1000, UTC):%Y-%m-%d}"
        keys = [standing.key for standing in await ledger.standings()]
        assert keys == ["installation/total", f"agent/*/day/{day}", f"team/red/month/{day[:7]}"]


async def closing_twice_is_fine_and_afterwards_nothing_is_taken(place: Place) -> None:
    async with place.opened() as ledger:
        till = Till(place, ledger)
        await ledger.close()
        await ledger.close()
        await _fails(Unavailable, till.hold, "a")


async def _fails(
    kind: type[E], action: Callable[..., Awaitable[object]], *args: object, **more: object
) -> E:
    try:
        await action(*args, **more)
    except kind as error:
        assert str(error)
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


async def _at_once(number: int, work: Callable[[int], Coroutine[None, None, None]]) -> None:
    async with anyio.create_task_group() as group:
        for index in range(number):
            group.start_soon(work, index)


def _at(year: int, month: int, day: int, *time: int) -> Instant:
    return int(datetime(year, month, day, *time, tzinfo=UTC).timestamp()) * 1000


def _move(clock: FakeClock, to: Instant) -> None:
    clock.advance((to - clock.now()) / 1000)


CLAUSES: tuple[Clause, ...] = (
    what_is_used_is_counted_and_what_is_not_is_given_back,
    every_budget_that_applies_is_asked,
    a_budget_for_each_holds_for_each_by_itself,
    holds_at_once_never_exceed_a_budget,
    who_finds_the_money_set_aside_waits_for_what_comes_back,
    who_is_cancelled_while_waiting_holds_nothing,
    a_refused_hold_holds_nothing_anywhere,
    more_than_was_held_is_recorded_as_it_was,
    a_period_ends_at_midnight_utc,
    a_month_ends_on_its_last_day,
    a_call_counts_in_the_period_in_which_it_was_held,
    what_a_killed_process_had_set_aside_counts_in_full,
    a_doubt_is_ended_by_the_true_amount,
    two_who_end_the_same_doubt_at_once_end_it_once,
    every_hold_ends_once,
    a_threshold_is_told_once,
    a_raised_budget_lets_pass_for_its_period,
    only_what_is_a_budget_can_be_raised,
    a_raise_wakes_who_waits_and_new_budgets_do,
    a_model_without_a_price_is_asked_about_never_free,
    what_costs_nothing_is_counted_after_an_orderly_stop,
    a_budget_of_tokens_counts_what_costs_nothing,
    costs_are_added_up_by_anything,
    new_budgets_know_what_was_spent_before,
    every_budget_is_shown_even_if_nobody_used_it,
    closing_twice_is_fine_and_afterwards_nothing_is_taken,
)
"""Every promise. A store keeps a ledger when all of them hold for it."""
