"""One socket: greeted first, then asked; requests in the order of their coming, bounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import anyio
import msgspec
from anyio.abc import TaskGroup
from msgspec import Struct
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from holdfast.core.error import HoldfastError, Saturated
from holdfast.core.foreign import NotJson, decoded
from holdfast.doors.http.access import grant
from holdfast.doors.http.ending import ended
from holdfast.doors.http.route import Door

from .asking import DENIED, INTERNAL, METHOD, PARAMS, PARSE, REQUEST, Asking, Fault
from .feeds import Feeds
from .names import Method
from .post import Post, TooSlow
from .subscribing import Subscribing

_VERSION = "1"
_CAPABILITIES = ("read", "mutate")
_MOST_SOCKETS, _BATCH, _AT_ONCE = 256, 50, 8
_POLICY, _RESTART = 1008, 1012
_FAREWELL = 1.0


class _Hello(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is there, and what it wants to be able to do; what it does not want it cannot."""

    version: str = _VERSION
    client: str = ""
    capabilities: tuple[str, ...] = ("read",)


class _Request(Struct, frozen=True):
    jsonrpc: str
    method: str
    params: dict[str, Any] = {}
    id: Any = msgspec.UNSET


class Sockets:
    """All sockets, as one ASGI app. Who opens one has been let in by the gate already."""

    def __init__(self, door: Door, methods: Mapping[str, Method]) -> None:
        self._door, self._methods = door, methods
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._open >= _MOST_SOCKETS:
            raise Saturated(f"{_MOST_SOCKETS} sockets are open already", retry_after=10)
        socket = WebSocket(scope, receive, send)
        self._open += 1
        try:
            await socket.accept()
            await Conversation(socket, self._door, self._methods).run()
        finally:
            self._open -= 1


