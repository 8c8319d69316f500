"""A box that is a machine of its own: commands go in over the wire, changes of files come back.

The workspace is copied in when the box is made. Before each command, what changed here since goes
in; after it, what changed there comes out.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from socket import socket
from typing import TypeVar, TypeVarTuple, Unpack

import anyio
from anyio import CancelScope, to_thread
from msgspec import Struct

from holdfast.adapters.boxes.root import directory
from holdfast.adapters.boxes.streams import Kept
from holdfast.core.error import Invalid, Unavailable
from holdfast.ports.box import BoxSpec, BoxStats, Exit

from .asking import check_command
from .channel import Channel, Line
from .command import Command, started
from .machine import Machine, disk_room
from .mirror import Incoming, Mirror, Order, Refusal, Room
from .said import Said
from .ways import Ways

_ORDERS = 64
_LAST_WORDS = 15.0
_MOST_ENTRIES = 1_000_000
_NAMED = 5
_Arguments = TypeVarTuple("_Arguments")
_Made = TypeVar("_Made")
_USER_PORTS = range(1, 65536)


class Inside(Struct, frozen=True, kw_only=True):
    """What a box shows, checked."""

    workspace: Mirror
    read_only: tuple[Mirror, ...]
    environment: Mapping[str, str]

    def close(self) -> None:
        for mirror in (self.workspace, *self.read_only):
            mirror.close()


class MicroVMBox:
    """A `Box`. Once its machine is gone it cannot do anything any more, and says so."""

    def __init__(
        self,
        spec: BoxSpec,
        inside: Inside,
        machine: Machine,
        channel: Channel,
        *,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._spec, self._inside = spec, inside
        self._machine, self._channel = machine, channel
        self._ways = Ways(machine.ways)
        self._carrying = anyio.Lock()
        self._running: set[Command] = set()
        self._touched = False
        self._ended = ended

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
        limits = self._spec.limits
        output = Kept(limits.output)
        wall = CancelScope()
        began = anyio.current_time()
        async with self._started(argv, cwd, environment, reads=bool(stdin)) as command:
            began = anyio.current_time()
            with wall:
                wall.deadline = began + (limits.seconds if seconds is None else seconds)
                await command.converse(stdin, output)
            said = await self._last_words(command, output)
            took = anyio.current_time() - began
            code = -9 if wall.cancelled_caught else await command.wait()
        stopped = "" if wall.cancelled_caught else _stopped(said, code, self._spec)
        for note in await self._bring_out():
            output.stderr += note
        return Exit(
            code=code,
            stdout=bytes(output.stdout),
            stderr=bytes(output.stderr),
            timed_out=wall.cancelled_caught,
            cut=output.cut,
            seconds=took,
            stopped=stopped,
        )

    @asynccontextmanager
    async def start(
        self,
        argv: Sequence[str],
        *,
        cwd: str = ".",
        environment: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[Command]:
        async with self._started(argv, cwd, environment, reads=True) as command:
            yield command
        await self._bring_out()

    async def put(self, path: str, data: bytes) -> None:
        await to_thread.run_sync(self._inside.workspace.write, path, data)
        if self._running:
            await self._bring_in()

    async def get(self, path: str, most: int) -> bytes:
        if self._running:
            await self._bring_out()
        return await to_thread.run_sync(self._inside.workspace.read, path, most)

    async def listen(self, port: int) -> socket:
        if port not in _USER_PORTS:
            raise Invalid(f"{port} is no port")
        async with self._channel.line() as line:
            await line.send("listen", port=port)
            await line.answer()
        return self._ways.listen(port)

    async def stats(self) -> BoxStats:
        async with self._channel.line() as line:
            await line.send("stats")
            said, _ = await line.answer()
        memory, seconds = self._machine.usage()
        processes = said.processes if said.processes in range(1 << 22) else -1
        return BoxStats(memory=memory, processes=processes, cpu_seconds=seconds)

    async def kill(self) -> None:
        for command in list(self._running):
            await command.kill()

    async def destroy(self) -> None:
        self._channel.give_up("it was destroyed")
        await self._machine.end()
        await to_thread.run_sync(self._ways.close)
        self._inside.close()
        self._ended()

    async def bring_in(self) -> None:
        """Copy all of it into the new machine."""
        async with self._carrying:
            for number, mirror in enumerate((self._inside.workspace, *self._inside.read_only)):
                await self._tell(number, mirror)

    @asynccontextmanager
    async def _started(
        self,
        argv: Sequence[str],
        cwd: str,
        environment: Mapping[str, str] | None,
        *,
        reads: bool,
    ) -> AsyncGenerator[Command]:
        variables = {**self._inside.environment, **(environment or {})}
        check_command(argv, variables)
        await self._settle()
        root = self._inside.workspace.root
        folder = await to_thread.run_sync(directory, self._spec, root, cwd)
        async with started(
            self._channel, argv, folder, variables, self._spec.limits, reads=reads
        ) as command:
            self._touched = True
            self._running.add(command)
            try:
                yield command
            finally:
                self._running.discard(command)

    async def _settle(self) -> None:
        """Both sides have the same files, as far as nobody is changing them."""
        if self._touched and not self._running:
            await self._bring_out()
        await self._bring_in()

    async def _last_words(self, command: Command, output: Kept) -> Said:
        """End it and all that it has started, and hear what it has still said."""
        with anyio.move_on_after(_LAST_WORDS):
            await command.kill()
            return await command.converse(b"", output)
        self._channel.give_up("a command in it could not be ended")
        raise Unavailable("the box has ended: a command could not be ended", code="box_gone")

    async def _bring_in(self) -> None:
        async with self._carrying:
            await self._tell(0, self._inside.workspace)

    async def _tell(self, number: int, mirror: Mirror) -> None:
        async with self._channel.line() as line:
            orders = await to_thread.run_sync(mirror.orders)
            while batch := await to_thread.run_sync(_some, orders):
                for order in batch:
                    head = {**order.head, "id": line.number, "tree": number}
                    with self._channel.patiently():
                        await self._channel.send(head, order.body)
                    mirror.was_told(order)
            await line.send("mark")
            try:
                await line.answer()
            except Unavailable:
                mirror.forget()
                raise

    async def _bring_out(self) -> list[bytes]:
        """What commands have changed is here when this returns; notes about what is not."""
        async with self._carrying, self._channel.line() as line:
            mirror = self._inside.workspace
            incoming = mirror.incoming(_room(self._spec, mirror.size()))
            still = bool(self._running)
            try:
                await line.send("changes")
                await self._deliver(line, incoming)
                self._touched = still or bool(self._running)
            finally:
                await _in_thread(incoming.close)
            return _notes(incoming)

    async def _deliver(self, line: Line, incoming: Incoming) -> None:
        while True:
            with self._channel.patiently():
                frames = await line.news()
            try:
                done = await _in_thread(incoming.take_all, frames)
            except Refusal as refusal:
                self._channel.give_up(str(refusal))
                raise Unavailable(f"the box has ended: {refusal}", code="box_gone") from refusal
            if done:
                await line.send("settled")
                return
            if frames:
                await line.send("room", room=sum(len(body) + 1 for _, body in frames))


async def _in_thread(work: Callable[[Unpack[_Arguments]], _Made], *arguments: *_Arguments) -> _Made:
    """To the end, even when cancelled: files are never left half done."""
    with CancelScope(shield=True):
        return await to_thread.run_sync(work, *arguments)
    raise AssertionError("nobody cancels this scope")


def _some(orders: Iterable[Order]) -> list[Order]:
    return list(islice(orders, _ORDERS))


def _stopped(said: Said, code: int, spec: BoxSpec) -> str:
    if said.memory and code != 0:
        return f"it needed more than {spec.limits.memory >> 20} MiB of memory"
    if said.processes and code != 0:
        return f"it wanted more than {spec.limits.processes} processes"
    return ""


def _room(spec: BoxSpec, there: tuple[int, int]) -> Room:
    """More than fits onto its disk: an honest machine never reaches it."""
    size, entries = there
    return Room(
        file=spec.limits.file_size,
        bytes=2 * (size + disk_room(spec.limits)),
        entries=2 * (entries + (spec.limits.inodes or _MOST_ENTRIES)),
    )


def _notes(incoming: Incoming) -> list[bytes]:
    """In words for the model, what stays in the box."""
    left = incoming.left_behind
    if not left:
        return []
    names = ", ".join(left[:_NAMED]) + (", ..." if len(left) > _NAMED else "")
    note = f"holdfast: {len(left)} that lead out or cannot be written stay in the box: {names}\n"
    return [note.encode("utf-8", "surrogateescape")]
