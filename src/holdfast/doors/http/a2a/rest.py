"""Plain HTTP with JSON: every operation has a path and a method of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from holdfast.core.error import HoldfastError
from holdfast.doors.http.flow import Flow, data_frame
from holdfast.doors.http.route import Door

from . import operations, pushing
from . import words as w
from .faults import InvalidParams, UnsupportedOperation, as_http
from .operations import Tellings
from .requests import asking, body_of, decoded, version_of
from .waiting import Waiting

MEDIA_TYPE = "application/a2a+json"
_Run = Callable[[Door, Request], Awaitable[ASGIApp]]


class _Rest:
    """One path. What fails is answered in the protocol's form."""

    def __init__(self, door: Door, run: _Run) -> None:
        self._door, self._run = door, run

    async def answer(self, request: Request) -> ASGIApp:
        try:
            if version_of(request) == "0.3" and request.headers.get("a2a-version"):
                hint = "version 0.3 is spoken as JSON-RPC, at /a2a"
                raise UnsupportedOperation("this is the form of version 1.0", hint=hint)
            return await self._run(self._door, request)
        except HoldfastError as error:
            status, body = as_http(error)
            return Response(msgspec.json.encode(body), status, media_type="application/json")


async def _send(door: Door, request: Request) -> ASGIApp:
    answer = await operations.send(asking(request, door), await _body(request, w.Sending))
    return Waiting(door, answer, msgspec.json.encode, _failed, MEDIA_TYPE)


async def _stream(door: Door, request: Request) -> ASGIApp:
    tellings = await operations.stream(asking(request, door), await _body(request, w.Sending))
    return Flow(door, _frames(tellings))


async def _subscribe(door: Door, request: Request) -> ASGIApp:
    one = w.OneTask(id=request.path_params["id"])
    return Flow(door, _frames(await operations.subscribe(asking(request, door), one)))


async def _cancel(door: Door, request: Request) -> ASGIApp:
    one = w.OneTask(id=request.path_params["id"])
    return _json(await operations.cancel(asking(request, door), one))


async def _get(door: Door, request: Request) -> ASGIApp:
    one = _query(request, w.OneTask, id=request.path_params["id"])
    return _json(await operations.get(asking(request, door), one))


async def _list(door: Door, request: Request) -> ASGIApp:
    return _json(await operations.listing(asking(request, door), _query(request, w.Listing)))


async def _create_push(door: Door, request: Request) -> ASGIApp:
    data = await body_of(request)
    fields = decoded(data or b"{}", dict[str, Any])
    config = _converted(fields | {"taskId": request.path_params["id"]}, w.PushConfig)
    return _json(await pushing.create(asking(request, door), config))


async def _list_pushes(door: Door, request: Request) -> ASGIApp:
    wanted = _query(request, w.Pushes, taskId=request.path_params["id"])
    return _json(await pushing.listing(asking(request, door), wanted))


async def _get_push(door: Door, request: Request) -> ASGIApp:
    return _json(await pushing.get(asking(request, door), _one_push(request)))


async def _delete_push(door: Door, request: Request) -> ASGIApp:
    return _json(await pushing.delete(asking(request, door), _one_push(request)))


async def _card(door: Door, request: Request) -> ASGIApp:
    return _json(await operations.extended_card(asking(request, door), w.Nothing()))


_PUSHES = "/tasks/{id}/pushNotificationConfigs"
PATHS: tuple[tuple[str, str, _Run], ...] = (
    ("POST", "/message:send", _send),
    ("POST", "/message:stream", _stream),
    ("GET", "/tasks", _list),
    ("POST", "/tasks/{id}:cancel", _cancel),
    ("POST", "/tasks/{id}:subscribe", _subscribe),
    ("GET", "/tasks/{id}:subscribe", _subscribe),
    ("GET", "/tasks/{id}", _get),
    ("POST", _PUSHES, _create_push),
    ("GET", _PUSHES, _list_pushes),
    ("GET", _PUSHES + "/{config}", _get_push),
    ("DELETE", _PUSHES + "/{config}", _delete_push),
    ("GET", "/extendedAgentCard", _card),
)


def rest_routes(door: Door, base: str) -> list[Route]:
    return [Route(base + path, _Rest(door, run).answer, methods=[way]) for way, path, run in PATHS]


async def _body(request: Request, kind: type[w.Sending]) -> w.Sending:
    return decoded(await body_of(request) or b"{}", kind)


def _one_push(request: Request) -> w.OnePush:
    return w.OnePush(task_id=request.path_params["id"], id=request.path_params["config"])


def _query(request: Request, kind: type[Any], **more: str) -> Any:
    """What stands in a query is text; numbers and truths are read from it."""
    return _converted({**request.query_params, **more}, kind)


def _converted(fields: Mapping[str, Any], kind: type[Any]) -> Any:
    try:
        return msgspec.convert(fields, kind, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidParams(str(error)) from None


async def _frames(tellings: Tellings) -> AsyncGenerator[bytes, None]:
    async with aclosing(tellings) as told:
        async for one in told:
            yield data_frame(msgspec.json.encode(one))


def _failed(error: HoldfastError) -> bytes:
    return msgspec.json.encode(as_http(error)[1])


def _json(said: Any) -> Response:
    return Response(msgspec.json.encode(said), 200, media_type=MEDIA_TYPE)
