"""The DevTools protocol, spoken with a stranger.

What drives the browser is trusted with nothing: every answer is checked against the shape that
was wanted, is bounded in size and time, and what nobody asked for is dropped.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import anyio
import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream
from msgspec import Raw, Struct

from holdfast.core.error import HoldfastError
from holdfast.core.foreign import NotJson, decoded
from holdfast.ports.box import Running

LARGEST = 24 << 20
"""Bytes of one message; a screenshot of a long page has some MiB."""

PATIENCE = 10.0
_HEAD = 64
_LAST = 200
_POSTS = 1_024
_ID = re.compile(rb'\{"id":(\d{1,9})[,}]')

T = TypeVar("T")


class Trouble(Exception):
    """The browser did not do what it was asked."""


class Gone(Trouble):
    """The connection is over; a new browser is needed."""


class Silent(Trouble):
    """No answer in time."""


class Said(Trouble):
    """The browser's own words about why not."""


class Oversize(Trouble):
    """A message beyond the limit was thrown away; `head` is how it began."""

    def __init__(self, head: bytes) -> None:
        super().__init__(f"the browser's answer has more than {LARGEST >> 20} MiB")
        self.head = head


class Wire(Protocol):
    """Carries whole messages."""

    async def send(self, message: bytes) -> None:
        """Raises `Gone`."""
        ...

    async def receive(self) -> bytes:
        """The next message. Raises `Gone` at the end, `Oversize` for one that was dropped."""
        ...


class Pipe:
    """Messages that end with a NUL, over the pipes of a command in a box."""

    def __init__(self, running: Running, largest: int = LARGEST) -> None:
        self._running, self._largest = running, largest
        self._held = bytearray()
        self._searched = 0
        self._dropping = False

    async def send(self, message: bytes) -> None:
        try:
            await self._running.send(message + b"\0")
        except HoldfastError as error:
            raise Gone(f"the browser has ended: {error}") from None

    async def receive(self) -> bytes:
        while (end := self._held.find(b"\0", self._searched)) < 0:
            if self._dropping or len(self._held) > self._largest:
                self._dropping = True
                del self._held[_HEAD:]
            self._searched = len(self._held)
            if not (piece := await self._running.receive()):
                last = self._running.complaint().strip().rpartition("\n")[2]
                raise Gone(
                    f"the browser has ended: {last[-_LAST:]}" if last else "the browser has ended"
                )
            self._held += piece
        message = bytes(self._held[:end])
        del self._held[: end + 1]
        self._searched = 0
        if self._dropping or len(message) > self._largest:
            self._dropping = False
            raise Oversize(message[:_HEAD])
        return message


class _Problem(Struct, frozen=True):
    message: str = ""


class _Message(Struct, frozen=True):
    id: int = 0
    method: str = ""
    session: str = msgspec.field(name="sessionId", default="")
    params: Raw = Raw(b"{}")
    result: Raw = Raw(b"{}")
    error: _Problem | None = None


class Nothing(Struct, frozen=True):
    """The answer of a command of which only the success matters."""


class Event(Struct, frozen=True, kw_only=True):
    """Something that happened in the session (a tab; "": the whole browser)."""

    method: str
    session: str
    params: Raw

    def read(self, shape: type[T]) -> T:
        """Raises `Gone`: one that sends such things is not to be talked with."""
        return _shaped(self.params, shape, self.method)


class _Waiting:
    """A command that waits for its answer."""

    def __init__(self) -> None:
        self.answered = anyio.Event()
        self.message: _Message | None = None
        self.trouble: Trouble | None = None


class Cdp:
    """One connection to a browser. `listen` must be running for the others to work."""

    def __init__(self, wire: Wire, heard: Callable[[Event], None]) -> None:
        self._wire, self._heard = wire, heard
        self._ids = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._sending = anyio.Lock()
        self._posts, self._posted = anyio.create_memory_object_stream[bytes](_POSTS)
        self.over, self.ended = "", anyio.Event()
        """Why nothing more will come; empty while it may."""

    async def listen(self) -> None:
        """Hear what the browser says, until it ends or says what makes no sense."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._deliver, self._posted)
                self.over = await self._hear()
                group.cancel_scope.cancel()
        finally:
            self.over = self.over or "the browser was closed"
            self.ended.set()
            self._posts.close()
            self._posted.close()
            for waiting in self._waiting.values():
                waiting.answered.set()

    async def call(
        self,
        method: str,
        shape: type[T],
        params: Mapping[str, Any] | None = None,
        *,
        session: str = "",
        seconds: float = PATIENCE,
    ) -> T:
        """Ask and wait. Raises `Said`, `Silent`, `Oversize` or `Gone`."""
        number, waiting = next(self._ids), _Waiting()
        self._waiting[number] = waiting
        try:
            with anyio.fail_after(seconds):
                if self.over:
                    raise Gone(self.over)
                async with self._sending:
                    await self._wire.send(_asked(number, method, params, session))
                await waiting.answered.wait()
        except TimeoutError:
            raise Silent(f"no answer to {method} within {seconds:g} s") from None
        finally:
            del self._waiting[number]
        if waiting.trouble:
            raise waiting.trouble
        if (message := waiting.message) is None:
            raise Gone(self.over)
        if message.error is not None:
            raise Said(message.error.message[:500])
        return _shaped(message.result, shape, method)

    def post(
        self, method: str, params: Mapping[str, Any] | None = None, *, session: str = ""
    ) -> None:
        """Ask for something whose answer does not matter, without waiting."""
        try:
            self._posts.send_nowait(_asked(next(self._ids), method, params, session))
        except anyio.WouldBlock:
            raise Gone("the browser wants more than can be answered") from None

    async def _deliver(self, posted: MemoryObjectReceiveStream[bytes]) -> None:
        with suppress(Gone):
            async for message in posted:
                async with self._sending:
                    await self._wire.send(message)

    async def _hear(self) -> str:
        """Returns why it ended."""
        while True:
            try:
                self._take(await self._wire.receive())
            except Oversize as oversize:
                self._lost(oversize)
            except Gone as gone:
                return str(gone)

    def _take(self, data: bytes) -> None:
        message = _shaped(data, _Message, "its message")
        if message.method:
            self._heard(
                Event(method=message.method, session=message.session, params=message.params)
            )
        elif waiting := self._waiting.get(message.id):
            waiting.message = message
            waiting.answered.set()

    def _lost(self, oversize: Oversize) -> None:
        found = _ID.match(oversize.head)
        if found and (waiting := self._waiting.get(int(found[1]))):
            waiting.trouble = oversize
            waiting.answered.set()


def _asked(number: int, method: str, params: Mapping[str, Any] | None, session: str) -> bytes:
    words = {"id": number, "method": method, "params": params or {}}
    return msgspec.json.encode({**words, "sessionId": session} if session else words)


def _shaped(data: bytes | Raw, shape: type[T], what: str) -> T:
    try:
        return decoded(data, shape)
    except NotJson as error:
        raise Gone(f"the browser answers {what} with what makes no sense: {error}") from None
