"""An answer on its way, as server-sent events; who writes them how is a script."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import anyio
import msgspec
from msgspec import Struct
from starlette.types import Receive, Scope, Send

from holdfast.core.error import HoldfastError, Unavailable
from holdfast.doors.http.route import Door
from holdfast.doors.http.sse import begin, body, when_closing, when_gone
from holdfast.ports.model import Delta

from .wanted import Answer, Used

_PACE = 0.05
_FAREWELL = 1.0


class Among(Struct, frozen=True, kw_only=True):
    """A piece of one of several answers."""

    place: int
    piece: Delta | Used | Among


Piece = Delta | Used | Among
Hear = Callable[[Piece], None]
Work = Callable[[Hear], Awaitable[Answer]]


class Script(Protocol):
    """How a protocol tells an answer. Every method gives whole events."""

    def opened(self) -> bytes: ...

    def heard(self, piece: Piece) -> bytes: ...

    async def ended(self, answer: Answer) -> bytes:
        """May raise: then it has failed."""
        ...

    def failed(self, error: HoldfastError) -> bytes: ...


class Flow:
    """An ASGI answer. What fails before anything was written is an ordinary error.

    A reader that leaves, or a door that closes, breaks the work off.
    `at_once`: it is opened before anything is heard, for a reader who must know what to come back
    to.
    """

    def __init__(self, work: Work, script: Script, door: Door, *, at_once: bool = False) -> None:
        self._work, self._script, self._at_once = work, script, at_once
        self._closing, self._keep_alive = door.closing, door.keep_alive
        self._pieces: list[Piece] = []
        self._bell = anyio.Event()
        self._begun = self._over = False
        self._written = anyio.current_time()
        self._end: Answer | HoldfastError = Unavailable("the daemon is stopping", code="stopping")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(when_gone, receive, group.cancel_scope)
            group.start_soon(when_closing, self._closing, group.cancel_scope)
            group.start_soon(self._run)
            if self._at_once:
                await body(send, await self._opened(send))
            await self._write(send)
            group.cancel_scope.cancel()
        end = self._end
        if isinstance(end, HoldfastError) and not self._begun:
            raise end
        last = await self._opened(send) + self._gathered() + await self._last(end)
        with anyio.move_on_after(_FAREWELL):
            await body(send, last, more=False)

    async def _last(self, end: Answer | HoldfastError) -> bytes:
        if isinstance(end, HoldfastError):
            return self._script.failed(end)
        try:
            return await self._script.ended(end)
        except HoldfastError as error:
            return self._script.failed(error)

    async def _run(self) -> None:
        try:
            self._end = await self._work(self._hear)
        except HoldfastError as error:
            self._end = error
        self._over = True
        self._bell.set()

    def _hear(self, piece: Piece) -> None:
        """The first of several wakes the writer; the others are there when it looks."""
        last = self._pieces[-1] if self._pieces else None
        if isinstance(piece, Delta) and isinstance(last, Delta):
            if piece.text and last.text and not piece.thought and not last.thought:
                self._pieces[-1] = Delta(text=last.text + piece.text)
                return
            if piece.thought and last.thought and not piece.text and not last.text:
                self._pieces[-1] = Delta(thought=last.thought + piece.thought)
                return
        self._pieces.append(piece)
        if last is None:
            self._bell.set()

    async def _write(self, send: Send) -> None:
        """Until the end is known. Pieces are gathered; when all is quiet a comment is written."""
        while True:
            with anyio.move_on_after(self._patience()):
                await self._bell.wait()
            self._bell = anyio.Event()
            if self._over:
                return
            if self._patience() > 0:
                continue
            chunk = await self._opened(send) + (self._gathered() or b": still here\n\n")
            await body(send, chunk)
            self._written = anyio.current_time()

    def _patience(self) -> float:
        wait = _PACE if self._pieces else self._keep_alive
        return max(0.0, self._written + wait - anyio.current_time())

    async def _opened(self, send: Send) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        await begin(send)
        return self._script.opened()

    def _gathered(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(map(self._script.heard, pieces))


def data(said: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(said)
