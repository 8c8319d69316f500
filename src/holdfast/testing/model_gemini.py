"""The Gemini generateContent dialect."""

from collections.abc import Mapping
from typing import Any

from .model_script import DialectName, Finish, Reply, Usage
from .model_wire import Asked, Call, Piece, Turn, encode

PATH = "/v1beta/models/"
_ERRORS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    504: "DEADLINE_EXCEEDED",
}
_STOPS: Mapping[Finish, str] = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
}
# Base64, and opaque: clients must send it back on the part it came with.
_SIGNATURE = "c2NyaXB0ZWQgdGhpbmtpbmc="


class Gemini:
    """generateContent, and streamGenerateContent as server-sent events whatever `alt` says."""

    name: DialectName = "gemini"
    stream_type = "text/event-stream"

    def read(self, path: str, body: dict[str, Any]) -> Asked:
        model, _, verb = path.removeprefix(PATH).rpartition(":")
        return Asked(
            model=model, messages=list(body["contents"]), streaming=verb == "streamGenerateContent"
        )

    def opening(self, turn: Turn) -> bytes:
        return b""

    def piece(self, turn: Turn, piece: Piece) -> bytes:
        match piece.part:
            case "thinking":
                return _frame(_response(turn, [_thought(piece.text)], stop=None))
            case "text":
                return _frame(_response(turn, [{"text": piece.text}], stop=None))
            case Call() as call if piece.last and call.object is not None:
                return _frame(_response(turn, [_function_call(turn, call)], stop=None))
            case Call():
                return b""

    def closing(self, turn: Turn) -> bytes:
        part = {"text": ""}
        if turn.reply.thinking and not turn.calls:
            part["thoughtSignature"] = _SIGNATURE
        return _frame(_response(turn, [part], stop=_stop(turn)))

    def whole(self, turn: Turn) -> bytes:
        reply = turn.reply
        parts: list[dict[str, Any]] = []
        if reply.thinking:
            parts.append(_thought(reply.thinking))
        if reply.text:
            parts.append({"text": reply.text})
            if reply.thinking and not turn.calls:
                parts[-1]["thoughtSignature"] = _SIGNATURE
        parts.extend(_function_call(turn, call) for call in turn.calls if call.object is not None)
        return encode(_response(turn, parts, stop=_stop(turn)))

    def garbage(self) -> bytes:
        return b'data: {"candidates": [{"content"\r\n\r\n'

    def failure(self, status: int, message: str, reply: Reply) -> bytes:
        kind = reply.error or _ERRORS.get(
            status, "UNAVAILABLE" if status >= 500 else "INVALID_ARGUMENT"
        )
        error: dict[str, Any] = {"code": status, "message": message, "status": kind}
        if reply.retry_after is not None:
            retry = {
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": f"{reply.retry_after:g}s",
            }
            error["details"] = [retry]
        return encode({"error": error})


def model_list(models: tuple[str, ...]) -> bytes:
    listed = [
        {
            "name": f"models/{name}",
            "version": "001",
            "displayName": name,
            "description": "A scripted model.",
            "inputTokenLimit": 1048576,
            "outputTokenLimit": 65536,
            "supportedGenerationMethods": ["generateContent"],
        }
        for name in models
    ]
    return encode({"models": listed})


def _frame(response: dict[str, Any]) -> bytes:
    return b"data: " + encode(response) + b"\r\n\r\n"


def _response(turn: Turn, parts: list[dict[str, Any]], *, stop: str | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if stop:
        candidate["finishReason"] = stop
    response: dict[str, Any] = {"candidates": [candidate]}
    if stop and turn.reply.usage:
        response["usageMetadata"] = _usage(turn.reply.usage)
    return response | {"modelVersion": turn.model, "responseId": f"resp-{turn.number}"}


def _stop(turn: Turn) -> str:
    broken = any(call.object is None for call in turn.calls)
    return "MALFORMED_FUNCTION_CALL" if broken else _STOPS[turn.finish]


def _thought(text: str) -> dict[str, Any]:
    return {"text": text, "thought": True}


def _function_call(turn: Turn, call: Call) -> dict[str, Any]:
    part: dict[str, Any] = {"functionCall": {"id": call.id, "name": call.name, "args": call.object}}
    if turn.reply.thinking and call.index == 0:
        part["thoughtSignature"] = _SIGNATURE
    return part


def _usage(usage: Usage) -> dict[str, Any]:
    """Thoughts are counted beside the candidates, not in them; the cache reports reads only."""
    counts = {
        "promptTokenCount": usage.input,
        "candidatesTokenCount": usage.output - usage.reasoning,
        "totalTokenCount": usage.input + usage.output,
    }
    if usage.cache_read:
        counts["cachedContentTokenCount"] = usage.cache_read
    if usage.reasoning:
        counts["thoughtsTokenCount"] = usage.reasoning
    return counts
