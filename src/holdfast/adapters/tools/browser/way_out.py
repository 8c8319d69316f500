"""The way out of a browser's box: the house's egress, listening inside it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from holdfast.ports.box import Box
from holdfast.ports.egress import Egress, Pass, Reach
from holdfast.ports.tools import Job

_PORT = 3128


def through(
    egress: Egress, reach: Callable[[Job], Reach]
) -> Callable[[Box, Job], AbstractAsyncContextManager[Pass | None]]:
    """Gives boxes a way out to wherever the job may go."""

    @asynccontextmanager
    async def attach(box: Box, job: Job) -> AsyncGenerator[Pass | None]:
        listener = await box.listen(_PORT)
        async with egress.serve(listener, reach(job)) as granted:
            yield granted

    return attach
