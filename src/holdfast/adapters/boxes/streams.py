"""Bytes into and out of a box: never blocked by a reader that is slow or a flood that is not."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import IO

import anyio

_PIECE = 1 << 16
_STREAMS = 2
_FLOOD = 1 << 20
_MOMENT = 0.002


class Kept:
    """The first bytes of two streams together, up to a limit; the rest is read and dropped."""

    def __init__(self, limit: int) -> None:
        self.stdout, self.stderr = bytearray(), bytearray()
        self.cut = False
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
    """Read `source` to its end. What nobody will see is thrown away without being looked at."""
    while not kept.cut:
        await anyio.wait_readable(source)
        piece = source.read(_PIECE)
        if piece == b"":
            kept.end()
            return
        kept.add(stream, piece or b"")
    with suppress(OSError):  # the system may not lend a user so much
        fcntl.fcntl(source, fcntl.F_SETPIPE_SZ, _FLOOD)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        while await _thrown_away(source, nowhere):
            pass
    finally:
        os.close(nowhere)
    kept.end()


async def _thrown_away(source: IO[bytes], nowhere: int) -> int:
    # One read a moment is enough to block nobody for long, and floods never fill our day.
    await anyio.sleep(_MOMENT)
    while True:
        await anyio.wait_readable(source)
        with suppress(BlockingIOError):
            return os.splice(source.fileno(), nowhere, _FLOOD)


async def feed(sink: IO[bytes], data: bytes) -> None:
    """Write `data` and close; a reader that has had enough is no error."""
    rest = memoryview(data)
    with sink, suppress(BrokenPipeError):
        while rest:
            await anyio.wait_writable(sink)
            rest = rest[sink.write(rest[:_PIECE]) or 0 :]
