"""One damaged task is that task's trouble: the others go on."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest

from holdfast.adapters.stores.memory import MemoryJournal
from holdfast.core.error import Broken
from holdfast.core.ids import TaskId
from holdfast.core.message import EffectClass
from holdfast.core.task import Status, Timer
from holdfast.ports.journal import Recorded
from holdfast.testing.engine import ObedientTool, calls, engine

pytestmark = pytest.mark.anyio


class Damaged(MemoryJournal):
    """A journal in which one task can no longer be read."""

    unreadable = TaskId("")

    async def read(self, task: TaskId, after: int = 0, limit: int = 0) -> Sequence[Recorded]:
        if task == self.unreadable:
            raise Broken(f"an event of {task} cannot be read", code="damaged_event")
        return await super().read(task, after, limit)


async def test_a_damaged_task_in_the_queue_does_not_stop_the_others() -> None:
    journal = Damaged()
    model_less = [calls("never")]
    async with engine(journal, model_less, ObedientTool(name="never", hold=anyio.Event())) as house:
        bad = await house.submit("bad")
        await house.until(bad, Status.RUNNING)
    journal.unreadable = bad
    async with engine(journal, ["done"], clock=house.clock) as house:
        good = await house.submit("good")
        await house.until(good, Status.SUCCEEDED)


async def test_a_damaged_task_whose_time_has_come_does_not_stop_the_others() -> None:
    journal = Damaged()
    wait = ObedientTool(
        name="wait", act=lambda _a: Timer(until=1_800_000_001_000), effect=EffectClass.READS
    )
    async with engine(journal, [calls("wait")], wait) as house:
        bad = await house.submit("bad")
        await house.until(bad, Status.WAITING)
    journal.unreadable = bad
    async with engine(journal, ["done"], wait, clock=house.clock) as house:
        house.clock.advance(5)
        await anyio.wait_all_tasks_blocked()
        good = await house.submit("good")
        await house.until(good, Status.SUCCEEDED)
