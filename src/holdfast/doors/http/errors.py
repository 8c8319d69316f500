"""Every error's one form over HTTP, and the last net below a request."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping

import msgspec
from msgspec import UNSET
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
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

from .answers import Failure, Problem

_log = logging.getLogger("holdfast.http")
Form = Callable[[HoldfastError, Callable[[str], str]], Response]
_CODES = {404: "no_such_path", 405: "method_not_allowed"}


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
            _log.exception("a request failed", extra={"path": scope.get("path", "")})
            text = "something went wrong inside Holdfast"
            problem = Broken(text, code="internal", hint="the daemon's log says more")
        else:
            return
        if not began:
            form = next(
                (f for at, f in self._forms.items() if scope["path"].startswith(at)), failure
            )
            await form(problem, self._redact)(scope, receive, send)


def failure(error: HoldfastError, redact: Callable[[str], str]) -> Response:
    """The answer that an error is."""
    headers: dict[str, str] = {}
    match error:
        case Saturated() | Unanswered() if error.retry_after:
            headers["Retry-After"] = str(error.retry_after)
        case Unauthenticated():
            headers["WWW-Authenticate"] = "Bearer"
        case TooLarge():
            headers["Connection"] = "close"
        case _:
            pass
    body = redact(said(error).decode())
    return Response(body, error.http_status, headers, "application/json")


def said(error: HoldfastError) -> bytes:
    """What the answer of an error says."""
    tried = error.tried if isinstance(error, Unanswered) and error.tried else UNSET
    problem = Problem(code=error.code, message=str(error), hint=error.hint, tried=tried)
    return msgspec.json.encode(Failure(error=problem))


async def wrong_path(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: an unknown path, or a known one with another method."""
    if not isinstance(error, HTTPException):
        raise error
    text = f"{request.method} {request.url.path}: {error.detail}"
    code = _CODES.get(error.status_code, Refused.code)
    hint = "GET /openapi.json lists everything there is"
    body = Failure(error=Problem(code=code, message=text, hint=hint))
    headers = dict(error.headers or {})
    return Response(msgspec.json.encode(body), error.status_code, headers, "application/json")
