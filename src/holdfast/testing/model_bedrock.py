"""The dialect of AWS Bedrock's Converse: JSON, and AWS's binary framing when it is streamed."""

import struct
import zlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from .model_script import DialectName, Finish, Reply, Usage
from .model_wire import Asked, Call, Piece, Turn, encode

PATH = "/model/"
_ERRORS = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}
_STOPS: Mapping[Finish, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "content_filtered",
}
# Clients must send it back untouched, and never read it.
_SIGNATURE = "c2NyaXB0ZWQgdGhpbmtpbmc="
_STRING = 7  # the type of a header's value


class Bedrock:
    """converse and converse-stream, which the path tells apart."""

    name: DialectName = "bedrock"
    stream_type = "application/vnd.amazon.eventstream"

    def read(self, path: str, body: dict[str, Any]) -> Asked:
        model, _, verb = path.removeprefix(PATH).rpartition("/")
        return Asked(
            model=unquote(model),
            messages=list(body["messages"]),
            streaming=verb == "converse-stream",
        )

    def opening(self, turn: Turn) -> bytes:
        return _frame("messageStart", {"role": "assistant"})

    def piece(self, turn: Turn, piece: Piece) -> bytes:
        place = {"contentBlockIndex": piece.block}
        sent = b""
        match piece.part:
            case "thinking":
                delta: dict[str, Any] = {"reasoningContent": {"text": piece.text}}
            case "text":
                delta = {"text": piece.text}
            case Call() as call:
                start = {"toolUse": {"toolUseId": call.id, "name": call.name}}
                if piece.first:
                    sent = _frame("contentBlockStart", {"start": start} | place)
                delta = {"toolUse": {"input": piece.text}}
        sent += _frame("contentBlockDelta", {"delta": delta} | place)
        if not piece.last:
            return sent
        if piece.part == "thinking":
            signed = {"reasoningContent": {"signature": _SIGNATURE}}
            sent += _frame("contentBlockDelta", {"delta": signed} | place)
        return sent + _frame("contentBlockStop", place)

    def closing(self, turn: Turn) -> bytes:
        sent = _frame("messageStop", {"stopReason": _STOPS[turn.finish]})
        if turn.reply.usage:
            counted = {"usage": _usage(turn.reply.usage), "metrics": {"latencyMs": 1}}
            sent += _frame("metadata", counted)
        return sent

    def whole(self, turn: Turn) -> bytes:
        reply = turn.reply
        content: list[dict[str, Any]] = []
        if reply.thinking:
            thought = {"text": reply.thinking, "signature": _SIGNATURE}
            content.append({"reasoningContent": {"reasoningText": thought}})
        if reply.text:
            content.append({"text": reply.text})
        content += [_tool_use(call) for call in turn.calls]
        return encode(
            {
                "output": {"message": {"role": "assistant", "content": content}},
                "stopReason": _STOPS[turn.finish],
                "usage": _usage(reply.usage or Usage(input=0, output=0)),
                "metrics": {"latencyMs": 1},
            }
        )

    def garbage(self) -> bytes:
        """A frame whose check sum is wrong."""
        return _frame("contentBlockDelta", {"contentBlockIndex": 0})[:-4] + b"\0\0\0\0"

    def failure(self, status: int, message: str, reply: Reply) -> bytes:
        usual = "InternalServerException" if status >= 500 else "ValidationException"
        kind = reply.error or _ERRORS.get(status, usual)
        return encode({"__type": kind, "message": message})


def _tool_use(call: Call) -> dict[str, Any]:
    arguments = call.arguments if call.object is None else call.object
    return {"toolUse": {"toolUseId": call.id, "name": call.name, "input": arguments}}


def _usage(usage: Usage) -> dict[str, Any]:
    """Here `inputTokens` leaves out what the cache read and wrote."""
    return {
        "inputTokens": usage.input - usage.cache_read - usage.cache_write,
        "outputTokens": usage.output,
        "totalTokens": usage.input + usage.output,
        "cacheReadInputTokens": usage.cache_read,
        "cacheWriteInputTokens": usage.cache_write,
    }


def _frame(kind: str, fields: dict[str, Any]) -> bytes:
    """One event: two lengths and their check sum, headers, the body, and a check sum of it all."""
    told = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    headers = b"".join(_header(name, value) for name, value in told.items())
    body = encode(fields)
    lengths = struct.pack(">II", len(headers) + len(body) + 16, len(headers))
    sent = lengths + struct.pack(">I", zlib.crc32(lengths)) + headers + body
    return sent + struct.pack(">I", zlib.crc32(sent))


def _header(name: str, value: str) -> bytes:
    named, said = name.encode(), value.encode()
    start = struct.pack(">B", len(named)) + named
    return start + struct.pack(">BH", _STRING, len(said)) + said
