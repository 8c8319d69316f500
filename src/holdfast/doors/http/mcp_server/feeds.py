"""Who wants to hear of which resource. Each is followed once, however many listen."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

import anyio
from anyio.abc import TaskGroup, TaskStatus
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourceUpdated, ServerEvent

from holdfast.doors.http.ending import when_ended

from .offer import Asked, Offer

MOST = 64
"""How many resources one listener may follow."""


class Feeds:
    """Follows resources, for as long as somebody listens, and tells the `bus` of changes."""

    def __init__(self, offer: Offer, group: TaskGroup) -> None:
        self._offer, self._group = offer, group
        self._followed: dict[str, tuple[int, anyio.CancelScope]] = {}
        self.bus = InMemorySubscriptionBus()

    async def tell(
        self, asked: Asked, uri: str, tell: Callable[[str], Awaitable[None]]
    ) -> anyio.CancelScope:
        """Tell of each change until what is returned is cancelled."""
        return await self._group.start(self._tell, asked, uri, tell)

    async def _tell(
        self,
        asked: Asked,
        uri: str,
        tell: Callable[[str], Awaitable[None]],
        *,
        task_status: TaskStatus[anyio.CancelScope],
    ) -> None:
        into, changes = anyio.create_memory_object_stream[None](1)

        def hear(event: ServerEvent) -> None:
            if event == ResourceUpdated(uri=uri) and not changes.statistics().current_buffer_used:
                into.send_nowait(None)

        with anyio.CancelScope() as scope, into, changes:
            async with self.following(asked, [uri]), _while_known(asked, scope):
                forget = self.bus.subscribe(hear)
                try:
                    task_status.started(scope)
                    async for _ in changes:
                        await tell(uri)
                finally:
                    forget()

    @asynccontextmanager
    async def following(self, asked: Asked, uris: Iterable[str]) -> AsyncGenerator[None, None]:
        async with AsyncExitStack() as stack:
            for uri in dict.fromkeys(uris):
                await stack.enter_async_context(self._one(asked, uri))
            yield

    @asynccontextmanager
    async def _one(self, asked: Asked, uri: str) -> AsyncGenerator[None, None]:
        changes = await self._offer.follow(asked, uri)
        count, scope = self._followed.get(uri, (0, anyio.CancelScope()))
        if count:
            await changes.aclose()
        else:
            self._group.start_soon(self._follow, uri, changes, scope)
        self._followed[uri] = (count + 1, scope)
        try:
            yield
        finally:
            left = self._followed[uri][0] - 1
            if left:
                self._followed[uri] = (left, scope)
            else:
                del self._followed[uri]
                scope.cancel()

    async def _follow(
        self, uri: str, changes: AsyncGenerator[None, None], scope: anyio.CancelScope
    ) -> None:
        with scope:
            async with aclosing(changes):
                async for _ in changes:
                    await self.bus.publish(ResourceUpdated(uri=uri))


@asynccontextmanager
async def _while_known(asked: Asked, telling: anyio.CancelScope) -> AsyncGenerator[None, None]:
    """What was asked for in one request, and told outside it, ends with the key all the same."""
    async with anyio.create_task_group() as group:
        group.start_soon(when_ended, asked.caller.scope, telling)
        yield
        group.cancel_scope.cancel()
