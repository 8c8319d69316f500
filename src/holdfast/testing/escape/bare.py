"""No box at all: what shows that the attacks bite.

It makes the mistakes that a box is there to prevent: commands run as they are with our own
environment, links are followed, nothing is limited but time, and only the command itself is ended.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import anyio
from anyio.abc import Process

from holdfast.core.error import NotFound, Unavailable
from holdfast.ports.box import Box, BoxSpec, BoxStats, Capabilities, Exit

_LAST_WORDS = 0.3


class Bare:
    """A `BoxKind` that protects from nothing."""

    name = "bare"

    async def create(self, spec: BoxSpec) -> Box:
        return _Open(spec)

    async def probe(self) -> Capabilities:
        return Capabilities(kind=self.name, walls={}, problems=("there is no wall at all",))

    async def close(self) -> None:
        """Nothing is kept."""


class _Open:
    def __init__(self, spec: BoxSpec) -> None:
        self.spec = spec
        self._leak = os.open("/", os.O_RDONLY)

    async def exec(
        self,
        argv: Sequence[str],
        *,
        cwd: str = ".",
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> Exit:
        began = anyio.current_time()
        async with self.start(argv, cwd=cwd, environment=environment) as running:
            out = bytearray()
            with anyio.move_on_after(seconds or self.spec.limits.seconds) as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(running.feed, stdin)
                    await running.collect(out)
                    group.cancel_scope.cancel()
                await running.wait()
            code = running.process.returncode
        return Exit(
            code=-9 if code is None else code,
            stdout=bytes(out),
            stderr=running.complaint().encode(),
            timed_out=scope.cancelled_caught,
            seconds=anyio.current_time() - began,
        )

    @asynccontextmanager
    async def start(
        self,
        argv: Sequence[str],
        *,
        cwd: str = ".",
        environment: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[_Loose]:
        process = await anyio.open_process(
            list(argv),
            cwd=self.spec.workspace / cwd,
            env={**os.environ, **self.spec.environment, **(environment or {})},  # noqa: TID251 - the mistake
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(self._leak,),
        )
        running = _Loose(process)
        try:
            yield running
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(5):
                await running.kill()
                await process.aclose()

    async def put(self, path: str, data: bytes) -> None:
        await anyio.Path(self.spec.workspace / path).write_bytes(data)

    async def get(self, path: str, most: int) -> bytes:
        try:
            return (await anyio.Path(self.spec.workspace / path).read_bytes())[:most]
        except OSError as error:
            raise NotFound(f"{path} cannot be read: {error.strerror}") from error

    async def listen(self, port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            listener.close()
            raise Unavailable(f"port {port} is taken") from error
        listener.listen()
        return listener

    async def stats(self) -> BoxStats:
        return BoxStats()

    async def kill(self) -> None:
        """Nothing is known of what still runs."""

    async def destroy(self) -> None:
        with suppress(OSError):
            os.close(self._leak)


class _Loose:
    """A `Running` that lets go of all but the process that was started."""

    def __init__(self, process: Process) -> None:
        self.process = process

    async def feed(self, data: bytes) -> None:
        with suppress(anyio.BrokenResourceError, Unavailable):
            if data:
                await self.send(data)
            if self.process.stdin is not None:
                await self.process.stdin.aclose()

    async def collect(self, out: bytearray) -> None:
        """Until the end of its output, or a moment after its own end."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._read_all, out, group.cancel_scope)
            await self.process.wait()
            group.cancel_scope.deadline = anyio.current_time() + _LAST_WORDS

    async def _read_all(self, out: bytearray, scope: anyio.CancelScope) -> None:
        while piece := await self.receive():
            out += piece
        scope.cancel()

    async def send(self, data: bytes) -> None:
        if self.process.stdin is None:
            raise Unavailable("it reads nothing")
        try:
            await self.process.stdin.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise Unavailable("it no longer reads") from error

    async def receive(self) -> bytes:
        if self.process.stdout is None:
            return b""
        try:
            return await self.process.stdout.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            return b""

    def complaint(self) -> str:
        return ""

    async def wait(self) -> int:
        return await self.process.wait()

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
