"""Every error's one form over HTTP (RFC 9457), and the last net below a request."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from http import HTTPStatus

import anyio
import msgspec
from msgspec import UNSET
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast.core.error import (
    Broken,
    HoldfastError,
    Invalid,
    NotAllowed,
    Refused,
    Saturated,
    Unavailable,
)
from holdfast.ports.model import ModelFailure

from .answers import Problem
from .front import ID
from .pace import TooMany

_log = logging.getLogger("holdfast.http")
Form = Callable[[HoldfastError, Callable[[str], str]], Response]
_CODES = {404: "no_such_path", 405: "method_not_allowed"}
PROBLEM = "application/problem+json"
_PATIENT_WITH, _PATIENT_FOR = 32_000_000, 2.0


class Unauthenticated(NotAllowed):
    """Nobody we know."""

    code, http_status = "unauthenticated", 401


class TooLarge(Invalid):
    """The body is larger than anything we read."""

    code, http_status = "too_large", 413


class Unanswered(Unavailable):
    """No model gave a reply; `tried` says which were asked, and what came of each."""

    http_status = 502

    def __init__(self, failure: ModelFailure) -> None:
        super().__init__(str(failure), code=failure.code)
        self.http_status = _BY_MODEL_CODE.get(failure.code, type(self).http_status)
        self.retry_after, self.tried = math.ceil(failure.retry_after), failure.tried


_BY_MODEL_CODE = {
    "content_filtered": 422,
    "context_overflow": 422,
    "invalid_request": 422,
    "rate_limited": 429,
    "timeout": 504,
}


class Guard:
    """Turns whatever a request raises into an answer. Stands around everything else."""

    def __init__(
        self,
        app: ASGIApp,
        redact: Callable[[str], str],
        forms: Mapping[str, Form] | None = None,
    ) -> None:
        """`forms` says by the beginning of a path how its errors look, where not as ours do."""
        self._app, self._redact, self._forms = app, redact, forms or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = False

        async def sending(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except ClientDisconnect:
            return
        except HoldfastError as error:
            problem = error
        except Exception:  # noqa: BLE001 - around a door request
            told = {"path": scope.get("path", ""), "request": scope.get(ID, "")}
            _log.exception("a request failed", extra=told)
            text = "something went wrong inside Holdfast"
            problem = Broken(text, code="internal", hint="the daemon's log says more")
        else:
            return
        if isinstance(problem, TooLarge) and not began:
            await _heard_out(scope, receive)
        if not began:
            form = next(
                (f for at, f in self._forms.items() if scope["path"].startswith(at)), failure
            )
            await _refuse(form(problem, self._redact), problem, (scope, receive, send))


async def _heard_out(scope: Scope, receive: Receive) -> None:
    """Take in a little more than is read, and drop it: who is hung up on while speaking never gets
    to hear why. Not who asks before speaking."""
    if any(name == b"expect" for name, _ in scope["headers"]):
        return
    heard = 0
    with anyio.move_on_after(_PATIENT_FOR):
        while heard < _PATIENT_WITH:
            message = await receive()
            heard += len(message.get("body", b""))
            if not message.get("more_body"):
                return


async def _refuse(
    answer: Response, problem: HoldfastError, line: tuple[Scope, Receive, Send]
) -> None:
    """Say no: as an answer, also to who wanted a WebSocket where the server can say that."""
    scope, receive, send = line
    if scope["type"] != "websocket":
        await answer(scope, receive, send)
    elif "websocket.http.response" in scope.get("extensions", {}):
        await answer(scope, receive, _as_handshake(send))
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": problem.code})


def _as_handshake(send: Send) -> Send:
    async def sending(message: Message) -> None:
        await send({**message, "type": f"websocket.{message['type'].removeprefix('websocket.')}"})

    return sending


def failure(error: HoldfastError, redact: Callable[[str], str]) -> Response:
    """The answer that an error is."""
    headers: dict[str, str] = {}
    match error:
        case Saturated() | Unanswered() if error.retry_after:
            headers["Retry-After"] = str(error.retry_after)
        case TooMany():
            headers |= {"Retry-After": str(error.retry_after), **error.pace.headers()}
        case Unauthenticated():
            headers["WWW-Authenticate"] = "Bearer"
        case TooLarge():
            headers["Connection"] = "close"
        case _:
            pass
    body = redact(said(error).decode())
    return Response(body, error.http_status, headers, PROBLEM)


def said(error: HoldfastError) -> bytes:
    """What the answer of an error says."""
    tried = error.tried if isinstance(error, Unanswered) and error.tried else UNSET
    return msgspec.json.encode(
        Problem(
            type=f"urn:holdfast:problem:{error.code}",
            title=HTTPStatus(error.http_status).phrase,
            status=error.http_status,
            detail=str(error),
            code=error.code,
            hint=error.hint,
            tried=tried,
        )
    )


async def wrong_path(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: an unknown path, or a known one with another method."""
    if not isinstance(error, HTTPException):
        raise error
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted(_allowed(request)))
        if request.method == "OPTIONS":
            return Response(None, HTTPStatus.NO_CONTENT, headers)
    told = Refused(
        f"{request.method} {request.url.path}: {error.detail}",
        code=_CODES.get(error.status_code, Refused.code),
        hint="GET /openapi.json lists everything there is",
    )
    told.http_status = error.status_code
    return Response(said(told), error.status_code, headers, PROBLEM)


def _allowed(request: Request) -> set[str]:
    """Every method that the path has, in all its routes."""
    methods = {"OPTIONS"}
    for route in request.app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    return methods
