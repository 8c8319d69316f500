"""Connections to providers, in small pools: one that is large costs each call of it much time.

For every request and every answer a pool looks at all its connections that are idle, and asks the
kernel about each: with 64 callers that is an eighth of a call's CPU time (`benchmarks/run doors`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from typing import cast

import httpx2

ROOM = 8


class _Pool:
    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        self.transport, self.busy = transport, 0

    def free(self) -> None:
        self.busy -= 1


class Pools(httpx2.AsyncBaseTransport):
    """A transport of as many as are needed. The first with room is used, so that few stay open."""

    def __init__(self, another: Callable[[], httpx2.AsyncBaseTransport]) -> None:
        self._another = another
        self._pools: list[_Pool] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        pool = next((one for one in self._pools if one.busy < ROOM), None)
        if pool is None:
            pool = _Pool(self._another())
            self._pools.append(pool)
        pool.busy += 1
        with ExitStack() as lost:
            lost.callback(pool.free)
            response = await pool.transport.handle_async_request(request)
            lost.pop_all()
        response.stream = _Lent(cast("httpx2.AsyncByteStream", response.stream), pool)
        return response

    async def aclose(self) -> None:
        while self._pools:
            await self._pools.pop().transport.aclose()


class _Lent(httpx2.AsyncByteStream):
    """What comes over a connection, which is free for others once this is closed."""

    def __init__(self, stream: httpx2.AsyncByteStream, pool: _Pool) -> None:
        self._stream = stream
        self._pool: _Pool | None = pool

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            if self._pool is not None:
                self._pool.free()
                self._pool = None
