"""Every error's one form over HTTP, and the last net below a request."""

from __future__ import annotations

import logging

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast.core.error import Broken, HoldfastError, Invalid, NotAllowed, Refused, Saturated

_log = logging.getLogger("holdfast.http")
_CODES = {404: "no_such_path", 405: "method_not_allowed"}


class Unauthenticated(NotAllowed):
    """Nobody we know."""

    code, http_status = "unauthenticated", 401


class TooLarge(Invalid):
    """The body is larger than anything we read."""

    code, http_status = "too_large", 413


class Guard:
    """Turns whatever a request raises into an answer. Stands around everything else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

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
            _log.exception("a request failed", extra={"path": scope.get("path", "")})
            text = "something went wrong inside Holdfast"
            problem = Broken(text, code="internal", hint="the daemon's log says more")
        else:
            return
        if not began:
            await failure(problem)(scope, receive, send)


def failure(error: HoldfastError) -> Response:
    """The answer that an error is."""
    headers: dict[str, str] = {}
    match error:
        case Saturated():
            headers["Retry-After"] = str(error.retry_after)
        case Unauthenticated():
            headers["WWW-Authenticate"] = "Bearer"
        case TooLarge():
            headers["Connection"] = "close"
        case _:
            pass
    return _answer(error.http_status, error.code, str(error), error.hint, headers)


async def wrong_path(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: an unknown path, or a known one with another method."""
    if not isinstance(error, HTTPException):
        raise error
    text = f"{request.method} {request.url.path}: {error.detail}"
    code = _CODES.get(error.status_code, Refused.code)
    hint = "GET /openapi.json lists everything there is"
    return _answer(error.status_code, code, text, hint, dict(error.headers or {}))


def _answer(status: int, code: str, message: str, hint: str, headers: dict[str, str]) -> Response:
    body = {"error": {"code": code, "message": message, "hint": hint}}
    return Response(msgspec.json.encode(body), status, headers, "application/json")
