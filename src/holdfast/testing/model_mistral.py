"""Mistral's chat completions: as OpenAI's, but thoughts are pieces of the content."""

from typing import Any

import msgspec

from .model_openai import OpenAI
from .model_script import DialectName
from .model_wire import Piece, Turn, encode


class Mistral(OpenAI):
    """Content is a list of pieces when there are thoughts; usage comes without being asked for."""

    name: DialectName = "mistral"

    def read(self, path: str, body: dict[str, Any]) -> Any:
        asked = super().read(path, body)
        return type(asked)(model=asked.model, messages=asked.messages, streaming=asked.streaming)

    def piece(self, turn: Turn, piece: Piece) -> bytes:
        sent = super().piece(turn, piece)
        if piece.part != "thinking":
            return sent
        event = msgspec.json.decode(sent.removeprefix(b"data: "))
        event["choices"][0]["delta"] = {"content": [_thought(piece.text)]}
        return b"data: " + encode(event) + b"\n\n"

    def whole(self, turn: Turn) -> bytes:
        body = msgspec.json.decode(super().whole(turn))
        if turn.reply.thinking:
            message = body["choices"][0]["message"]
            del message["reasoning_content"]
            said = [{"type": "text", "text": turn.reply.text}] if turn.reply.text else []
            message["content"] = [_thought(turn.reply.thinking), *said]
        return encode(body)


def _thought(text: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}
