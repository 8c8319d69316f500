"""Ollama's own chat dialect: newline-delimited JSON."""

from typing import Any

from .model_script import DialectName, Reply
from .model_wire import Asked, Call, Piece, Turn, encode

VERSION = b'{"version":"0.12.6"}'
_MOMENT = "2025-01-01T00:00:00Z"
_DETAILS = {
    "parent_model": "",
    "format": "gguf",
    "family": "scripted",
    "families": ["scripted"],
    "parameter_size": "8B",
    "quantization_level": "Q4_K_M",
}


class Ollama:
    """/api/chat: streamed unless `stream` is false; a call arrives whole."""

    name: DialectName = "ollama"
    stream_type = "application/x-ndjson"

    def read(self, path: str, body: dict[str, Any]) -> Asked:
        return Asked(
            model=str(body["model"]),
            messages=list(body["messages"]),
            streaming=bool(body.get("stream", True)),
        )

    def opening(self, turn: Turn) -> bytes:
        return b""

    def piece(self, turn: Turn, piece: Piece) -> bytes:
        match piece.part:
            case "thinking":
                return _line(turn, {"content": "", "thinking": piece.text})
            case "text":
                return _line(turn, {"content": piece.text})
            case Call() as call if piece.last:
                return _line(turn, {"content": "", "tool_calls": [_call(call)]})
            case Call():
                return b""

    def closing(self, turn: Turn) -> bytes:
        return encode(_done(turn, {"content": ""})) + b"\n"

    def whole(self, turn: Turn) -> bytes:
        message: dict[str, Any] = {"content": turn.reply.text}
        if turn.reply.thinking:
            message["thinking"] = turn.reply.thinking
        if turn.calls:
            message["tool_calls"] = [_call(call) for call in turn.calls]
        return encode(_done(turn, message))

    def garbage(self) -> bytes:
        return b'{"model": "broken", "message": {"role"\n'

    def failure(self, status: int, message: str, reply: Reply) -> bytes:
        return encode({"error": message})


def model_list(models: tuple[str, ...]) -> bytes:
    listed = [
        {
            "name": name,
            "model": name,
            "modified_at": _MOMENT,
            "size": 4920753328,
            "digest": "0" * 64,
            "details": _DETAILS,
        }
        for name in models
    ]
    return encode({"models": listed})


def model_card(capabilities: tuple[str, ...]) -> bytes:
    facts = {"general.architecture": "scripted", "scripted.context_length": 131072}
    return encode(
        {
            "modelfile": "",
            "parameters": "",
            "template": "",
            "details": _DETAILS,
            "model_info": facts,
            "capabilities": capabilities,
            "modified_at": _MOMENT,
        }
    )


def _line(turn: Turn, message: dict[str, Any]) -> bytes:
    return encode(_chunk(turn, message) | {"done": False}) + b"\n"


def _chunk(turn: Turn, message: dict[str, Any]) -> dict[str, Any]:
    return {"model": turn.model, "created_at": _MOMENT, "message": {"role": "assistant"} | message}


def _done(turn: Turn, message: dict[str, Any]) -> dict[str, Any]:
    """The last line, or the only one: two stop reasons, no token details, nanoseconds."""
    done: dict[str, Any] = _chunk(turn, message) | {
        "done": True,
        "done_reason": "length" if turn.finish == "length" else "stop",
        "total_duration": 1_000_000,
        "load_duration": 100_000,
        "prompt_eval_duration": 400_000,
        "eval_duration": 500_000,
    }
    if usage := turn.reply.usage:
        done |= {"prompt_eval_count": usage.input, "eval_count": usage.output}
    return done


def _call(call: Call) -> dict[str, Any]:
    arguments = call.arguments if call.object is None else call.object
    return {
        "id": call.id,
        "function": {"index": call.index, "name": call.name, "arguments": arguments},
    }
