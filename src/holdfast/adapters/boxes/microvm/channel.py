"""Our end of a machine's wire: many conversations over one socket, none of which can harm another.

Nothing reads in the background: whoever waits for a frame reads for all until its own is there. So
what nobody waits for stays in the socket, and a flood stops there.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from types import TracebackType

import anyio
import msgspec

from holdfast.core.error import Unavailable

from .guest.frames import WINDOW, Unpacker, pack
from .said import Frame, parse

_READ = 256 << 10
_WRITE = 64 << 10
_MOST_FRAMES = WINDOW + 4096
_PATIENCE = 120.0


class Channel:
    """The wire. Once the machine has broken a rule of it, nothing more is believed."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire
        self._unpacker, self._out = Unpacker(), bytearray()
        self._lines: dict[int, Line] = {}
        self._last = 0
        self._reading = False
        self._news = anyio.Event()
        self._writing = anyio.Lock()
        self.broken = ""

    def line(self) -> Line:
        """A conversation of its own."""
        self._last += 1
        return self.open(self._last)

    def open(self, number: int) -> Line:
        self._lines[number] = Line(self, number)
        return self._lines[number]

    def forget(self, number: int) -> None:
        self._lines.pop(number, None)

    async def send(self, head: Mapping[str, object], body: bytes = b"") -> None:
        """May be cancelled; the frame is then sent with the next one. Raises `Unavailable`."""
        self.post(head, body)
        async with self._writing:
            while self._out:
                await anyio.wait_writable(self._wire)
                self._flush()
        self._check()

    def post(self, head: Mapping[str, object], body: bytes = b"") -> None:
        """Send without waiting; what does not go now goes with what is sent or read next."""
        self._check()
        self._out += pack(msgspec.json.encode(head), body)
        self._flush()

    async def read(self) -> None:
        """Let there be news: read it, or wait for who is reading. Raises `Unavailable`."""
        self._check()
        self._flush()
        if self._reading:
            await self._news.wait()
            return
        self._reading = True
        try:
            await anyio.wait_readable(self._wire)
            self._take()
        finally:
            self._reading = False
            self._tell()
        self._check()

    def give_up(self, why: str) -> None:
        """Nothing is sent or read any more; all who wait are told why."""
        self.broken = self.broken or why
        self._out.clear()
        self._tell()

    @contextmanager
    def patiently(self) -> Generator[None]:
        """For what an honest machine does soon. Raises `Unavailable`."""
        try:
            with anyio.fail_after(_PATIENCE):
                yield
        except TimeoutError:
            self.give_up("it does not answer")
            self._check()

    def _flush(self) -> None:
        try:
            while self._out:
                del self._out[: self._wire.send(self._out[:_WRITE])]
        except BlockingIOError:
            return
        except OSError:
            self._out.clear()
            self.give_up("the machine is gone")

    def _take(self) -> None:
        try:
            data = self._wire.recv(_READ)
            if not data:
                self.give_up("the machine is gone")
            for head, body in self._unpacker.feed(data):
                said = parse(head)
                if line := self._lines.get(said.id):
                    line.take((said, body))
        except BlockingIOError:
            return
        except OSError:
            self.give_up("the machine is gone")
        except (ValueError, msgspec.MsgspecError):
            self.give_up("the machine says what makes no sense")

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    def _check(self) -> None:
        if self.broken:
            raise Unavailable(f"the box has ended: {self.broken}", code="box_gone")


class Line:
    """One conversation: what the machine says with its number, in order."""

    def __init__(self, channel: Channel, number: int) -> None:
        self.number = number
        self._channel = channel
        self._frames: deque[Frame] = deque()
        self._held = 0

    async def __aenter__(self) -> Line:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._channel.forget(self.number)

    def give_up(self, why: str) -> None:
        self._channel.give_up(why)

    def take(self, frame: Frame) -> None:
        """Raises `ValueError` when more comes than there is room for: nobody honest does that."""
        self._held += len(frame[1]) + 1
        if self._held > 2 * _MOST_FRAMES:
            raise ValueError("more is said than was asked for")
        self._frames.append(frame)

    async def news(self) -> list[Frame]:
        """What is there now; if nothing, wait once. Another waiter may have taken what came."""
        if not self._frames:
            await self._channel.read()
        frames = list(self._frames)
        self._frames.clear()
        self._held = 0
        return frames

    async def receive(self) -> Frame:
        while not self._frames:
            await self._channel.read()
        said, body = self._frames.popleft()
        self._held -= len(body) + 1
        return said, body

    def post(self, do: str, body: bytes = b"", **head: object) -> None:
        self._channel.post({"do": do, "id": self.number, **head}, body)

    async def send(self, do: str, body: bytes = b"", **head: object) -> None:
        await self._channel.send({"do": do, "id": self.number, **head}, body)

    async def answer(self) -> Frame:
        """What came of a request. Raises `Unavailable` when it could not be done."""
        with self._channel.patiently():
            said, body = await self.receive()
        if said.do == "failed":
            raise Unavailable(f"the box cannot do that: {said.why[:500]}")
        if said.do != "done":
            self._channel.give_up("the machine says what makes no sense")
            raise Unavailable("the box answered something else than what was asked")
        return said, body
