"""An answer that may take long: blanks keep the line open, and nobody waits for one who left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from starlette.types import Receive, Scope, Send

from holdfast.core.error import HoldfastError, Unavailable
from holdfast.doors.http.route import Door

_BEAT = 10.0


class Waiting:
    """What `answer` gives, `framed`; what it raises, `failed`.

    The status is 200 either way: by then the task is there, and that is what was asked for.
    """

    def __init__(
        self,
        door: Door,
        answer: Callable[[], Awaitable[Any]],
        framed: Callable[[Any], bytes],
        failed: Callable[[HoldfastError], bytes],
        media_type: str = "application/json",
    ) -> None:
        self._door, self._answer = door, answer
        self._framed, self._failed, self._media_type = framed, failed, media_type
        self._said = failed(Unavailable("the daemon is stopping", code="stopping"))
        self._done = anyio.Event()

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        kind = [(b"content-type", self._media_type.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": kind})
        async with anyio.create_task_group() as group:
            group.start_soon(self._when_gone, receive)
            group.start_soon(self._when_closing)
            group.start_soon(self._work)
            while not self._done.is_set():
                with anyio.move_on_after(_BEAT):
                    await self._done.wait()
                if not self._done.is_set():
                    await send({"type": "http.response.body", "body": b" ", "more_body": True})
            group.cancel_scope.cancel()
        with anyio.move_on_after(1.0):
            await send({"type": "http.response.body", "body": self._said, "more_body": False})

    async def _work(self) -> None:
        try:
            self._said = self._framed(await self._answer())
        except HoldfastError as error:
            self._said = self._failed(error)
        self._done.set()

    async def _when_gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._done.set()

    async def _when_closing(self) -> None:
        await self._door.closing.wait()
        self._done.set()
