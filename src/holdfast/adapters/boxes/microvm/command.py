"""A command in a machine, seen from here."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio
from anyio import CancelScope

from holdfast.adapters.boxes.streams import Kept
from holdfast.core.error import Unavailable
from holdfast.ports.box import BoxLimits

from .channel import Channel, Line
from .guest.frames import PIECE, WINDOW
from .said import Said, told

_DEATH = 15.0
_COMPLAINT = 8 << 10
_SIGNALS = 64
_CODES = 256


class Command:
    """A `Running`. What it says is kept as far as the window goes, until somebody asks for it."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._room = WINDOW
        self._deaf = False
        self._out: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self._silent: set[str] = set()
        self._complaint = bytearray()
        self._exit: Said | None = None

    async def send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            while self._room <= 0 and not self._over:
                await self._hear()
            if self._over:
                raise Unavailable("the command no longer reads", code="command_deaf")
            piece = view[: min(PIECE, self._room)]
            self._room -= len(piece)
            view = view[len(piece) :]
            await self._line.send("data", bytes(piece))

    async def receive(self) -> bytes:
        while not self._out["stdout"] and "stdout" not in self._silent:
            await self._hear()
        return self._poured("stdout")

    async def converse(self, stdin: bytes, kept: Kept) -> Said:
        """Give it its input, keep what it says, until it has ended; how it did."""
        rest = memoryview(stdin)
        while True:
            rest = self._fed(rest)
            for stream, into in (("stdout", kept.stdout), ("stderr", kept.stderr)):
                kept.add(into, self._poured(stream))
            if self._exit and self._silent >= self._out.keys():
                return self._exit
            await self._hear()

    def complaint(self) -> str:
        return self._complaint.decode(errors="replace")

    async def wait(self) -> int:
        said = await self.ended()
        return max(-_SIGNALS, min(said.code, _CODES - 1))

    async def ended(self) -> Said:
        """How it ended, in the machine's words."""
        while self._exit is None:
            await self._hear()
        return self._exit

    async def kill(self) -> None:
        await self._line.send("kill")

    def _fed(self, rest: memoryview) -> memoryview:
        """Send what there is room for, and after the last that it was the last."""
        if self._over:
            return rest[:0]
        while rest and self._room > 0:
            piece = rest[: min(PIECE, self._room)]
            self._room -= len(piece)
            self._line.post("data", bytes(piece))
            rest = rest[len(piece) :]
            if not rest:
                self._line.post("end")
        return rest

    def _poured(self, stream: str) -> bytes:
        piece = bytes(self._out[stream])
        self._out[stream].clear()
        if piece:
            self._line.post("room", stream=stream, room=len(piece))
        return piece

    @property
    def _over(self) -> bool:
        return self._deaf or self._exit is not None

    async def _hear(self) -> None:
        """Wait for news about it, if there are none yet; all who wait see what they change."""
        for said, body in await self._line.news():
            self._take(said, body)

    def _take(self, said: Said, body: bytes) -> None:
        match said.do:
            case "data" if said.stream in self._out:
                self._out[said.stream] += body
                if len(self._out[said.stream]) > WINDOW:
                    self._line.give_up("more is said than was asked for")
                if said.stream == "stderr":
                    self._complaint += body
                    del self._complaint[:-_COMPLAINT]
            case "end" if said.stream == "stdin":
                self._deaf = True
            case "end":
                self._silent.add(said.stream)
            case "room":
                self._room = min(self._room + max(said.room, 0), WINDOW)
            case "exit":
                self._exit = said
            case _:
                raise Unavailable(f"the box cannot run the command: {said.why[:500]}")


@asynccontextmanager
async def started(
    channel: Channel,
    argv: Sequence[str],
    cwd: str,
    environment: Mapping[str, str],
    limits: BoxLimits,
    *,
    reads: bool,
) -> AsyncGenerator[Command]:
    """A command for as long as the context lasts. When it cannot be ended, the machine is."""
    async with channel.line() as line:
        command = Command(line)
        try:
            await line.send(
                "run",
                argv=[told(word) for word in argv],
                cwd=told(cwd),
                environment={told(name): told(value) for name, value in environment.items()},
                files=limits.files,
                file_size=limits.file_size,
                input=reads,
            )
            yield command
        finally:
            with CancelScope(shield=True):
                await _buried(channel, line, command)


async def _buried(channel: Channel, line: Line, command: Command) -> None:
    if channel.broken:
        return
    try:
        with anyio.fail_after(_DEATH):
            await line.send("forget")
            await command.ended()
    except TimeoutError:
        channel.give_up("a command in it could not be ended")
    except Unavailable:
        return
