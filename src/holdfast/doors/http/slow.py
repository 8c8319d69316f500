"""An answer that takes its time: a space now and then keeps the line open, and JSON allows it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import msgspec
from starlette.types import Message, Receive, Scope, Send

_BEAT = 5.0


class Slowly:
    """Does the work and answers with what it returns. An error breaks the line off."""

    def __init__(self, work: Callable[[], Awaitable[msgspec.Struct]], beat: float = _BEAT) -> None:
        self._work, self._beat = work, beat

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        done, said = anyio.Event(), list[bytes]()

        async def run() -> None:
            said.append(msgspec.json.encode(await self._work()))
            done.set()

        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            while not done.is_set():
                with anyio.move_on_after(self._beat):
                    await done.wait()
                if not done.is_set():
                    await send(_piece(b" ", more=True))
        await send(_piece(said[0], more=False))


def _piece(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}
