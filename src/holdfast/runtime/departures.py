"""What was kept for a task goes when the task ends: its browser, its boxes."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import anyio

from holdfast.core.error import HoldfastError
from holdfast.core.ids import TaskId
from holdfast.core.task import Task
from holdfast.engine.record import Recorder

_log = logging.getLogger("holdfast")


class Departures:
    """Told by the recorder of every task that ends. `release` may be called for any task."""

    def __init__(self, recorder: Recorder, *release: Callable[[TaskId], Awaitable[None]]) -> None:
        self._release = release
        self._told, recorder.changed = recorder.changed, self._changed
        self._due: list[TaskId] = []
        self._bell = anyio.Event()

    async def run(self) -> None:
        """Until cancelled; idle while no task ends."""
        while True:
            await self._bell.wait()
            self._bell = anyio.Event()
            due, self._due = self._due, []
            async with anyio.create_task_group() as group:
                for task in due:
                    group.start_soon(self._gone, task)

    async def _gone(self, task: TaskId) -> None:
        for release in self._release:
            try:
                await release(task)
            except (HoldfastError, OSError) as error:
                _log.warning("not everything was given back: %s", error, extra={"task": task})

    def _changed(self, before: Task, after: Task) -> None:
        self._told(before, after)
        if after.ended and not before.ended:
            self._due.append(after.id)
            self._bell.set()
