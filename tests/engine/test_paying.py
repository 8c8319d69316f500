"""How the engine pays for model calls, and what it does when the money does not reach."""

import pytest
from msgspec.structs import replace

from holdfast.adapters.stores.memory import MemoryJournal
from holdfast.core.agent import Agent
from holdfast.core.budget import Limits, Reservation
from holdfast.core.command import Approve, Refuse
from holdfast.core.context import Prompt
from holdfast.core.event import ContextCut
from holdfast.core.fitting import length
from holdfast.core.gate.policy import Leave
from holdfast.core.ids import TaskId
from holdfast.core.message import EffectClass, Reply, Returned, Usage
from holdfast.core.task import Status, Task
from holdfast.core.view import questions
from holdfast.ports.ledger import Budget, Cost, CostQuery
from holdfast.ports.model import ModelFailure
from holdfast.testing.engine import ObedientModel, ObedientTool, TestEngine, calls, engine

pytestmark = pytest.mark.anyio
DAILY = Budget(scope="agent", per="day", cost=1_000)
DONE = Reply(text="done", usage=Usage(input=10, output=5, cost=300))


def dear(*says: Reply | ModelFailure | str, most: int = 600) -> ObedientModel:
    """A model whose every call may cost `most` micro-dollars."""
    model = ObedientModel(list(says))
    model.reserves = Reservation(tokens=100, cost=most)
    return model


async def asked(house: TestEngine, task_id: TaskId) -> Task:
    return await house.when(task_id, lambda task: bool(questions(task)))


async def costs(house: TestEngine) -> Cost:
    (all_of_it,) = await house.ledger.costs(CostQuery())
    return all_of_it


async def yes(house: TestEngine, task: Task) -> None:
    (question,) = questions(task)
    approve = Approve(call_id=question.call, digest=question.digest, by="ann")
    await house.recorder.tell(task.id, approve)


async def test_what_a_call_really_used_is_in_the_ledger_when_the_task_is_done() -> None:
    async with engine(MemoryJournal(), dear(DONE), budgets=[DAILY]) as house:
        await house.until(await house.submit(), Status.SUCCEEDED)
        spent = await costs(house)
        assert (spent.calls, spent.cost, spent.held, spent.doubtful) == (1, 300, 0, 0)


async def test_a_call_that_was_cut_off_counts_whole_and_one_turned_away_not_at_all() -> None:
    away = ModelFailure("overloaded", "busy", retryable=True, paid=False)
    cut = ModelFailure("incomplete", "the stream ended", retryable=True)
    async with engine(MemoryJournal(), dear(away, cut, DONE)) as house:
        task_id = await house.submit()
        for failed in (1, 2):
            await house.when(task_id, lambda task, n=failed: len(task.faults) == n)
            house.clock.advance(5)
        await house.until(task_id, Status.SUCCEEDED)
        spent = await costs(house)
        assert (spent.cost, spent.doubtful, spent.held) == (300, 600, 0)


async def test_a_task_that_a_budget_above_it_stops_asks_a_person_and_goes_on_after_a_yes() -> None:
    """Part of row OL-35."""
    model = dear(DONE, DONE, DONE)
    async with engine(MemoryJournal(), model, budgets=[DAILY]) as house:
        for _ in range(2):
            await house.until(await house.submit(), Status.SUCCEEDED)
        third = await house.submit()
        task = await asked(house, third)
        await house.until(third, Status.WAITING)
        assert len(model.prompts) == 2
        (question,) = questions(task)
        assert question.tool == "top_up"
        assert "$0.0010" in question.question
        await yes(house, task)
        await house.until(third, Status.SUCCEEDED)
        (standing,) = await house.ledger.standings()
        assert (standing.raised.cost, standing.spent.cost) == (1_000, 900)


async def test_one_yes_lets_every_task_go_on_that_waits_for_the_same_budget() -> None:
    model = dear(*[DONE] * 4)
    async with engine(MemoryJournal(), model, budgets=[replace(DAILY, cost=500)]) as house:
        ids = [await house.submit() for _ in range(2)]
        first, second = [await asked(house, task_id) for task_id in ids]
        await yes(house, first)
        for task in (first, second):
            await house.until(task.id, Status.SUCCEEDED)
        (standing,) = await house.ledger.standings()
        assert standing.raised.cost == 500


async def test_a_task_that_waits_for_money_goes_on_when_a_new_day_begins() -> None:
    async with engine(
        MemoryJournal(), dear(DONE, DONE), budgets=[replace(DAILY, cost=700)]
    ) as house:
        await house.until(await house.submit(), Status.SUCCEEDED)
        task_id = await house.submit()
        await asked(house, task_id)
        await house.until(task_id, Status.WAITING)
        house.clock.advance(24 * 3600)
        await house.until(task_id, Status.SUCCEEDED)


