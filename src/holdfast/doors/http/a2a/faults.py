"""What goes wrong, in the protocol's words: a code for JSON-RPC, a status and a reason for HTTP."""

from __future__ import annotations

from typing import Any

from holdfast.core.error import (
    HoldfastError,
    Invalid,
    NotAllowed,
    NotFound,
    Refused,
    Saturated,
    Unavailable,
)

DOMAIN = "a2a-protocol.org"
_INFO = "type.googleapis.com/google.rpc.ErrorInfo"


class Fault(HoldfastError):
    """Something that the protocol has a name for. `rpc` is its code there, `grpc` its status."""

    rpc, grpc, reason = -32603, "INTERNAL", ""
    http_status = 500


class TaskNotFound(Fault):
    """There is no such task, for this principal."""

    rpc, grpc, reason, http_status = -32001, "NOT_FOUND", "TASK_NOT_FOUND", 404
    code = "task_not_found"


class TaskNotCancelable(Fault):
    """It has ended."""

    rpc, grpc, reason, http_status = -32002, "FAILED_PRECONDITION", "TASK_NOT_CANCELABLE", 409
    code = "already_over"


class UnsupportedOperation(Fault):
    """The task is not in a state for that, or it is never done here."""

    rpc, grpc, reason, http_status = -32004, "FAILED_PRECONDITION", "UNSUPPORTED_OPERATION", 400
    code = "unsupported_operation"


class ContentTypeNotSupported(Fault):
    """A part of a kind that is not read here."""

    rpc, grpc, reason = -32005, "INVALID_ARGUMENT", "CONTENT_TYPE_NOT_SUPPORTED"
    code, http_status = "content_type", 415


class VersionNotSupported(Fault):
    """Another version of the protocol."""

    rpc, grpc, reason, http_status = -32009, "FAILED_PRECONDITION", "VERSION_NOT_SUPPORTED", 400
    code = "version_not_supported"


class InvalidParams(Fault):
    """What was given for the operation is wrong."""

    rpc, grpc, http_status, code = -32602, "INVALID_ARGUMENT", 400, "invalid_params"


class InvalidRequest(Fault):
    """That is no request of JSON-RPC."""

    rpc, grpc, http_status, code = -32600, "INVALID_ARGUMENT", 400, "invalid_request"


class MethodNotFound(Fault):
    """There is no such operation."""

    rpc, grpc, http_status, code = -32601, "NOT_FOUND", 404, "method_not_found"


class ParseFault(Fault):
    """That is not JSON."""

    rpc, grpc, http_status, code = -32700, "INVALID_ARGUMENT", 400, "invalid_json"


def fault_of(error: HoldfastError) -> Fault:
    """The same error in the protocol's words."""
    match error:
        case Fault():
            return error
        case NotFound():
            fault: Fault = TaskNotFound(str(error), code=error.code)
        case Invalid():
            fault = InvalidParams(str(error), code=error.code)
        case NotAllowed(code="not_your_session"):
            fault = InvalidParams(str(error), code=error.code)
        case NotAllowed():
            fault = _plain(error, "PERMISSION_DENIED")
        case Saturated():
            fault = _plain(error, "RESOURCE_EXHAUSTED")
        case Unavailable():
            fault = _plain(error, "UNAVAILABLE")
        case Refused():
            fault = UnsupportedOperation(str(error), code=error.code)
        case _:
            fault = _plain(error, "INTERNAL")
    fault.hint = error.hint
    return fault


def _plain(error: HoldfastError, grpc: str) -> Fault:
    """What has no code of its own there: the house's own code says more."""
    fault = Fault(str(error), code=error.code)
    fault.grpc, fault.http_status = grpc, error.http_status
    return fault


def as_rpc(error: HoldfastError) -> dict[str, Any]:
    """The `error` of a JSON-RPC answer."""
    fault = fault_of(error)
    return {"code": fault.rpc, "message": str(fault), "data": [_info(fault)]}


def as_http(error: HoldfastError) -> tuple[int, dict[str, Any]]:
    """Status and body of an HTTP answer."""
    fault = fault_of(error)
    body = {
        "code": fault.http_status,
        "status": fault.grpc,
        "message": str(fault),
        "details": [_info(fault)],
    }
    return fault.http_status, {"error": body}


def _info(fault: Fault) -> dict[str, Any]:
    told = {"code": fault.code} | ({"hint": fault.hint} if fault.hint else {})
    reason = fault.reason or fault.code.upper()
    return {"@type": _INFO, "reason": reason, "domain": DOMAIN, "metadata": told}
