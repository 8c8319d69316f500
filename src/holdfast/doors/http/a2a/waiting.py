"""An answer that may take long: blanks keep the line open, and nobody waits for one who left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from starlette.types import Receive, Scope, Send

from holdfast.core.error import HoldfastError, Unavailable
from holdfast.doors.http.route import Door
from holdfast.doors.http.sse import body, when_closing, when_gone

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

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        kind = [(b"content-type", self._media_type.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": kind})
        async with anyio.create_task_group() as group:
            group.start_soon(when_gone, receive, group.cancel_scope)
            group.start_soon(when_closing, self._door.closing, group.cancel_scope)
            group.start_soon(self._work, group.cancel_scope)
            while True:
                await anyio.sleep(_BEAT)
                await body(send, b" ")
        with anyio.move_on_after(1.0):
            await body(send, self._said, more=False)

    async def _work(self, beating: anyio.CancelScope) -> None:
        try:
            self._said = self._framed(await self._answer())
        except HoldfastError as error:
            self._said = self._failed(error)
        beating.cancel()
