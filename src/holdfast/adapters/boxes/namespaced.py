"""A box that is a set of namespaces kept by descriptor, and the commands in it."""

from __future__ import annotations

import os
import resource
import signal
import socket
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from math import ceil
from typing import Any, NamedTuple

import anyio
from anyio import CancelScope, fail_after, to_thread

from holdfast.core.error import Invalid, Unavailable
from holdfast.ports.box import BoxSpec, BoxStats, Exit

from . import files
from .command import Command, Talk, talking, until_dead
from .groups import Group
from .porting import Porter, Reply, memory, shielded, written
from .root import Inside, directory, environment

_SECONDS = 30.0
_LONGEST = 1 << 20


class Spaces(NamedTuple):
    """Descriptors of a box's namespaces, in the order in which the porter wants them."""

    owner: int
    net: int
    ipc: int
    uts: int
    mnt: int
    user: int


class NamespacedBox:
    """A `Box`. Closing its descriptors is its end: nothing else of it exists while it is idle."""

    def __init__(
        self,
        porter: Porter,
        spec: BoxSpec,
        view: Inside,
        spaces: Spaces,
        group: Group | None,
        filters: Sequence[bytes],
    ) -> None:
        self._porter, self._spec, self._view = porter, spec, view
        self._spaces: Spaces | None = spaces
        self._group, self._filters = group, filters
        self._commands: set[Command] = set()
        self._next: Reply | None = None
        self._asking: list[int] = []
        self._gone: Callable[[NamespacedBox], None] = lambda _: None

    do = "stand"
    ending = signal.SIGKILL

    @property
    def spec(self) -> BoxSpec:
        return self._spec

    def when_gone(self, told: Callable[[NamespacedBox], None]) -> None:
        self._gone = told

    async def exec(
        self,
        argv: Sequence[str],
        *,
        cwd: str = ".",
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> Exit:
        self._there()
        limits = self._spec.limits
        seconds = limits.seconds if seconds is None else seconds
        asked = await self._asked(argv, cwd, environment, seconds)
        async with self._opened(asked) as command:
            return await until_dead(command, stdin, limits, seconds, self._view.workspace)

    @asynccontextmanager
    async def start(
        self,
        argv: Sequence[str],
        *,
        cwd: str = ".",
        environment: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[Talk]:
        asked = await self._asked(argv, cwd, environment, 0)
        async with self._opened(asked) as command, talking(command) as talk:
            yield talk

    async def put(self, path: str, data: bytes) -> None:
        await to_thread.run_sync(files.put, self._view.workspace, path, data)

    async def get(self, path: str, most: int) -> bytes:
        return await to_thread.run_sync(files.get, self._view.workspace, path, most)

    async def listen(self, port: int) -> socket.socket:
        with ExitStack() as ours:
            groups = self._doors(ours)
            words = {"do": "listen", "port": port, "groups": len(groups)}
            reply = await self._porter.ask(words, [*groups, *self._there()])
            ours.callback(reply.close)
            _, found = await answered(reply)
        return socket.socket(fileno=found[0])

    async def stats(self) -> BoxStats:
        if self._group is None:
            return BoxStats()
        return await to_thread.run_sync(self._group.stats)

    async def kill(self) -> None:
        for command in tuple(self._commands):
            await command.kill()

    async def destroy(self) -> None:
        spaces, self._spaces = self._spaces, None
        with CancelScope(shield=True):
            await self.kill()
            waiting, self._next = self._next, None
            if waiting is not None:
                await _dismissed(waiting, self.ending)
            if spaces is not None:
                await to_thread.run_sync(self._left, spaces)
        self._gone(self)

    def _left(self, spaces: Sequence[int]) -> None:
        """The last descriptor of a namespace blocks until the kernel has taken it apart."""
        for descriptor in (*self._asking, *spaces):
            _closed(descriptor)
        if self._group is not None:
            self._group.remove()

    def variables(self, extra: Mapping[str, str]) -> dict[str, str]:
        return environment({**self._spec.environment, **extra})

    def landlock(self) -> dict[str, Any]:
        """What Landlock lets a command do: the second wall, behind that of the mounts."""
        return {"reads": ["/"], "devices": ["/dev"], "writes": self._view.writes}

    def _there(self) -> Spaces:
        if self._spaces is None:
            raise Unavailable("this box is gone")
        return self._spaces

    def _doors(self, ours: ExitStack) -> list[int]:
        doors = self._group.doors() if self._group is not None else []
        for door in doors:
            ours.callback(os.close, door)
        return doors

    async def _asked(
        self,
        argv: Sequence[str],
        cwd: str,
        extra: Mapping[str, str] | None,
        seconds: float,
    ) -> dict[str, Any]:
        _sensible(argv)
        place = str(self._view.workspace)
        if cwd != ".":
            place = await to_thread.run_sync(directory, self._spec, self._view.workspace, cwd)
        return {
            "argv": list(argv),
            "cwd": place,
            "environment": self.variables(extra or {}),
            "cpu": ceil(seconds) * (os.cpu_count() or 1) + 1 if seconds else resource.RLIM_INFINITY,
        }

    @asynccontextmanager
    async def _opened(self, asked: dict[str, Any]) -> AsyncGenerator[Command]:
        """A command under way; on leaving, all its processes are dead, its descriptors closed."""
        command = await shielded(partial(self._begun, asked))
        self._commands.add(command)
        try:
            yield command
        finally:
            with CancelScope(shield=True):
                await command.kill()
                command.close()
                self._commands.discard(command)
                await self._ready_again(command.mounts)

    async def _ready_again(self, spent: Sequence[int]) -> None:
        """The next first process may stand up; `spent` mounts are left to the porter to close."""
        try:
            if self._lacks_next():
                with suppress(Unavailable):
                    waiting = await self._stand(spent)
                    if self._lacks_next():
                        self._next = waiting
                    else:  # it is gone meanwhile, or another command ended as well
                        await _dismissed(waiting, self.ending)
        finally:
            for descriptor in spent:
                os.close(descriptor)

    def _lacks_next(self) -> bool:
        return self._spaces is not None and self._next is None

    async def _begun(self, go: Mapping[str, Any]) -> Command:
        """Tell the process that stands ready what to do; the next one may stand up meanwhile."""
        waiting, self._next = self._next, None
        if waiting is not None:
            with suppress(Unavailable):  # it may have been ended from outside
                return await _told(waiting, go, self._group, self.ending)
        return await _told(await self._stand(), go, self._group, self.ending)

    async def _stand(self, spent: Sequence[int] = ()) -> Reply:
        """Ask for the first process of the next command; it stands ready when it answers."""

        def lent() -> list[int]:
            spaces = [space for space in self._there() if space >= 0]
            return [*(self._asking or self._asked_once()), *spaces, *spent]

        return await self._porter.pass_on(lent)

    def _asked_once(self) -> list[int]:
        """What asks for a first process, and the filters and groups that go with it: the same each
        time, so that nobody waits for their making."""
        with ExitStack() as undo:
            doors = self._doors(undo)
            filters = [memory(program) for program in self._filters]
            for descriptor in filters:
                undo.callback(os.close, descriptor)
            words = {"do": self.do, "landlock": self.landlock(), "filters": len(filters)}
            words |= {"user": self._view.user, "covered": self._view.covered}
            words |= {"limits": bounds(self._spec), "groups": len(doors)}
            self._asking = [written(words), *filters, *doors]
            undo.pop_all()
        return self._asking


async def _told(
    reply: Reply, go: Mapping[str, Any], group: Group | None, ending: signal.Signals
) -> Command:
    """Tell who stands ready what to do, and hold it."""
    with ExitStack() as theirs, ExitStack() as undo:
        undo.callback(reply.close)
        said, found = await answered(reply)
        for descriptor in found:
            undo.callback(os.close, descriptor)
        stdin, stdin_in = _pipe(theirs, undo)
        stdout_in, stdout = reversed(_pipe(undo, theirs))
        stderr_in, stderr = reversed(_pipe(undo, theirs))
        try:
            reply.send(go, [stdin, stdout_in, stderr_in])
        except OSError as error:
            raise Unavailable("the box's commands were ended from outside") from error
        undo.pop_all()
    return Command(
        reply=reply,
        first=found[0],
        mounts=found[1:],
        said=said,
        stdin=os.fdopen(stdin_in, "wb", buffering=0),
        stdout=os.fdopen(stdout, "rb", buffering=0),
        stderr=os.fdopen(stderr, "rb", buffering=0),
        group=group,
        ending=ending,
    )


async def _dismissed(waiting: Reply, ending: signal.Signals) -> None:
    """Nobody stands ready any longer."""
    with suppress(Unavailable):
        _, found = await answered(waiting)
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(found[0], ending)
        await anyio.wait_readable(found[0])
        for descriptor in found:
            await to_thread.run_sync(os.close, descriptor)
    waiting.close()


async def answered(reply: Reply) -> tuple[dict[str, Any], list[int]]:
    """What came first with a descriptor; a fast command's end may overtake it."""
    said: dict[str, Any] = {}
    try:
        with fail_after(_SECONDS):
            while True:
                words, found = await reply.next()
                said |= words
                if found:
                    return said, found
                if not words or "error" in words:
                    break
    except TimeoutError:
        await reply.unanswered()
        raise Unavailable("the box does not answer") from None
    raise Unavailable(f"no command can be started in the box: {said.get('error', 'it is gone')}")


def _sensible(argv: Sequence[str]) -> None:
    if not argv or any("\0" in word for word in argv):
        raise Invalid("a command needs at least one word, and none with a NUL character")
    if sum(map(len, argv)) > _LONGEST:
        raise Invalid("the command line is too long for this system; put it into a file")


def _pipe(reads: ExitStack, writes: ExitStack) -> tuple[int, int]:
    out, into = os.pipe()
    reads.callback(_closed, out)
    writes.callback(_closed, into)
    return out, into


def _closed(descriptor: int) -> None:
    with suppress(OSError):
        os.close(descriptor)


def bounds(spec: BoxSpec) -> dict[str, int]:
    """Resource limits of each process; `processes` counts the box alone, in its user namespace.

    Memory is bounded as RLIMIT_DATA: unlike RLIMIT_AS it leaves the huge reservations of node, Go
    and Java alone and counts only what can be written.
    """
    limits = spec.limits
    found = {
        "RLIMIT_CORE": 0,
        "RLIMIT_DATA": limits.memory,
        "RLIMIT_FSIZE": limits.file_size,
        "RLIMIT_NOFILE": limits.files,
        "RLIMIT_NPROC": limits.processes,
        "RLIMIT_MEMLOCK": 1 << 20,
        "RLIMIT_MSGQUEUE": 1 << 20,
        "RLIMIT_NICE": 0,
        "RLIMIT_RTPRIO": 0,
    }
    if spec.browser:
        del found["RLIMIT_DATA"]
    return {name: amount for name, amount in found.items() if hasattr(resource, name)}
