"""One end of a connection: what goes wrong on it is told in our words, and silence has an end."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from holdfast.core.error import HoldfastError, Unavailable

PIECE = 1 << 16
_SILENCE = 300.0
_FAREWELL = 1.0
GONE = (
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    ssl.SSLError,
    OSError,
)

Job = Callable[[], Awaitable[None]]


class Counted(Protocol):
    """Told of every byte, before it goes on. May raise `NotAllowed`."""

    def sent(self, size: int) -> None: ...

    def received(self, size: int) -> None: ...


class Line:
    """A stream with somebody at its other end. Of itself raises `Unavailable` and nothing else."""

    def __init__(self, stream: ByteStream, whom: str, counted: Counted | None = None) -> None:
        self._stream, self._whom, self._counted = stream, whom, counted
        self._begun = b""

    async def receive(self, silence: float | None = _SILENCE) -> bytes:
        """The next piece, not empty; b"" at the end. No silence: however long it takes."""
        if self._begun:
            begun, self._begun = self._begun, b""
            return begun
        data = await self._heard(silence)
        if self._counted:
            self._counted.received(len(data))
        return data

    async def _heard(self, silence: float | None) -> bytes:
        try:
            with anyio.fail_after(silence):
                return await self._stream.receive(PIECE)
        except anyio.EndOfStream:
            return b""
        except TimeoutError:
            raise Unavailable(f"{self._whom} said nothing", code="egress_timeout") from None
        except GONE:
            raise self._cut() from None

    async def send(self, data: bytes, silence: float = _SILENCE) -> None:
        if self._counted:
            self._counted.sent(len(data))
        try:
            with anyio.fail_after(silence):
                await self._stream.send(data)
        except TimeoutError:
            raise Unavailable(f"{self._whom} did not listen", code="egress_timeout") from None
        except GONE:
            raise self._cut() from None

    async def end(self) -> None:
        """Nothing more will be sent; the last thing that is done with a line that speaks TLS."""
        with suppress(*GONE):  # Who left before has heard everything.
            if not isinstance(self._stream, TLSStream):
                with suppress(RuntimeError):  # As uvloop calls one that is closed already.
                    await self._stream.send_eof()
                return
            with anyio.move_on_after(_FAREWELL):
                await self._stream.unwrap()

    def give_back(self, data: bytes) -> None:
        """The next that is received."""
        self._begun = data + self._begun

    def taken(self) -> ByteStream:
        """The stream, with what was given back; the line is of no use afterwards."""
        return _Begun(self._stream, self._begun)

    def _cut(self) -> Unavailable:
        return Unavailable(f"{self._whom} broke the connection off", code="egress_cut")


class _Begun(ByteStream):
    """A stream of which something was read already."""

    def __init__(self, stream: ByteStream, begun: bytes) -> None:
        self._stream, self._begun = stream, begun

    async def receive(self, max_bytes: int = PIECE) -> bytes:
        if not self._begun:
            return await self._stream.receive(max_bytes)
        begun, self._begun = self._begun[:max_bytes], self._begun[max_bytes:]
        return begun

    async def send(self, item: bytes) -> None:
        await self._stream.send(item)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


async def together(main: Job, beside: Job) -> None:
    """Both at once, until `main` is through. The first failure ends them and is raised."""
    failures: list[HoldfastError] = []

    async def run(job: Job) -> None:
        try:
            await job()
        except HoldfastError as error:
            failures.append(error)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(run, beside)
        await run(main)
        group.cancel_scope.cancel()
    if failures:
        raise failures[0]
