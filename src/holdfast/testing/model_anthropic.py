"""The Anthropic messages dialect."""

from collections.abc import Mapping
from typing import Any

from .model_script import DialectName, Finish, Reply, Usage
from .model_wire import Asked, Call, Piece, Turn, encode

_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_STOPS: Mapping[Finish, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
# Clients must send it back untouched, and never read it.
_SIGNATURE = "c2NyaXB0ZWQgdGhpbmtpbmc="


class Anthropic:
    """Messages: typed content blocks, each opened, filled by deltas and closed."""

    name: DialectName = "anthropic"
    stream_type = "text/event-stream; charset=utf-8"

    def read(self, path: str, body: dict[str, Any]) -> Asked:
        return Asked(
            model=str(body["model"]),
            messages=list(body["messages"]),
            streaming=bool(body.get("stream")),
        )

    def opening(self, turn: Turn) -> bytes:
        usage = _usage(turn.reply.usage)
        usage["output_tokens"] = min(1, usage["output_tokens"])
        return _event(
            "message_start", message=_message(turn, content=[], stop=None, usage=usage)
        ) + _event("ping")

    def piece(self, turn: Turn, piece: Piece) -> bytes:
        index = piece.block
        match piece.part:
            case "thinking":
                block, delta = _thinking("", ""), {"type": "thinking_delta", "thinking": piece.text}
            case "text":
                block, delta = (
                    {"type": "text", "text": ""},
                    {"type": "text_delta", "text": piece.text},
                )
            case Call() as call:
                block, delta = (
                    _tool_use(call, {}),
                    {"type": "input_json_delta", "partial_json": piece.text},
                )
        sent = (
            _event("content_block_start", index=index, content_block=block) if piece.first else b""
        )
        sent += _event("content_block_delta", index=index, delta=delta)
        if not piece.last:
            return sent
        if piece.part == "thinking":
            signed = {"type": "signature_delta", "signature": _SIGNATURE}
            sent += _event("content_block_delta", index=index, delta=signed)
        return sent + _event("content_block_stop", index=index)

    def closing(self, turn: Turn) -> bytes:
        delta = {"stop_reason": _STOPS[turn.finish], "stop_sequence": None}
        usage = _usage(turn.reply.usage)
        del usage["cache_creation"], usage["service_tier"]
        return _event("message_delta", delta=delta, usage=usage) + _event("message_stop")

    def whole(self, turn: Turn) -> bytes:
        reply = turn.reply
        content: list[dict[str, Any]] = []
        if reply.thinking:
            content.append(_thinking(reply.thinking, _SIGNATURE))
        if reply.text:
            content.append({"type": "text", "text": reply.text})
        content.extend(
            _tool_use(call, call.arguments if call.object is None else call.object)
            for call in turn.calls
        )
        return encode(
            _message(turn, content=content, stop=_STOPS[turn.finish], usage=_usage(reply.usage))
        )

    def garbage(self) -> bytes:
        return b'event: content_block_delta\ndata: {"type": "content_block_delta", "delta"\n\n'

    def failure(self, status: int, message: str, reply: Reply) -> bytes:
        kind = reply.error or _ERRORS.get(
            status, "api_error" if status >= 500 else "invalid_request_error"
        )
        error = {"type": kind, "message": message}
        return encode({"type": "error", "error": error, "request_id": "req_scripted"})


def model_list(models: tuple[str, ...]) -> bytes:
    listed = [
        {"type": "model", "id": name, "display_name": name, "created_at": "2025-01-01T00:00:00Z"}
        for name in models
    ]
    ends = (
        {"first_id": models[0], "last_id": models[-1]}
        if models
        else {"first_id": None, "last_id": None}
    )
    return encode({"data": listed, "has_more": False} | ends)


def _event(kind: str, **fields: object) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + encode({"type": kind} | fields) + b"\n\n"


def _message(
    turn: Turn, *, content: list[dict[str, Any]], stop: str | None, usage: dict[str, Any]
) -> dict[str, Any]:
    return {
        "id": f"msg_{turn.number}",
        "type": "message",
        "role": "assistant",
        "model": turn.model,
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": usage,
    }


def _thinking(text: str, signature: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "signature": signature}


def _tool_use(call: Call, arguments: dict[str, Any] | str) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments}


def _usage(reported: Usage | None) -> dict[str, Any]:
    """Here `input_tokens` leaves out what the cache read and wrote, and usage is never absent."""
    usage = reported or Usage(input=0, output=0)
    return {
        "input_tokens": usage.input - usage.cache_read - usage.cache_write,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write,
            "ephemeral_1h_input_tokens": 0,
        },
        "output_tokens": usage.output,
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
        "service_tier": "standard",
    }
