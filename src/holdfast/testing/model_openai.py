"""The OpenAI chat completions dialect."""

from typing import Any, Literal

from .model_script import DialectName, Reply, Usage
from .model_wire import Asked, Call, Piece, Turn, encode, likely

_ERRORS = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "permission_denied"),
    404: ("invalid_request_error", "model_not_found"),
    413: ("invalid_request_error", "request_too_large"),
    429: ("requests", "rate_limit_exceeded"),
    503: ("server_error", "service_unavailable"),
    529: ("server_error", "overloaded"),
}


class OpenAI:
    """Chat completions, with `reasoning_content` for thinking as the compatible servers have it."""

    name: DialectName = "openai"
    stream_type = "text/event-stream; charset=utf-8"

    def read(self, path: str, body: dict[str, Any]) -> Asked:
        streaming = bool(body.get("stream"))
        options: dict[str, Any] = body.get("stream_options") or {}
        return Asked(
            model=str(body["model"]),
            messages=list(body["messages"]),
            streaming=streaming,
            wants_usage=not streaming or bool(options.get("include_usage")),
            others=body.get("top_logprobs") or 0 if body.get("logprobs") else None,
        )

    def opening(self, turn: Turn) -> bytes:
        return _event(turn, {"role": "assistant", "content": "", "refusal": None})

    def piece(self, turn: Turn, piece: Piece) -> bytes:
        match piece.part:
            case "thinking":
                return _event(turn, {"reasoning_content": piece.text})
            case "text":
                return _event(turn, {"content": piece.text}, odds=_odds(turn, piece.text))
            case Call() as call:
                opening = _event(turn, {"tool_calls": [_call(call, "")]}) if piece.first else b""
                fragment = {"index": call.index, "function": {"arguments": piece.text}}
                return opening + _event(turn, {"tool_calls": [fragment]})

    def closing(self, turn: Turn) -> bytes:
        end = _event(turn, {}, turn.finish)
        if turn.wants_usage and turn.reply.usage:
            end += _frame(_chunk(turn) | {"choices": [], "usage": _usage(turn.reply.usage)})
        return end + b"data: [DONE]\n\n"

    def whole(self, turn: Turn) -> bytes:
        reply = turn.reply
        message: dict[str, Any] = {
            "role": "assistant",
            "content": reply.text if reply.text or not turn.calls else None,
            "refusal": None,
        }
        if reply.thinking:
            message["reasoning_content"] = reply.thinking
        if turn.calls:
            message["tool_calls"] = [_call(call, call.raw) for call in turn.calls]
            for call in message["tool_calls"]:
                del call["index"]
        odds = _odds(turn, reply.text)
        choice = {"index": 0, "message": message, "logprobs": odds, "finish_reason": turn.finish}
        body = _chunk(turn) | {"object": "chat.completion", "choices": [choice]}
        if reply.usage:
            body["usage"] = _usage(reply.usage)
        return encode(body)

    def garbage(self) -> bytes:
        return b'data: {"id": "chatcmpl-broken", "choices": [{"delta"\n\n'

    def failure(self, status: int, message: str, reply: Reply) -> bytes:
        kind, code = _ERRORS.get(
            status, ("server_error" if status >= 500 else "invalid_request_error", None)
        )
        error = {"message": message, "type": kind, "param": None, "code": reply.error or code}
        return encode({"error": error})


def model_list(models: tuple[str, ...]) -> bytes:
    listed = [
        {"id": name, "object": "model", "created": 1700000000, "owned_by": "holdfast"}
        for name in models
    ]
    return encode({"object": "list", "data": listed})


def _chunk(turn: Turn) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{turn.number}",
        "object": "chat.completion.chunk",
        "created": turn.created,
        "model": turn.model,
        "service_tier": "default",
        "system_fingerprint": "fp_scripted",
    }


def _odds(turn: Turn, text: str) -> dict[str, Any] | None:
    found = likely(text, turn.others)
    return {"content": found, "refusal": None} if found else None


def _event(
    turn: Turn,
    delta: dict[str, Any],
    finish: str | None = None,
    odds: dict[str, Any] | None = None,
) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": odds, "finish_reason": finish}
    chunk = _chunk(turn) | {"choices": [choice]}
    if turn.wants_usage:
        chunk["usage"] = None
    return _frame(chunk)


def _frame(chunk: dict[str, Any]) -> bytes:
    return b"data: " + encode(chunk) + b"\n\n"


def _call(call: Call, arguments: str) -> dict[str, Any]:
    kind: Literal["function"] = "function"
    return {
        "index": call.index,
        "id": call.id,
        "type": kind,
        "function": {"name": call.name, "arguments": arguments},
    }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
