"""One command in a box, held by a descriptor of its first process."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol

import anyio
from anyio import CancelScope, to_thread

from holdfast.core.error import Broken, Unavailable
from holdfast.ports.box import BoxLimits, Exit

from .groups import Group
from .porting import Reply
from .streams import Kept, drain, feed
from .usage import overused, still
from .watching import overgrown

_DEATH = 10.0
_LAST_WORDS = 2.0
_PIECE = 1 << 16
_COMPLAINT = 8 << 10


class Held(Protocol):
    """A command that is held in some way: by a descriptor of its first process, its streams, and
    the groups that its box has."""

    first: int
    stdin: IO[bytes]
    stdout: IO[bytes]
    stderr: IO[bytes]
    group: Group | None
    memory_kills: int

    async def gone(self) -> None:
        """Wait until the command is dead."""
        ...

    async def kill(self) -> None:
        """Kill everything of it and wait until it is gone."""
        ...

    def code(self) -> int | None: ...


@dataclass(slots=True, kw_only=True, eq=False)
class Command:
    """What runs. `first` is the descriptor of its namespace's first process: readable once every
    process of the command is gone, and killing it is killing them all. `said` is what the porter
    has told so far; `ending` is what kills it; `mounts` are to be closed when nobody waits."""

    reply: Reply
    first: int
    stdin: IO[bytes]
    stdout: IO[bytes]
    stderr: IO[bytes]
    group: Group | None = None
    mounts: Sequence[int] = ()
    said: dict[str, Any] = field(default_factory=dict[str, Any])
    ending: signal.Signals = signal.SIGKILL
    memory_kills: int = 0
    dead: bool = False
    looking: anyio.Lock = field(default_factory=anyio.Lock)

    def __post_init__(self) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            os.set_blocking(stream.fileno(), False)
        self.memory_kills = self.group.killed_for_memory() if self.group else 0

    async def kill(self) -> None:
        """Kill everything of it and wait until it is gone. May be called twice, or by two."""
        if self.dead:
            return
        with anyio.move_on_after(_DEATH):
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.first, self.ending)
            await self.gone()
            return
        raise Broken("the processes of a box cannot be killed")

    async def gone(self) -> None:
        """Wait until it is dead. Of all who wait, the loop lets one look at the descriptor."""
        async with self.looking:
            if not self.dead:
                await anyio.wait_readable(self.first)
                self.dead = True

    def code(self) -> int | None:
        """The command's own code once it is dead; None if it was killed with all others."""
        with suppress(json.JSONDecodeError):
            while "code" not in self.said and (told := self.reply.now()[0]):
                self.said |= told
        if "error" in self.said:
            raise Unavailable(f"no command can be started in the box: {self.said['error']}")
        found = self.said.get("code")
        return found if isinstance(found, int) else None

    def close(self) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            stream.close()
        os.close(self.first)
        self.reply.close()


async def until_dead(
    command: Held, stdin: bytes, limits: BoxLimits, seconds: float, workspace: Path
) -> Exit:
    """Carry bytes in and out until the command ends or a limit is reached."""
    kept, began, stopped = Kept(limits.output), anyio.current_time(), list[str]()
    wall = CancelScope()

    async def watch(why: Callable[[], Awaitable[str]]) -> None:
        stopped.append(await why())
        wall.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(feed, command.stdin, stdin)
        group.start_soon(drain, command.stdout, kept, kept.stdout)
        group.start_soon(drain, command.stderr, kept, kept.stderr)
        if limits.disk or limits.inodes:
            held = partial(still, command.first)
            grown = partial(overgrown, workspace, limits.disk, limits.inodes, held)
            group.start_soon(watch, grown)
        if command.group is None:
            group.start_soon(watch, partial(overused, command.first, limits))
        with wall:
            wall.deadline = anyio.current_time() + seconds
            await command.gone()
        with CancelScope(shield=True):
            await command.kill()
        # A descriptor handed to a process outside the box must not hold us.
        group.cancel_scope.deadline = anyio.current_time() + _LAST_WORDS
        group.start_soon(_when_silent, kept, group.cancel_scope.cancel)
    timed_out = wall.cancelled_caught and not stopped
    code = None if wall.cancelled_caught else command.code()
    if command.group and command.group.killed_for_memory() > command.memory_kills:
        stopped.append(f"it needed more than {limits.memory >> 20} MiB of memory")
    return Exit(
        code=-signal.SIGKILL if code is None else code,
        stdout=bytes(kept.stdout),
        stderr=bytes(kept.stderr),
        timed_out=timed_out,
        cut=kept.cut,
        seconds=anyio.current_time() - began,
        stopped="; ".join(stopped),
    )


async def _when_silent(kept: Kept, then: Callable[[], None]) -> None:
    """Nobody feeds or watches any longer once both streams have ended."""
    await kept.ended()
    then()


class Talk:
    """A `Running`."""

    def __init__(self, command: Held) -> None:
        self._command = command
        self._complaint = bytearray()

    async def listen(self) -> None:
        """Keep the end of what it complains about, so that it is never blocked by it."""
        while piece := await _read(self._command.stderr):
            self._complaint = (self._complaint + piece)[-_COMPLAINT:]

    async def send(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                await anyio.wait_writable(self._command.stdin)
                rest = rest[self._command.stdin.write(rest[:_PIECE]) or 0 :]
        except (OSError, ValueError) as error:
            raise Unavailable("the command in the box no longer reads") from error

    async def receive(self) -> bytes:
        return await _read(self._command.stdout)

    def complaint(self) -> str:
        return self._complaint.decode(errors="replace")

    async def wait(self) -> int:
        await self._command.gone()
        code = await to_thread.run_sync(self._command.code)
        return -signal.SIGKILL if code is None else code

    async def kill(self) -> None:
        await self._command.kill()


@asynccontextmanager
async def talking(command: Held) -> AsyncGenerator[Talk]:
    """Talk with a command, for as long as the context lasts."""
    async with anyio.create_task_group() as group:
        talk = Talk(command)
        group.start_soon(talk.listen)
        try:
            yield talk
        finally:
            group.cancel_scope.cancel()


async def _read(source: IO[bytes]) -> bytes:
    while True:
        await anyio.wait_readable(source)
        with suppress(BlockingIOError):
            return os.read(source.fileno(), _PIECE)
