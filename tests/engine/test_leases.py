"""Leases and pinned rules in a running engine."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest
from msgspec.structs import replace

from holdfast.adapters.stores.memory import MemoryJournal
from holdfast.core.command import Approve
from holdfast.core.context import Prompt
from holdfast.core.event import CallApproved, Replied, Started
from holdfast.core.gate.policy import Allow, Lease, Rule, Rules, Say
from holdfast.core.gate.presets import PRESETS
from holdfast.core.message import PersonSaid, Refused, Reply, ToolAnswered
from holdfast.core.task import Status
from holdfast.core.view import questions
from holdfast.engine.authority import Authority
from holdfast.ports.journal import Query
from holdfast.testing.engine import ObedientModel, ObedientTool, TestEngine, calls, engine

pytestmark = pytest.mark.anyio

ASK = Rules(layers=(PRESETS["ask"],), version="ask")
WORK = Rule(say=Say.ALLOW, tools=("work",))


async def lend(house: TestEngine, journal: MemoryJournal, lease: Lease) -> None:
    await journal.leases().write(lease)
    house.recorder.authority.put((lease,))


def leases_used(events: Sequence[object]) -> list[str]:
    verdicts = [j.verdict for e in events if isinstance(e, Replied) for j in e.judged]
    return [one.lease for one in verdicts if isinstance(one, Allow) and one.lease]


async def test_a_lease_answers_until_it_is_used_up_and_events_say_so():
    journal, tool = MemoryJournal(), ObedientTool(name="work")
    turns = [calls(("work", {"n": n})) for n in range(3)]
    async with engine(journal, [*turns, "done"], tool, rules=ASK) as house:
        await lend(house, journal, Lease(id="lease_1", rule=WORK, uses=2))
        task_id = await house.submit()
        task = await house.until(task_id, Status.WAITING)
        assert len(tool.ran) == 2
        assert len(questions(task)) == 1
        assert leases_used(await house.events(task_id)) == ["lease_1", "lease_1"]
    (left,) = await journal.leases().all()
    assert left.used == 2


async def test_one_turn_cannot_use_more_than_is_left():
    journal, tool = MemoryJournal(), ObedientTool(name="work")
    turn = calls(*(("work", {"n": n}) for n in range(3)))
    async with engine(journal, [turn, "done"], tool, rules=ASK) as house:
        await lend(house, journal, Lease(id="lease_1", rule=WORK, uses=2))
        task_id = await house.submit()
        task = await house.when(task_id, lambda task: len(tool.ran) == 2 and bool(questions(task)))
        assert len(questions(task)) == 1


async def test_tasks_at_once_share_what_is_left():
    journal, tool = MemoryJournal(), ObedientTool(name="work")
    seen: set[str] = set()

    def turn(prompt: Prompt) -> Reply | str:
        worked = any(isinstance(entry, ToolAnswered) for entry in prompt.entries)
        return "done" if worked else calls("work")

    async with engine(journal, turn, tool, rules=ASK) as house:
        await lend(house, journal, Lease(id="lease_1", rule=WORK, uses=3))
        tasks = [await house.submit(f"task {number}") for number in range(8)]
        for task_id in tasks:
            task = await house.until(task_id, Status.WAITING, Status.SUCCEEDED)
            seen.add(task.status)
        (left,) = await journal.leases().all()
    assert (len(tool.ran), left.used) == (3, 3)
    assert seen == {Status.WAITING, Status.SUCCEEDED}


async def test_an_approval_may_end_the_asking():
    journal, tool = MemoryJournal(), ObedientTool(name="work")
    turns = [calls(("work", {"n": n})) for n in range(2)]
    async with engine(journal, [*turns, "done"], tool, rules=ASK) as house:
        task_id = await house.submit()
        (asked,) = questions(await house.until(task_id, Status.WAITING))
        lease = Lease(id="lease_1", rule=WORK, scope="task", of=task_id, uses=1)
        yes = Approve(call_id=asked.call, digest=asked.digest, by="me", lease=lease)
        await house.recorder.tell(task_id, yes)
        await house.until(task_id, Status.SUCCEEDED)
        events = await house.events(task_id)
    assert len(tool.ran) == 2
    assert [e.policy for e in events if isinstance(e, CallApproved)] == ["ask"]
    (left,) = await journal.leases().all()
    assert left == replace(lease, used=1)


async def test_what_memory_believes_is_left_is_not_more_than_the_store_knows():
    """A use that was lost from memory is found in the store, and the task is asked instead."""
    journal, tool = MemoryJournal(), ObedientTool(name="work")
    async with engine(journal, [calls("work"), "done"], tool, rules=ASK) as house:
        lease = Lease(id="lease_1", rule=WORK, uses=1)
        await journal.leases().write(replace(lease, used=1))
        house.recorder.authority.put((lease,))
        task_id = await house.submit()
        task = await house.until(task_id, Status.WAITING)
        assert questions(task)
    assert not tool.ran


async def test_a_running_try_keeps_its_rules_and_every_decision_says_which():
    """Row GC-89f."""
    rules = [Rules(layers=(PRESETS["ask"],), version="1")]
    tool = ObedientTool(name="look", hold=anyio.Event())
    model = ObedientModel([calls("look", "work"), calls("work"), "done"])
    open_now = Rules(layers=(PRESETS["open"],), version="2")
    shut_now = Rules(layers=((Rule(say=Say.DENY, tools=("work",)),), *open_now.layers), version="3")
    authority = Authority(lambda: rules[0])
    assert authority.current().version == "1"
    async with engine(MemoryJournal(), model, tool, rules=rules[0]) as house:
        task_id = await house.submit()
        task = await house.until(task_id, Status.RUNNING)
        assert authority.over(task).newer is None
        for newer in (open_now, shut_now):
            rules[0] = newer
            found = authority.over(task)
            assert (found.version, found.newer and found.newer.version) == ("1", newer.version)
        waiting = replace(task, status=Status.CLAIMED)
        assert authority.over(waiting).version == "3"
        await house.when(task_id, lambda task: bool(task.calls))
        events = await house.events(task_id)
        started = [event.policy for event in events if isinstance(event, Started)]
        assert started == [event.policy for event in events if isinstance(event, Replied)] == ["1"]


async def test_a_lease_that_is_taken_back_is_gone_at_once():
    journal, tool = MemoryJournal(), ObedientTool(name="work")
    async with engine(journal, [calls("work"), "done"], tool, rules=ASK) as house:
        await lend(house, journal, Lease(id="lease_1", rule=WORK))
        house.recorder.authority.drop("lease_1")
        await journal.leases().revoke("lease_1")
        task_id = await house.submit()
        await house.until(task_id, Status.WAITING)
    assert not tool.ran


async def test_a_lease_for_one_task_is_not_another_ones():
    journal, tool = MemoryJournal(), ObedientTool(name="work")
    lease = Lease(id="lease_1", rule=WORK, scope="task", of="task_other")
    async with engine(journal, [calls("work"), "done"], tool, rules=ASK) as house:
        await lend(house, journal, lease)
        task_id = await house.submit()
        await house.until(task_id, Status.WAITING)
    assert not tool.ran


async def test_a_helper_may_be_given_less_than_who_sends_it():
    tool = ObedientTool(name="work")

    def turn(prompt: Prompt) -> Reply | str:
        told = [entry for entry in prompt.entries if isinstance(entry, ToolAnswered)]
        if told:
            return "done"
        first = prompt.entries[0]
        helper = isinstance(first, PersonSaid) and first.text == "piece"
        less = {"task": "piece", "ceiling": "reader"}
        return calls("work") if helper else calls(("delegate", less))

    async with engine(MemoryJournal(), turn, tool) as house:
        task_id = await house.submit("whole")
        await house.until(task_id, Status.SUCCEEDED)
        (child,) = await house.journal.query(Query(parent=task_id))
        task = await house.recorder.load(child.id)
    assert not tool.ran
    (answer,) = [entry for entry in task.transcript if isinstance(entry, ToolAnswered)]
    assert isinstance(answer.outcome, Refused)
    assert "ceiling" in answer.outcome.reason
