"""A moment that becomes known while the journal is being asked for the next one is not lost."""

from __future__ import annotations

import anyio
import pytest

from holdfast.adapters.stores.memory import MemoryJournal
from holdfast.core.ids import Instant
from holdfast.core.message import EffectClass
from holdfast.core.task import Status, Timer
from holdfast.testing.engine import ObedientTool, calls, engine
from holdfast.testing.fake_clock import FakeClock

pytestmark = pytest.mark.anyio


class SlowJournal(MemoryJournal):
    """Answers `next_due` with what was true when it was asked, as a reader beside a writer does."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.answer = anyio.Event(), anyio.Event()

    async def next_due(self) -> Instant | None:
        found = await super().next_due()
        self.asked.set()
        await self.answer.wait()
        return found


async def test_a_timer_set_while_the_next_one_is_looked_up_still_rings() -> None:
    journal, clock = SlowJournal(), FakeClock()
    until = clock.now() + 5_000
    wait = ObedientTool(name="wait", effect=EffectClass.READS, act=lambda _: Timer(until=until))
    async with engine(journal, [calls("wait"), "done"], wait, clock=clock) as house:
        with anyio.fail_after(10):
            await journal.asked.wait()
            task_id = await house.submit()
            await house.until(task_id, Status.WAITING)
            journal.answer.set()
            await anyio.wait_all_tasks_blocked()
            clock.advance(5)
            assert (await house.until(task_id, Status.SUCCEEDED)).answer == "done"
