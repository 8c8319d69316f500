"""Where a streamed reply is read while somebody else understands what has come of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import anyio
from anyio.abc import TaskGroup

READERS: ContextVar[TaskGroup | None] = ContextVar("readers", default=None)


@asynccontextmanager
async def readers() -> AsyncGenerator[None]:
    """A reader that is still at it at the end is stopped: its connection is closed."""
    try:
        async with anyio.create_task_group() as group:
            token = READERS.set(group)
            try:
                yield
            finally:
                READERS.reset(token)
                group.cancel_scope.cancel()
    except BaseExceptionGroup as errors:
        if len(errors.exceptions) == 1:
            raise errors.exceptions[0] from None
        raise
