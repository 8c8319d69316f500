"""Streams a task's events as they happen; a slow or absent reader costs nobody anything."""

from __future__ import annotations

from contextlib import aclosing

import anyio
import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from starlette.types import Receive, Scope, Send

from holdfast.core.ids import TaskId
from holdfast.engine.live import Happened
from holdfast.ports.model import Delta
from holdfast.runtime import tasks
from holdfast.runtime.house import House

from .answers import event_row, task_row

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
_PACE = 0.05
_WAITING_ROOM = 64
_FAREWELL = 1.0

Item = Happened | Delta


class EventStream:
    """One reader of one task, as an ASGI answer. Ends with the task, the reader, or `closing`."""

    def __init__(
        self, house: House, task: TaskId, *, after: int, closing: anyio.Event, keep_alive: float
    ) -> None:
        self._house, self._task, self._after = house, task, after
        self._closing, self._keep_alive = closing, keep_alive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        into, out = anyio.create_memory_object_stream[Item](_WAITING_ROOM)
        async with anyio.create_task_group() as group:
            group.start_soon(_when_gone, receive, group.cancel_scope)
            group.start_soon(_when_closing, self._closing, group.cancel_scope)
            group.start_soon(self._watch, into)
            with out:
                await self._write(out, send)
            group.cancel_scope.cancel()
        with anyio.move_on_after(_FAREWELL):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _watch(self, into: MemoryObjectSendStream[Item]) -> None:
        """Waits for the writer when it is behind; the watcher's own queue then drops deltas."""
        async with into, aclosing(tasks.watch(self._house, self._task, after=self._after)) as items:
            async for item in items:
                await into.send(item)

    async def _write(self, out: MemoryObjectReceiveStream[Item], send: Send) -> None:
        tape = _Tape(self._keep_alive)
        await _body(send, b"retry: 1000\n\n")
        while True:
            item: Item | None = None
            try:
                with anyio.move_on_after(tape.patience()):
                    item = await out.receive()
            except anyio.EndOfStream:
                break
            if chunk := tape.told(item):
                await _body(send, chunk)
        summary = task_row(await tasks.show(self._house, self._task))
        await _body(send, tape.flushed() + _event("end", msgspec.json.encode(summary)))


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
                self._gather(item)
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

    def _gather(self, delta: Delta) -> None:
        """Text and thought run on; each call has its own event."""
        runs = self._runs
        for kind, text in (("thought", delta.thought), ("text", delta.text)):
            if text and runs and runs[-1][0] == kind:
                runs[-1] = (kind, runs[-1][1] + text)
            elif text:
                runs.append((kind, text))
        if delta.call:
            runs.append(("call", delta.call))


def _event(kind: str, data: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


async def _body(send: Send, chunk: bytes) -> None:
    await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _when_closing(closing: anyio.Event, scope: anyio.CancelScope) -> None:
    await closing.wait()
    scope.cancel()
