"""Errors as OpenAI's clients know them: one object with message, type, param and code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from holdfast.core.error import (
    Broken,
    HoldfastError,
    Invalid,
    NotAllowed,
    NotFound,
    Saturated,
    Unavailable,
)
from holdfast.doors.http.errors import TooLarge, Unanswered, Unauthenticated
from holdfast.doors.http.pace import TooMany
from holdfast.ports.ledger import OverBudget
from holdfast.ports.model import ModelFailure

_REQUEST, _SERVER = "invalid_request_error", "server_error"


class Wrong(Invalid):
    """What is wrong with a request; `param` names the field."""

    http_status = 400

    def __init__(self, message: str, *, param: str = "", code: str = "", hint: str = "") -> None:
        super().__init__(message, code=code or "invalid_value", hint=hint)
        self.param = param


class NoSuchModel(NotFound):
    """There is no model of this name here, or it is not for this."""

    code = "model_not_found"


class NoSuchFile(NotFound):
    """A message names a file that is not here, or not its sender's."""

    code = "file_not_found"

    def __init__(self, message: str, *, param: str) -> None:
        super().__init__(message)
        self.param = param


class WrongPath(NotFound):
    """Nothing is answered under this path, or not with this method."""

    code = "unknown_url"

    def __init__(self, message: str, *, allow: str = "") -> None:
        super().__init__(message, code="method_not_allowed" if allow else "")
        self.allow = allow
        if allow:
            self.http_status = 405


class TaskFailed(HoldfastError):
    """The agent's task ended without an answer. Asking again would begin another task."""

    code = "task_failed"


class Misshapen(Unavailable):
    """What a model said cannot be handed on: not the shape that was asked for, or no JSON."""

    code, http_status = "malformed", 502


_OF_MODELS: Mapping[str, tuple[int, str, str]] = {
    "content_filtered": (400, _REQUEST, "content_filter"),
    "context_overflow": (400, _REQUEST, "context_length_exceeded"),
    "invalid_request": (400, _REQUEST, "invalid_request"),
    "not_found": (404, _REQUEST, "model_not_found"),
    "rate_limited": (429, "rate_limit_error", "rate_limit_exceeded"),
    "timeout": (504, _SERVER, "timeout"),
}
"""A failure of a model: status, type and code. Any other is ours: the client's key is good."""


def refused(error: ModelFailure) -> HoldfastError:
    return Unanswered(error)


def failure(error: HoldfastError, redact: Callable[[str], str]) -> Response:
    """The answer that an error is."""
    status, _, _ = _kind(error)
    headers: dict[str, str] = {}
    match error:
        case Saturated() | Unanswered() if error.retry_after:
            headers["Retry-After"] = str(error.retry_after)
        case TooMany():
            headers |= {"Retry-After": str(error.retry_after), **error.pace.headers()}
        case OverBudget() | TaskFailed():
            headers["x-should-retry"] = "false"  # official clients would, two times
        case Unauthenticated():
            headers["WWW-Authenticate"] = "Bearer"
        case TooLarge():
            headers["Connection"] = "close"
        case WrongPath() if error.allow:
            headers["Allow"] = error.allow
        case _:
            pass
    body = redact(msgspec.json.encode({"error": told(error)}).decode())
    return Response(body, status, headers, "application/json")


def told(error: HoldfastError) -> dict[str, Any]:
    """The object that says what is wrong."""
    _, kind, code = _kind(error)
    hint = f" ({error.hint})" if error.hint else ""
    param = getattr(error, "param", "") or ("model" if code == "model_not_found" else "")
    return {"message": f"{error}{hint}", "type": kind, "param": param or None, "code": code}


def _kind(error: HoldfastError) -> tuple[int, str, str]:
    """Status, type and code."""
    match error:
        case Unanswered():
            return _OF_MODELS.get(error.code, (error.http_status, _SERVER, error.code))
        case Unauthenticated():
            return 401, "authentication_error", "invalid_api_key"
        case NotAllowed():
            return error.http_status, "permission_error", error.code
        case OverBudget():
            return 429, "insufficient_quota", "insufficient_quota"
        case Saturated() | TooMany():
            return error.http_status, "rate_limit_error", "rate_limit_exceeded"
        case Invalid() if error.code == "unknown_model":
            return 404, _REQUEST, "model_not_found"
        case TooLarge():
            return error.http_status, _REQUEST, error.code
        case Invalid():
            return 400, _REQUEST, error.code
        case Unavailable() | Broken() | TaskFailed():
            return error.http_status, _SERVER, error.code
        case _:
            return error.http_status, _REQUEST, error.code
