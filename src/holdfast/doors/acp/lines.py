"""JSON-RPC as lines on two pipes: one message a line, questions and answers in both directions."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

import anyio
import msgspec
from anyio import to_thread
from anyio.abc import TaskGroup
from msgspec import Raw, Struct

from holdfast.core.foreign import NotJson, decoded

LARGEST = 64 << 20
"""Bytes of one message: a prompt may have several pictures in it."""

PARSE, REQUEST, METHOD, PARAMS, INTERNAL = -32700, -32600, -32601, -32602, -32603
NOT_FOUND = -32002
_PIECE = 1 << 16
_FAREWELL = 1.0

T = TypeVar("T")


class Then(Struct, frozen=True):
    """An answer, and what is told once the other side has it."""

    result: Any
    then: Callable[[], Awaitable[None]]


class Fault(Exception):
    """Why a request failed, as the other side is told it."""

    def __init__(self, code: int, message: str, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code, self.data = code, data


class Message(Struct, frozen=True):
    """Anything that is said: a request has method and id, a notification no id, an answer no
    method."""

    id: int | str | None = None
    method: str | None = None
    params: Raw = Raw(b"{}")
    result: Raw = Raw(b"")
    error: Any = None


Answer = Callable[[str, Raw], Awaitable[Any]]


class Lines:
    """The conversation with whoever started us. `converse` must be running for `ask` to work."""

    def __init__(self, reading: int = 0, writing: int = 1) -> None:
        self._reading, self._writing = reading, writing
        self._numbers = itertools.count(1)
        self.forms = False
        """The other side can put a form to its person."""
        self._asked: dict[int, tuple[anyio.Event, list[Message]]] = {}
        self._lock = anyio.Lock()
        self._answering, self._idle = 0, anyio.Event()

    async def converse(self, answer: Answer, group: TaskGroup) -> None:
        """Until nobody is at the other end. What is asked is begun in the order of its coming."""
        async for line in self._heard():
            try:
                message = decoded(line, Message)
            except NotJson as error:
                await self._fail(None, Fault(REQUEST if error.misshapen else PARSE, str(error)))
                continue
            if message.method is not None:
                self._answering += 1
                group.start_soon(self._answer, answer, message)
            elif isinstance(message.id, int) and message.id in self._asked:
                event, found = self._asked[message.id]
                found.append(message)
                event.set()
        with anyio.move_on_after(_FAREWELL):  # what was asked last may be answered still
            while self._answering:
                self._idle = anyio.Event()
                await self._idle.wait()

    async def tell(self, method: str, params: Mapping[str, Any]) -> None:
        await self._send({"method": method, "params": params})

    async def ask(self, method: str, params: Mapping[str, Any], shape: type[T]) -> T:
        """Raises `Fault` with what the other side says instead of an answer."""
        number, event, found = next(self._numbers), anyio.Event(), list[Message]()
        self._asked[number] = (event, found)
        try:
            await self._send({"id": number, "method": method, "params": params})
            await event.wait()
        finally:
            del self._asked[number]
            if not found:  # nobody waits for it any more
                with anyio.move_on_after(1, shield=True):
                    await self.tell("$/cancel_request", {"requestId": number})
        if found[0].error is not None:
            raise Fault(INTERNAL, f"{method} failed: {found[0].error}")
        return shaped(found[0].result, shape)

    async def _answer(self, answer: Answer, message: Message) -> None:
        try:
            said = await answer(message.method or "", message.params)
            result, then = (said.result, said.then) if isinstance(said, Then) else (said, None)
            if message.id is not None:
                await self._send({"id": message.id, "result": result})
            if then is not None:
                await then()
        except Fault as fault:
            if message.id is not None:
                await self._fail(message.id, fault)
        finally:
            self._answering -= 1
            self._idle.set()

    async def _fail(self, number: int | str | None, fault: Fault) -> None:
        error: dict[str, Any] = {"code": fault.code, "message": str(fault)}
        if fault.data:
            error["data"] = fault.data
        await self._send({"id": number, "error": error})

    async def _send(self, message: Mapping[str, Any]) -> None:
        line = msgspec.json.encode({"jsonrpc": "2.0", **message}) + b"\n"
        async with self._lock:
            with anyio.CancelScope(shield=True):  # half a message would spoil the next one
                await to_thread.run_sync(_write, self._writing, line)

    async def _heard(self) -> AsyncGenerator[bytes]:
        held = bytearray()
        while piece := await to_thread.run_sync(
            os.read, self._reading, _PIECE, abandon_on_cancel=True
        ):
            start = len(held)
            held += piece
            while (end := held.find(b"\n", start)) >= 0:
                line = bytes(held[:end]).strip()
                del held[: end + 1]
                start = 0
                if line:
                    yield line
            if len(held) > LARGEST:
                await self._fail(None, Fault(REQUEST, f"a message has more than {LARGEST} bytes"))
                return


def shaped(params: Raw, shape: type[T]) -> T:
    """Parameters as they must be. Raises `Fault`."""
    try:
        return decoded(bytes(params) or b"{}", shape)
    except NotJson as error:
        raise Fault(PARAMS, str(error)) from None


def _write(descriptor: int, data: bytes) -> None:
    """All of it; the descriptor's end may be slow. Raises `BrokenPipeError` when it is gone."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
