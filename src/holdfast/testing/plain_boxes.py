"""Boxes without walls, for tests of what talks with a command: plain processes, nothing more."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
from anyio.abc import Process

from holdfast.core.error import NotFound, Unavailable
from holdfast.ports.box import Box, BoxSpec, BoxStats, Capabilities, Exit, Lodger, Running

_PIECE = 1 << 16
_KEPT = 4_096


class PlainRunning:
    """A process that one talks with."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._complaint = b""

    async def send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            await self._process.stdin.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise Unavailable("it no longer reads") from None

    async def receive(self) -> bytes:
        assert self._process.stdout is not None
        try:
            return await self._process.stdout.receive(_PIECE)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return b""

    def complaint(self) -> str:
        return self._complaint.decode(errors="replace")

    async def wait(self) -> int:
        return await self._process.wait()

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    async def listen_to_complaints(self) -> None:
        assert self._process.stderr is not None
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for piece in self._process.stderr:
                self._complaint = (self._complaint + piece)[-_KEPT:]


class PlainBox:
    """A folder with a scratch folder beside it."""

    def __init__(self, spec: BoxSpec, scratch: Path) -> None:
        self._spec, self.scratch = spec, scratch
        self.running: list[PlainRunning] = []

    @property
    def spec(self) -> BoxSpec:
        return self._spec

    async def exec(
        self,
        argv: Sequence[str],
        *,
        cwd: str = ".",
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> Exit:
        with anyio.fail_after(seconds):
            done = await anyio.run_process(
                list(argv),
                input=stdin,
                check=False,
                cwd=self._spec.workspace / cwd,
                env=self._environment(environment),
                stderr=subprocess.PIPE,
            )
        return Exit(code=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def start(
        self, argv: Sequence[str], *, cwd: str = ".", environment: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[Running]:
        return self._started(argv, cwd, environment)

    async def put(self, path: str, data: bytes) -> None:
        await anyio.Path(self._spec.workspace / path).write_bytes(data)

    async def get(self, path: str, most: int) -> bytes:
        try:
            return (await anyio.Path(self._spec.workspace / path).read_bytes())[:most]
        except FileNotFoundError:
            raise NotFound(f"there is no {path}") from None

    async def listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port))
        listener.setblocking(False)
        return listener

    async def stats(self) -> BoxStats:
        return BoxStats()

    async def kill(self) -> None:
        for each in list(self.running):
            await each.kill()

    async def destroy(self) -> None:
        await self.kill()

    @asynccontextmanager
    async def _started(
        self, argv: Sequence[str], cwd: str, environment: Mapping[str, str] | None
    ) -> AsyncGenerator[Running]:
        process = await anyio.open_process(
            list(argv),
            cwd=self._spec.workspace / cwd,
            env=self._environment(environment),
            start_new_session=True,
        )
        running = PlainRunning(process)
        self.running.append(running)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(running.listen_to_complaints)
                yield running
                group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await running.kill()
                await process.aclose()
            self.running.remove(running)

    def _environment(self, more: Mapping[str, str] | None) -> dict[str, str]:
        place = str(self.scratch)
        own = {"PATH": "/usr/bin:/bin", "HOME": place, "TMPDIR": place}
        return {**own, **self._spec.environment, **(more or {})}


class PlainBoxes:
    """A new box each time."""

    def __init__(self) -> None:
        self.made: list[PlainBox] = []

    @asynccontextmanager
    async def lend(self, owner: str, spec: BoxSpec) -> AsyncGenerator[Box]:
        # A short path: programs put sockets there, whose names may not be long.
        with TemporaryDirectory(prefix="box-", ignore_cleanup_errors=True) as place:
            box = PlainBox(spec, Path(place))
            self.made.append(box)
            try:
                yield box
            finally:
                with anyio.CancelScope(shield=True):
                    await box.destroy()

    async def release(self, owner: str) -> None:
        """They go when they are given back."""

    async def all(self) -> Sequence[Lodger]:
        return ()

    async def probe(self) -> Capabilities:
        return Capabilities(kind="plain", walls={})

    async def run(self) -> None:
        """There is nothing to keep."""

    async def close(self) -> None:
        for box in self.made:
            await box.destroy()