async def test_a_no_ends_the_task_and_another_day_begins_with_the_whole_budget() -> None:
    async with engine(MemoryJournal(), dear(DONE, DONE), budgets=[DAILY]) as house:
        tight = replace(DAILY, cost=500)
        house.ledger.budgets([tight])
        task_id = await house.submit()
        task = await asked(house, task_id)
        (question,) = questions(task)
        await house.recorder.tell(task_id, Refuse(call_id=question.call, by="ann"))
        failed = await house.until(task_id, Status.FAILED)
        assert failed.fault
        assert failed.fault.code == "budget_exceeded"
        assert "agent/default/day" in failed.fault.message


async def test_where_nobody_is_there_a_spent_budget_fails_the_task_in_words() -> None:
    async with engine(MemoryJournal(), dear(DONE), budgets=[replace(DAILY, cost=500)]) as house:
        task_id = await house.submit(leave=Leave(unattended=True))
        failed = await house.until(task_id, Status.FAILED)
        assert failed.fault
        assert failed.fault.code == "budget_exceeded"


async def test_many_tasks_at_once_spend_no_more_than_the_budget_and_all_of_it() -> None:
    model = dear(*[DONE] * 10, most=300)
    async with engine(MemoryJournal(), model, budgets=[replace(DAILY, cost=3_000)]) as house:
        many = Agent(lanes=64)
        ids = [await house.submit(agent=many) for _ in range(10)]
        for task_id in ids:
            await house.until(task_id, Status.SUCCEEDED)
        assert (await costs(house)).cost == 3_000


async def test_a_task_over_its_own_limit_holds_nothing_while_it_asks() -> None:
    """Part of row OK-17."""
    model = dear(DONE)
    agent = Agent(limits=Limits(cost=500))
    async with engine(MemoryJournal(), model, budgets=[DAILY]) as house:
        task_id = await house.submit(agent=agent)
        task = await asked(house, task_id)
        assert (await costs(house)).held == 0
        await yes(house, task)
        done = await house.until(task_id, Status.SUCCEEDED)
        assert done.limits.cost == 1_000


async def test_a_model_without_a_known_price_is_used_only_after_a_yes() -> None:
    model = ObedientModel([DONE])
    model.reserves = Reservation(tokens=100, cost=None)
    async with engine(MemoryJournal(), model) as house:
        task_id = await house.submit()
        task = await asked(house, task_id)
        (question,) = questions(task)
        assert question.question.endswith("Go on all the same (price/fake/model)?")
        assert not model.prompts
        await yes(house, task)
        await house.until(task_id, Status.SUCCEEDED)


async def test_a_conversation_that_is_too_long_for_the_model_is_cut_and_asked_again() -> None:
    """Row OK-19."""
    too_long = ModelFailure("context_overflow", "too long", retryable=False, paid=False)
    sizes: list[int] = []

    def turn(prompt: Prompt) -> Reply | ModelFailure | str:
        sizes.append(sum(map(length, prompt.entries)))
        if sizes[-1] > 30_000:
            return too_long
        return calls(("look", {"page": len(sizes)})) if len(sizes) < 12 else "done"

    look = ObedientTool(
        name="look", act=lambda _: Returned(text="x" * 9_000), effect=EffectClass.READS
    )
    async with engine(MemoryJournal(), turn, look) as house:
        task_id = await house.submit()
        await house.until(task_id, Status.SUCCEEDED)
        cuts = [event for event in await house.events(task_id) if isinstance(event, ContextCut)]
        assert [cut.chars for cut in cuts] == [sizes[4] // 2]
        assert max(sizes[5:]) <= cuts[0].chars


async def test_a_provider_that_says_so_once_of_a_short_one_is_asked_once_more() -> None:
    """Row OK-19."""
    too_long = ModelFailure("context_overflow", "too long", retryable=False, paid=False)
    async with engine(MemoryJournal(), [too_long, "done"]) as house:
        await house.until(await house.submit("short"), Status.SUCCEEDED)


async def test_a_task_that_runs_out_of_tokens_ends_before_the_call_that_has_no_room() -> None:
    """Row OL-39."""
    turns = iter(range(99))

    def turn(_prompt: Prompt) -> Reply:
        wanted = calls(("look", {"page": next(turns)}))
        return replace(wanted, usage=Usage(input=900, output=100, cost=0))

    model = ObedientModel(turn)
    model.reserves = Reservation(tokens=1_500)
    look = ObedientTool(name="look", effect=EffectClass.READS)
    agent = Agent(limits=Limits(tokens=5_000))
    async with engine(MemoryJournal(), model, look) as house:
        task_id = await house.submit(agent=agent, leave=Leave(unattended=True))
        failed = await house.until(task_id, Status.FAILED)
        assert failed.fault
        assert failed.fault.message == "tokens: 4000 used and up to 1500 needed, limit 5000"
        assert len(model.prompts) == 4


async def test_what_no_cut_can_make_short_enough_fails_the_task() -> None:
    too_long = ModelFailure("context_overflow", "too long", retryable=False, paid=False)
    async with engine(MemoryJournal(), [too_long] * 3) as house:
        failed = await house.until(await house.submit("x" * 20_000), Status.FAILED)
        assert failed.fault
        assert failed.fault.code == "context_overflow"
