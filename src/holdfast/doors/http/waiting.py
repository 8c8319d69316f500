"""A request that waits for what becomes of a task: no longer than whoever asks, and the daemon."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import anyio

from holdfast.core.error import NotFound, Refused
from holdfast.core.ids import TaskId
from holdfast.runtime.following import settled

from .route import Ask
from .sse import attended, when_closing


async def wait_for(ask: Ask[Any, Any], task: TaskId, seconds: float) -> None:
    """Until it has ended or waits for a person, for so many seconds at most.

    Raises `Unavailable` where nobody waits any more.
    """

    async def waited() -> None:
        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as group:
                group.start_soon(when_closing, ask.door.closing, group.cancel_scope)
                with suppress(Refused, NotFound):  # purged, forgotten: who asks looks again
                    await settled(ask.house, task)
                group.cancel_scope.cancel()

    if seconds:
        await attended(ask.request.receive, waited)
