"""The OpenAI responses dialect."""

from typing import Any

from .model_openai import OpenAI
from .model_script import DialectName, Usage
from .model_wire import Asked, Call, Piece, Turn, encode, likely

# What a model thought, sealed: clients must send it back untouched.
_SEALED = "c2NyaXB0ZWQgdGhpbmtpbmc="
_Part = str | Call


class Responses(OpenAI):
    """Items of output, each added, filled by deltas and done; errors are as in chat completions."""

    name: DialectName = "responses"

    def read(self, path: str, body: dict[str, Any]) -> Asked:
        given: list[dict[str, Any]] | str = body["input"]
        messages = [{"role": "user", "content": given}] if isinstance(given, str) else given
        odds = "message.output_text.logprobs" in (body.get("include") or ())
        return Asked(
            model=str(body["model"]),
            messages=messages,
            streaming=bool(body.get("stream")),
            others=body.get("top_logprobs") or 0 if odds else None,
        )

    def opening(self, turn: Turn) -> bytes:
        begun = _response(turn, [], "in_progress", None)
        return _event("response.created", 0, response=begun) + _event(
            "response.in_progress", 1, response=begun
        )

    def piece(self, turn: Turn, piece: Piece) -> bytes:
        number, item = 2 + piece.block, _item(turn, piece.block, piece.part, "", done=False)
        sent = b""
        if piece.first:
            place = {"output_index": piece.block}
            sent = _event("response.output_item.added", number, item=item, **place)
            sent += _filling(number, piece, item)
        kind, place = _delta(piece, item)
        sent += _event(f"response.{kind}.delta", number, delta=piece.text, **place)
        if piece.last:
            sent += _done(turn, number, piece)
        return sent

    def closing(self, turn: Turn) -> bytes:
        answer = _answer(turn)
        return _event(f"response.{answer['status']}", 10_000, response=answer)

    def whole(self, turn: Turn) -> bytes:
        return encode(_answer(turn))

    def garbage(self) -> bytes:
        return b'event: response.output_text.delta\ndata: {"type": "response.output_text.d\n\n'


def _filling(number: int, piece: Piece, item: dict[str, Any]) -> bytes:
    """What comes between an item and its first words."""
    place = {"item_id": item["id"], "output_index": piece.block}
    match piece.part:
        case "thinking":
            part = {"type": "summary_text", "text": ""}
            kind = "response.reasoning_summary_part.added"
            return _event(kind, number, part=part, summary_index=0, **place)
        case "text":
            part = _text("")
            kind = "response.content_part.added"
            return _event(kind, number, part=part, content_index=0, **place)
        case Call():
            return b""


def _delta(piece: Piece, item: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    place: dict[str, Any] = {"item_id": item["id"], "output_index": piece.block}
    match piece.part:
        case "thinking":
            return "reasoning_summary_text", {**place, "summary_index": 0}
        case "text":
            return "output_text", {**place, "content_index": 0}
        case Call():
            return "function_call_arguments", place


def _done(turn: Turn, number: int, piece: Piece) -> bytes:
    text = {"thinking": turn.reply.thinking, "text": turn.reply.text}
    said = piece.part.raw if isinstance(piece.part, Call) else text[piece.part]
    item = _item(turn, piece.block, piece.part, said, done=True)
    kind, place = _delta(piece, item)
    word = "arguments" if isinstance(piece.part, Call) else "text"
    if piece.part == "text":
        place["logprobs"] = likely(said, turn.others)
    sent = _event(f"response.{kind}.done", number, **{word: said}, **place)
    return sent + _event("response.output_item.done", number, item=item, output_index=piece.block)


def _item(turn: Turn, block: int, part: _Part, said: str, *, done: bool) -> dict[str, Any]:
    status = "completed" if done else "in_progress"
    if isinstance(part, Call):
        return {
            "id": f"fc_{turn.number}_{block}",
            "type": "function_call",
            "status": status,
            "call_id": part.id,
            "name": part.name,
            "arguments": said,
        }
    if part == "thinking":
        summary = [{"type": "summary_text", "text": said}] if done else []
        return {
            "id": f"rs_{turn.number}_{block}",
            "type": "reasoning",
            "summary": summary,
            "encrypted_content": _SEALED if done else None,
        }
    content = [_text(said) | {"logprobs": likely(said, turn.others)}] if done else []
    return {
        "id": f"msg_{turn.number}_{block}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _text(said: str) -> dict[str, Any]:
    return {"type": "output_text", "text": said, "annotations": []}


def _answer(turn: Turn) -> dict[str, Any]:
    reply = turn.reply
    parts: list[tuple[_Part, str]] = []
    if reply.thinking:
        parts.append(("thinking", reply.thinking))
    if reply.text:
        parts.append(("text", reply.text))
    parts += [(call, call.raw) for call in turn.calls]
    output = [_item(turn, block, part, said, done=True) for block, (part, said) in enumerate(parts)]
    cut = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(turn.finish)
    return _response(turn, output, "incomplete" if cut else "completed", cut)


def _response(
    turn: Turn, output: list[dict[str, Any]], status: str, cut: str | None
) -> dict[str, Any]:
    usage = turn.reply.usage
    return {
        "id": f"resp_{turn.number}",
        "object": "response",
        "created_at": turn.created,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": {"reason": cut} if cut else None,
        "instructions": None,
        "metadata": {},
        "model": turn.model,
        "output": output,
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": _usage(usage) if usage and status != "in_progress" else None,
    }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write,
        },
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    }


def _event(kind: str, number: int, **fields: object) -> bytes:
    body = {"type": kind, "sequence_number": number} | fields
    return b"event: " + kind.encode() + b"\ndata: " + encode(body) + b"\n\n"
