"""Keeps time: wakes tasks whose moment has come, and sleeps to the next one without asking."""

from __future__ import annotations

import logging

import anyio
from anyio.abc import TaskGroup

from holdfast.core.command import Tick
from holdfast.core.effect import pending
from holdfast.core.error import Broken, Refused, Unavailable
from holdfast.core.ids import Instant, TaskId
from holdfast.core.task import Task
from holdfast.core.view import wake_at
from holdfast.ports.clock import Clock
from holdfast.ports.journal import Journal

from .finish import Finisher
from .record import Recorder

_log = logging.getLogger("holdfast.engine")
_BATCH = 64
_PAUSE = 1_000


class Timekeeper:
    """Knows when time alone will move a task. Reads the journal only when that moment has come."""

    def __init__(
        self, journal: Journal, recorder: Recorder, finisher: Finisher, clock: Clock
    ) -> None:
        self._journal, self._recorder = journal, recorder
        self._finisher, self._clock = finisher, clock
        self._next: Instant | None = None
        self._bell = anyio.Event()
        self._ended: list[TaskId] = []

    def noticed(self, task: Task) -> None:
        """A task has changed: it may be due earlier than all others, or owe something."""
        due = wake_at(task)
        if due and (self._next is None or due < self._next):
            self._next = due
            self._bell.set()
        if task.ended and pending(task, self._clock.now()):
            self._ended.append(task.id)
            self._bell.set()

    async def run(self) -> None:
        """Until cancelled."""
        await self._look_ahead()
        async with anyio.create_task_group() as group:
            while True:
                self._bell = anyio.Event()
                ended, self._ended = self._ended, []
                for task_id in ended:
                    group.start_soon(self._finisher.finish, task_id)
                now = self._clock.now()
                if self._next is not None and self._next <= now:
                    await self._tick(group, now)
                elif not self._ended:
                    await self._clock.wait(self._bell, self._next)

    async def _tick(self, group: TaskGroup, now: Instant) -> None:
        try:
            found = await self._journal.due(now, _BATCH)
            for task_id in found:
                await self._tick_one(group, task_id)
            await self._look_ahead()
        except Unavailable as failure:
            _log.warning("timers are late: %s", failure)
            self._next = now + _PAUSE
            return
        if self._next is not None and self._next <= now and len(found) < _BATCH:
            self._next = now + _PAUSE  # what is still due is being finished

    async def _look_ahead(self) -> None:
        """The next moment. One that is noticed while the journal answers may be missing there."""
        self._next = None
        found = await self._journal.next_due()
        if found is not None and (self._next is None or found < self._next):
            self._next = found

    async def _tick_one(self, group: TaskGroup, task_id: TaskId) -> None:
        try:
            task = await self._recorder.load(task_id)
            if task.ended:
                group.start_soon(self._finisher.finish, task_id)
            else:
                await self._recorder.tell(task_id, Tick())
        except Refused as refused:
            _log.debug("nothing to do at this time: %s", refused, extra={"task": task_id})
        except Broken as damage:
            _log.error("its time has come, but: %s", damage, extra={"task": task_id})
