"""The box made of Linux namespaces by bubblewrap: no daemon, no privileges, some 15 ms.

How a stop becomes a guarantee: everything in the box lives in one process namespace. bubblewrap
tells us its first process before the command may begin; we hold that process by descriptor.
Killing it makes the kernel kill all others, however they forked or hid, and the descriptor
becomes readable only when the last of them is gone.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import anyio
from anyio import CancelScope, to_thread

from holdfast.core.error import Broken, Invalid, Unavailable
from holdfast.ports.box import BoxLimits, BoxSpec, Capabilities, Exit

from .cell import HINT, Cell, spawn
from .root import inside
from .streams import Kept, drain, feed
from .walls import try_walls

_DEATH = 10.0
_LAST_WORDS = 2.0
_NOT_FOUND = 127
_AT_ONCE = 32


class BubblewrapBox:
    """A `Box`. As root it works too, but the kernel then counts no processes against a limit
    unless a control group can be made; `probe` says which.

    Only so many run `at_once`, the others wait their turn: each may use all of its limits, and
    each costs us some six descriptors, which must not run out.
    """

    def __init__(
        self,
        *,
        limits: BoxLimits | None = None,
        program: str = "bwrap",
        at_once: int = _AT_ONCE,
    ) -> None:
        self._limits = limits or BoxLimits()
        self._program = program
        self._room = anyio.CapacityLimiter(at_once)

    async def run(
        self,
        argv: Sequence[str],
        *,
        spec: BoxSpec,
        cwd: str = ".",
        stdin: bytes = b"",
        limits: BoxLimits | None = None,
    ) -> Exit:
        limits = limits or self._limits
        program = shutil.which(self._program)
        if program is None:
            raise Unavailable("commands need a box and bubblewrap is not installed", hint=HINT)
        if not argv or any("\0" in word for word in argv):
            raise Invalid("a command needs at least one word, and none with a NUL character")
        view = await to_thread.run_sync(inside, spec, cwd)
        spawning = partial(spawn, program, view, argv, limits, stdin=bool(stdin))
        async with self._room, _opened(spawning) as cell:
            kept, began = Kept(limits.output), anyio.current_time()
            timed_out = await _until_dead(cell, stdin, kept, limits.seconds)
            return Exit(
                code=-signal.SIGKILL if timed_out else _code(cell, kept),
                stdout=bytes(kept.stdout),
                stderr=bytes(kept.stderr),
                timed_out=timed_out,
                cut=kept.cut,
                seconds=anyio.current_time() - began,
            )

    async def probe(self) -> Capabilities:
        return await try_walls(self)


@asynccontextmanager
async def _opened(spawning: Callable[[], Awaitable[Cell]]) -> AsyncGenerator[Cell]:
    """A running cell; on leaving, all its processes are dead and its descriptors closed."""
    cell = await _shielded(spawning)
    try:
        yield cell
    finally:
        with CancelScope(shield=True):
            await _kill(cell)
            cell.close()
            if cell.group is not None:
                await to_thread.run_sync(cell.group.remove)


async def _shielded(spawning: Callable[[], Awaitable[Cell]]) -> Cell:
    with CancelScope(shield=True):
        try:
            return await spawning()
        except OSError as error:
            raise _cannot_start(error) from error
    raise AssertionError("nobody cancels this scope")


async def _until_dead(cell: Cell, stdin: bytes, kept: Kept, seconds: float) -> bool:
    """Carry bytes in and out until the command ends or its time is up; True if it was."""
    wall = CancelScope()
    async with anyio.create_task_group() as group:
        group.start_soon(feed, cell.process.stdin, stdin)
        group.start_soon(drain, cell.process.stdout, kept, kept.stdout)
        group.start_soon(drain, cell.process.stderr, kept, kept.stderr)
        with wall:
            wall.deadline = anyio.current_time() + seconds
            await anyio.wait_readable(cell.watcher)
        await _kill(cell)
        # A descriptor handed to a process outside the box must not hold us.
        group.cancel_scope.deadline = anyio.current_time() + _LAST_WORDS
    return wall.cancelled_caught


async def _kill(cell: Cell) -> None:
    """Kill everything in the cell and wait until it is gone. May be called twice."""
    with anyio.move_on_after(_DEATH):
        for process in (cell.init, cell.watcher):
            cell.strike(process)
            await anyio.wait_readable(process)
        cell.reap()
        return
    raise Broken(f"the processes of the box {cell.process.pid} cannot be killed")


def _code(cell: Cell, kept: Kept) -> int:
    """The exit code as the command's own: bubblewrap reports a death by signal as 128 + n."""
    code = cell.exit_code()
    if code is not None:
        number = code - 128
        return -number if 0 < number < signal.SIGRTMIN else code
    if cell.process.returncode != 1:
        return -signal.SIGKILL
    if kept.stderr.startswith((b"bwrap: execvp ", b"bwrap: Can't chdir ")):
        return _NOT_FOUND
    raise Unavailable(f"no box could be made: {kept.words()}", hint=HINT)


def _cannot_start(error: OSError) -> Invalid | Unavailable:
    if error.errno == errno.E2BIG:
        return Invalid("the command line is too long for this system; put it into a file")
    return Unavailable(f"no box could be made: {os.strerror(error.errno or 0)}: {error}")
