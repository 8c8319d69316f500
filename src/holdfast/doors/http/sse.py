"""Streams what happens, of a task or of one reply; a slow or absent reader costs nobody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

import anyio
import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from starlette.types import Receive, Scope, Send

from holdfast.core.error import HoldfastError, Unavailable
from holdfast.core.ids import TaskId
from holdfast.engine.live import Happened
from holdfast.ports.model import Delta
from holdfast.runtime import tasks

from .answers import event_row, task_row
from .errors import said
from .route import Door

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
_PACE = 0.05
_WAITING_ROOM = 64
_FAREWELL = 1.0

Item = Happened | Delta
Hear = Callable[[Delta], None]
T = TypeVar("T")


class EventStream:
    """One reader of one task, as an ASGI answer.

    Ends with the task, the reader, or `closing`; and, as every answer, with the reader's key.
    """

    def __init__(self, door: Door, task: TaskId, *, after: int, show_thinking: str = "") -> None:
        self._house, self._task, self._after = door.house, task, after
        self._closing, self._keep_alive = door.closing, door.keep_alive
        self._show_thinking = show_thinking

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await begin(send)
        into, out = anyio.create_memory_object_stream[Item](_WAITING_ROOM)
        async with anyio.create_task_group() as group:
            group.start_soon(when_gone, receive, group.cancel_scope)
            group.start_soon(when_closing, self._closing, group.cancel_scope)
            group.start_soon(self._watch, into)
            with out:
                await self._write(out, send)
            group.cancel_scope.cancel()
        with anyio.move_on_after(_FAREWELL):
            await body(send, b"", more=False)

    async def _watch(self, into: MemoryObjectSendStream[Item]) -> None:
        """Waits for the writer when it is behind; the watcher's own queue then drops deltas."""
        async with into, aclosing(tasks.watch(self._house, self._task, after=self._after)) as items:
            async for item in items:
                await into.send(item)

    async def _write(self, out: MemoryObjectReceiveStream[Item], send: Send) -> None:
        tape = _Tape(self._keep_alive)
        await body(send, b"retry: 1000\n\n")
        while True:
            item: Item | None = None
            try:
                with anyio.move_on_after(tape.patience()):
                    item = await out.receive()
            except anyio.EndOfStream:
                break
            if chunk := tape.told(item):
                await body(send, chunk)
        row = await tasks.show(self._house, self._task)
        summary = task_row(row, await tasks.thinking(self._house, row, self._show_thinking))
        await body(send, tape.flushed() + _event("end", msgspec.json.encode(summary)))


class ReplyStream:
    """One reply on its way, as an ASGI answer: deltas, then `reply`, or `error`.

    What fails before anything was written is an ordinary error. A reader that leaves, or
    `closing`, breaks the question off.
    """

    def __init__(
        self,
        answer: Callable[[Hear], Awaitable[msgspec.Struct]],
        *,
        closing: anyio.Event,
        keep_alive: float,
    ) -> None:
        self._answer, self._closing = answer, closing
        self._tape = _Tape(keep_alive)
        self._bell = anyio.Event()
        self._begun = self._over = False
        self._end: bytes | HoldfastError = Unavailable("the daemon is stopping", code="stopping")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(when_gone, receive, group.cancel_scope)
            group.start_soon(when_closing, self._closing, group.cancel_scope)
            group.start_soon(self._ask)
            await self._write(send)
            group.cancel_scope.cancel()
        end = self._end
        if isinstance(end, HoldfastError) and not self._begun:
            raise end
        if not self._begun:
            await begin(send)
        kind, told = ("error", said(end)) if isinstance(end, HoldfastError) else ("reply", end)
        last = self._tape.flushed() + _event(kind, told)
        with anyio.move_on_after(_FAREWELL):
            await body(send, last, more=False)

    async def _ask(self) -> None:
        try:
            self._end = msgspec.json.encode(await self._answer(self._hear))
        except HoldfastError as error:
            self._end = error
        self._over = True
        self._bell.set()

    def _hear(self, delta: Delta) -> None:
        """The first piece of a run wakes the writer; the rest is there when it looks."""
        if self._tape.gather(delta):
            self._bell.set()

    async def _write(self, send: Send) -> None:
        """Until the end is known."""
        tape = self._tape
        while True:
            with anyio.move_on_after(tape.patience()):
                await self._bell.wait()
            self._bell = anyio.Event()
            if self._over:
                return
            if tape.patience() > 0:
                continue
            if not self._begun:
                await begin(send)
                self._begun = True
            await body(send, tape.told(None))


async def attended(receive: Receive, work: Callable[[], Awaitable[T]]) -> T:
    """What `work` gives; broken off when the reader leaves. Raises `Unavailable` then."""
    done: list[T] = []
    failure: HoldfastError = Unavailable("the reader has left")
    async with anyio.create_task_group() as group:
        group.start_soon(when_gone, receive, group.cancel_scope)
        try:
            done.append(await work())
        except HoldfastError as error:
            failure = error
        group.cancel_scope.cancel()
    if done:
        return done[0]
    raise failure


class _Tape:
    """What is written when: events at once, deltas gathered, a comment when all is quiet."""

    def __init__(self, keep_alive: float) -> None:
        self._keep_alive = keep_alive
        self._runs: list[tuple[str, str]] = []
        self._written = anyio.current_time()

    def patience(self) -> float:
        wait = _PACE if self._runs else self._keep_alive
        return max(0.0, self._written + wait - anyio.current_time())

    def told(self, item: Item | None) -> bytes:
        """What to write now that `item` has come, or that the patience is over."""
        chunk = b""
        match item:
            case Delta():
                self.gather(item)
                if self.patience() > 0:
                    return b""
                chunk = self.flushed()
            case Happened():
                row = event_row(item)
                data = msgspec.json.encode(row)
                chunk = self.flushed() + b"id: %d\n" % row.seq + _event(row.kind, data)
            case None:
                chunk = self.flushed() or b": still here\n\n"
        self._written = anyio.current_time()
        return chunk

    def flushed(self) -> bytes:
        told = b"".join(_event("delta", msgspec.json.encode({k: v})) for k, v in self._runs)
        self._runs.clear()
        return told

    def gather(self, delta: Delta) -> bool:
        """Text and thought run on; each call has its own event. True for the first to write."""
        runs, first = self._runs, not self._runs
        if delta.reset:
            runs[:] = [("reset", delta.model)]  # what was not written yet is void already
        for kind, text in (("thought", delta.thought), ("text", delta.text)):
            if text and runs and runs[-1][0] == kind:
                runs[-1] = (kind, runs[-1][1] + text)
            elif text:
                runs.append((kind, text))
        if delta.call:
            runs.append(("call", delta.call))
        if delta.note:
            runs.append(("note", delta.note))
        return first and bool(runs)


def _event(kind: str, data: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


async def begin(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})


async def body(send: Send, chunk: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": chunk, "more_body": more})


async def when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def when_closing(closing: anyio.Event, scope: anyio.CancelScope) -> None:
    await closing.wait()
    scope.cancel()