class Conversation:
    """What is said over one socket."""

    def __init__(self, socket: WebSocket, door: Door, methods: Mapping[str, Method]) -> None:
        self._socket, self._door, self._methods = socket, door, methods
        self._post = Post(socket)
        self._asking = Asking(socket.scope["app"], socket.scope)
        may_use = grant(socket.scope).may_use
        feeds = Feeds(door, self._post)
        self._feeds = Subscribing(feeds, self._asking, methods, self._post, may_use)
        self._granted: frozenset[str] = frozenset()
        self._greeted = anyio.Event()
        self._why = _POLICY, "say hello first"
        self._slow = anyio.Semaphore(_AT_ONCE)

    async def run(self) -> None:
        """Until one of both goes, or the house closes."""
        code, reason, gone = 0, "", False
        try:
            with self._post:
                code, reason = await self._converse()
        except* TooSlow:
            code, reason = _POLICY, "backpressure: nobody reads"
        except* WebSocketDisconnect:
            gone = True
        if gone:
            return
        if not code:
            code, reason = self._why
        with anyio.move_on_after(_FAREWELL, shield=True):
            await self._close(code, reason)

    async def _converse(self) -> tuple[int, str]:
        code, reason = 0, ""
        async with anyio.create_task_group() as group:
            group.start_soon(self._post.deliver)
            group.start_soon(self._until_closing, group)
            group.start_soon(self._until_ended, group)
            group.start_soon(self._until_greeted, group)
            code, reason = await self._hear(group)
            group.cancel_scope.cancel()
        return code, reason

    async def _close(self, code: int, reason: str) -> None:
        try:
            await self._socket.close(code, reason)
        except (RuntimeError, WebSocketDisconnect):  # it is closed already
            return

    async def _until_closing(self, group: TaskGroup) -> None:
        await self._door.closing.wait()
        self._why = _RESTART, "the daemon is stopping"
        group.cancel_scope.cancel()

    async def _until_ended(self, group: TaskGroup) -> None:
        await ended(self._socket.scope)
        self._why = _POLICY, "the key or session has ended"
        group.cancel_scope.cancel()

    async def _until_greeted(self, group: TaskGroup) -> None:
        with anyio.move_on_after(self._door.keep_alive):
            await self._greeted.wait()
        if not self._greeted.is_set():
            group.cancel_scope.cancel()

    async def _hear(self, group: TaskGroup) -> tuple[int, str]:
        """Each message is dealt with before the next is read: who floods waits for themselves."""
        while True:
            try:
                text = await self._socket.receive_text()
            except KeyError:
                return 1003, "only text is spoken here"
            try:
                said: Any = decoded(text)
            except NotJson as error:
                await self._post.say(_failed(None, Fault(PARSE, str(error))))
                continue
            if not isinstance(said, list):
                await self._one(said, group)
            elif 0 < len(batch := cast("list[Any]", said)) <= _BATCH:
                await self._several(batch, group)
            else:
                fault = Fault(REQUEST, f"a batch has 1 to {_BATCH} requests", code="invalid")
                await self._post.say(_failed(None, fault))

    async def _one(self, said: Any, group: TaskGroup) -> None:
        request = _request(said)
        method = self._methods.get(request.method) if isinstance(request, _Request) else None
        if isinstance(request, _Request) and method is not None and method.slow:
            await self._slow.acquire()
            group.start_soon(self._later, request, group)
        elif (answer := await self._answered(request, group)) is not None:
            await self._post.say(answer)

    async def _several(self, said: list[Any], group: TaskGroup) -> None:
        told = [await self._answered(_request(one), group) for one in said]
        if answers := [one for one in told if one is not None]:
            await self._post.say(answers)

    async def _later(self, request: _Request, group: TaskGroup) -> None:
        try:
            answer = await self._answered(request, group)
        finally:
            self._slow.release()
        if answer is not None:
            await self._post.say(answer)

    async def _answered(self, request: _Request | Fault, group: TaskGroup) -> Any:
        """The answer; None to a notification."""
        if isinstance(request, Fault):
            return _failed(None, request)
        number = request.id
        try:
            result = await self._do(request, group)
        except Fault as fault:
            return None if number is msgspec.UNSET else _failed(number, fault)
        except HoldfastError as error:
            broken = error.http_status >= 500 and error.http_status != 503
            told = {"code": error.code, "hint": error.hint, "status": error.http_status}
            fault = Fault(INTERNAL if broken else DENIED, str(error), **told)
            return None if number is msgspec.UNSET else _failed(number, fault)
        if number is msgspec.UNSET:
            return None
        return {"jsonrpc": "2.0", "id": number, "result": result}

    async def _do(self, request: _Request, group: TaskGroup) -> Any:
        """Raises `Fault`, `HoldfastError`."""
        name, params = request.method, request.params
        if name == "ping":
            return {}
        if name == "hello":
            return self._hello(params)
        if not self._greeted.is_set():
            raise Fault(DENIED, "say hello first", code="no_hello")
        if self._feeds.has(name):
            self._allowed("mutate" if name == "tasks.stream" else "read")
            return await self._feeds.do(name, params, group)
        method = self._methods.get(name)
        if method is None:
            hint = "hello lists all methods"
            raise Fault(METHOD, f"there is no method {name}", code="no_such_method", hint=hint)
        self._allowed(method.capability)
        return await self._asking.answer(method, params)

    def _allowed(self, capability: str) -> None:
        if capability not in self._granted:
            hint = "name it in the capabilities of hello"
            what = f"this socket was opened without the capability {capability}"
            raise Fault(DENIED, what, code="no_capability", hint=hint)

    def _hello(self, params: Mapping[str, Any]) -> dict[str, Any]:
        told = shaped(params, _Hello)
        if told.version.partition(".")[0] != _VERSION:
            raise Fault(DENIED, f"version {_VERSION} is spoken here", code="bad_version")
        if unknown := set(told.capabilities) - set(_CAPABILITIES):
            known = ", ".join(_CAPABILITIES)
            what = f"there is no capability {min(unknown)!r}; there are: {known}"
            raise Fault(PARAMS, what, code="invalid")
        self._granted = frozenset(told.capabilities)
        self._greeted.set()
        methods = {name: one.capability for name, one in self._methods.items()}
        return {
            "version": _VERSION,
            "server": f"holdfast {self._door.house.version}",
            "capabilities": sorted(self._granted),
            "methods": {**methods, **self._feeds.NAMES},
            "limits": {"batch": _BATCH, "at_once": _AT_ONCE},
        }


def shaped(params: Mapping[str, Any], shape: Any) -> Any:
    """Raises `Fault`."""
    try:
        return msgspec.convert(params, shape)
    except msgspec.ValidationError as error:
        raise Fault(PARAMS, str(error), code="invalid") from None


def _request(said: Any) -> _Request | Fault:
    try:
        request = msgspec.convert(said, _Request)
    except msgspec.ValidationError as error:
        return Fault(REQUEST, str(error), code="invalid")
    number = request.id
    if request.jsonrpc != "2.0":
        return Fault(REQUEST, '`jsonrpc` must be "2.0"', code="invalid")
    plain = number is msgspec.UNSET or isinstance(number, str | int | float | None)
    if not plain or isinstance(number, bool):
        return Fault(REQUEST, "`id` must be a text, a number or null", code="invalid")
    return request


def _failed(number: Any, fault: Fault) -> dict[str, Any]:
    error = {"code": fault.number, "message": str(fault), "data": fault.data}
    return {"jsonrpc": "2.0", "id": number, "error": error}
