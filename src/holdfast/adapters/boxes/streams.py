"""Bytes into and out of a box: never blocked by a reader that is slow or a flood that is not."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import IO

import anyio
from anyio import CapacityLimiter, to_thread

_PIECE = 1 << 16
_STREAMS = 2
_FLOOD = 1 << 20
_MOMENT = 0.02


class Kept:
    """The first bytes of two streams together, up to a limit; the rest is read and dropped."""

    def __init__(self, limit: int) -> None:
        self.stdout, self.stderr = bytearray(), bytearray()
        self.cut = False
        self.hands = CapacityLimiter(_STREAMS)
        self._room = limit
        self._open = _STREAMS
        self._silent = anyio.Event()

    def add(self, stream: bytearray, piece: bytes) -> None:
        stream += piece[: self._room]
        self.cut = self.cut or len(piece) > self._room
        self._room -= min(len(piece), self._room)

    def end(self) -> None:
        self._open -= 1
        if self._open == 0:
            self._silent.set()

    async def ended(self) -> None:
        """Wait until both streams have."""
        await self._silent.wait()


async def drain(source: IO[bytes], kept: Kept, stream: bytearray) -> None:
    """Read `source` to its end. What nobody will see is thrown away without being looked at.

    After the first piece that is done in a thread: a pipe is locked while somebody writes, and who
    writes in a box may be the last to get the processor. To wait for that here stops the daemon.
    """
    while not kept.cut:
        await anyio.wait_readable(source)
        if stream:
            piece = await to_thread.run_sync(source.read, _PIECE, limiter=kept.hands)
        else:
            piece = source.read(_PIECE)
        if piece == b"":
            kept.end()
            return
        kept.add(stream, piece or b"")
    with suppress(OSError):  # the system may not lend a user so much
        await to_thread.run_sync(
            fcntl.fcntl, source, fcntl.F_SETPIPE_SZ, _FLOOD, limiter=kept.hands
        )
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        while await _thrown_away(source, nowhere, kept.hands):
            pass
    finally:
        os.close(nowhere)
    kept.end()


async def _thrown_away(source: IO[bytes], nowhere: int, hands: CapacityLimiter) -> int:
    # One read a moment is enough to block nobody for long, and floods never fill our day.
    await anyio.sleep(_MOMENT)
    while True:
        await anyio.wait_readable(source)
        with suppress(BlockingIOError):
            descriptor = source.fileno()
            return await to_thread.run_sync(os.splice, descriptor, nowhere, _FLOOD, limiter=hands)


async def feed(sink: IO[bytes], data: bytes) -> None:
    """Write `data` and close; a reader that has had enough is no error."""
    rest = memoryview(data)
    with sink, suppress(BrokenPipeError):
        while rest:
            await anyio.wait_writable(sink)
            rest = rest[sink.write(rest[:_PIECE]) or 0 :]
