"""JSON-RPC: every operation is a method, and every answer carries the request's own id."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from holdfast.core.error import HoldfastError
from holdfast.doors.http.flow import Flow, data_frame
from holdfast.doors.http.route import Door

from . import legacy, operations, pushing
from . import words as w
from .asking import Asking
from .faults import InvalidParams, InvalidRequest, MethodNotFound, as_rpc
from .operations import Tellings
from .requests import asking, body_of, decoded, version_of
from .waiting import Waiting

Answers = Callable[[Asking, Any], Awaitable[Any]]

SEND, STREAM, SUBSCRIBE = "SendMessage", "SendStreamingMessage", "SubscribeToTask"
PLAIN: Mapping[str, tuple[type[Any], Answers]] = {
    "GetTask": (w.OneTask, operations.get),
    "ListTasks": (w.Listing, operations.listing),
    "CancelTask": (w.OneTask, operations.cancel),
    "CreateTaskPushNotificationConfig": (w.PushConfig, pushing.create),
    "GetTaskPushNotificationConfig": (w.OnePush, pushing.get),
    "ListTaskPushNotificationConfigs": (w.Pushes, pushing.listing),
    "DeleteTaskPushNotificationConfig": (w.OnePush, pushing.delete),
    "GetExtendedAgentCard": (w.Nothing, operations.extended_card),
}
"""Operations that are answered at once."""


class _Call(Struct, frozen=True, kw_only=True):
    """One request of JSON-RPC. One without an id wants no answer, and gets none done."""

    jsonrpc: str = ""
    id: str | int | float | UnsetType | None = UNSET
    method: str = ""
    params: Raw = Raw(b"{}")


class Rpc:
    """The endpoint. What fails is an answer like any other."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def answer(self, request: Request) -> ASGIApp:
        call_id: Any = None
        try:
            data = await body_of(request)
            call = _call(data)
            call_id = None if call.id is UNSET else call.id
            if version_of(request) == "0.3" and call.method not in _known():
                return await self._before(request, call, call_id)
            return await self._answered(request, call, call_id)
        except HoldfastError as error:
            return _json({"jsonrpc": "2.0", "id": call_id, "error": as_rpc(error)})

    async def _answered(self, request: Request, call: _Call, call_id: Any) -> ASGIApp:
        ask = asking(request, self._door)
        if call.method == SEND:
            answer = await operations.send(ask, decoded(call.params, w.Sending))
            return Waiting(self._door, answer, partial(_framed, call_id), partial(_failed, call_id))
        if call.method in (STREAM, SUBSCRIBE):
            tellings = await _opened(ask, call.method, call.params)
            return Flow(self._door, _frames(tellings, partial(_framed, call_id)))
        if (found := PLAIN.get(call.method)) is None:
            raise MethodNotFound(f"there is no method {call.method[:80]!r}")
        kind, run = found
        result = await run(ask, decoded(call.params, kind))
        return _json({"jsonrpc": "2.0", "id": call_id, "result": result})

    async def _before(self, request: Request, call: _Call, call_id: Any) -> ASGIApp:
        """The same in the words of version 0.3."""
        ask = asking(request, self._door)
        if call.method == legacy.SEND:
            answer = await operations.send(ask, legacy.sending(call.params))
            framed = partial(legacy.framed, call_id)
            return Waiting(self._door, answer, framed, partial(legacy.failed, call_id))
        if call.method == legacy.STREAM:
            tellings = await operations.stream(ask, legacy.sending(call.params))
        elif call.method == legacy.RESUBSCRIBE:
            tellings = await operations.subscribe(ask, legacy.subscribed(call.params))
        else:
            result = await legacy.plain(ask, call.method, call.params)
            return _json({"jsonrpc": "2.0", "id": call_id, "result": result})
        return Flow(self._door, _frames(tellings, partial(legacy.framed, call_id)))


async def _opened(ask: Asking, method: str, params: Raw) -> Tellings:
    if method == STREAM:
        return await operations.stream(ask, decoded(params, w.Sending))
    return await operations.subscribe(ask, decoded(params, w.OneTask))


def _known() -> frozenset[str]:
    return frozenset({SEND, STREAM, SUBSCRIBE, *PLAIN})


def _call(data: bytes) -> _Call:
    try:
        call = decoded(data, _Call)
    except InvalidParams as error:
        raise InvalidRequest(f"that is no request of JSON-RPC: {error}") from None
    if call.jsonrpc != "2.0" or not call.method or call.id is UNSET:
        raise InvalidRequest("expected jsonrpc 2.0, a method and an id")
    return call


async def _frames(
    tellings: Tellings, framed: Callable[[Any], bytes]
) -> AsyncGenerator[bytes, None]:
    async with aclosing(tellings) as told:
        async for one in told:
            yield data_frame(framed(one))


def _framed(call_id: Any, result: Any) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", "id": call_id, "result": result})


def _failed(call_id: Any, error: HoldfastError) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", "id": call_id, "error": as_rpc(error)})


def _json(said: Any) -> Response:
    return Response(msgspec.json.encode(said), 200, media_type="application/json")
