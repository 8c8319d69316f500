"""A stream of frames as an ASGI answer: kept open while all is quiet, given up with its reader."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio
from anyio.streams.memory import MemoryObjectSendStream
from starlette.types import Receive, Scope, Send

from .route import Door
from .sse import begin, body, when_closing, when_gone

_QUIET = b": still here\n\n"
_FAREWELL = 1.0

Frames = AsyncGenerator[bytes, None]


class Flow:
    """`frames`, each written as it comes; a comment when nothing came for a while.

    Whoever leaves, or the daemon when it stops, ends it. A reader that does
    not take what is written holds up nobody but itself: frames are made when there is room.
    """

    def __init__(self, door: Door, frames: Frames) -> None:
        self._frames = frames
        self._closing, self._keep_alive = door.closing, door.keep_alive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await begin(send)
        into, out = anyio.create_memory_object_stream[bytes](1)
        async with anyio.create_task_group() as group:
            group.start_soon(when_gone, receive, group.cancel_scope)
            group.start_soon(when_closing, self._closing, group.cancel_scope)
            group.start_soon(self._fill, into)
            with out:
                while True:
                    frame = _QUIET
                    try:
                        with anyio.move_on_after(self._keep_alive):
                            frame = await out.receive()
                    except anyio.EndOfStream:
                        break
                    await body(send, frame)
            group.cancel_scope.cancel()
        with anyio.move_on_after(_FAREWELL):
            await body(send, b"", more=False)

    async def _fill(self, into: MemoryObjectSendStream[bytes]) -> None:
        async with into, aclosing(self._frames) as frames:
            async for frame in frames:
                await into.send(frame)


def data_frame(data: bytes, mark: int | None = None) -> bytes:
    """One event of the stream; `mark` is what a reader may name when it comes again."""
    head = b"" if mark is None else b"id: %d\n" % mark
    return head + b"data: " + data + b"\n\n"
