"""Embeddings in the dialects that have them: OpenAI's, which Ollama speaks too, and Gemini's."""

import base64
import hashlib
import struct
from typing import Any, cast
from urllib.parse import unquote

from . import model_bedrock, model_gemini, model_openai
from .model_wire import Asked, Turn, encode

_LENGTH = 8


def vector_of(text: str) -> tuple[float, ...]:
    """What the server answers for `text` unless the script says otherwise: always the same."""
    digest = hashlib.sha256(text.encode()).digest()[:_LENGTH]
    return tuple(byte / 256 - 0.5 for byte in digest)


class OpenAIEmbeddings(model_openai.OpenAI):
    """/v1/embeddings: numbers, or base64 where that is asked for. A reply's `usage` is reported."""

    def read(self, path: str, body: dict[str, Any]) -> Asked:
        given: object = body["input"]
        texts = [given] if isinstance(given, str) else [str(x) for x in cast("list[object]", given)]
        return Asked(
            model=str(body["model"]),
            messages=[{"role": "user", "content": text} for text in texts],
            streaming=False,
            texts=tuple(texts),
            coded=body.get("encoding_format") == "base64",
        )

    def whole(self, turn: Turn) -> bytes:
        vectors = _vectors(turn)
        rows = [
            {"object": "embedding", "index": at, "embedding": _coded(v) if turn.coded else v}
            for at, v in enumerate(vectors)
        ]
        if turn.reply.shuffled:
            rows.reverse()
        answer: dict[str, Any] = {"object": "list", "data": rows, "model": turn.model}
        if usage := turn.reply.usage:
            answer["usage"] = {"prompt_tokens": usage.input, "total_tokens": usage.input}
        return encode(answer)


class GeminiEmbeddings(model_gemini.Gemini):
    """batchEmbedContents, which does not say what was used."""

    def read(self, path: str, body: dict[str, Any]) -> Asked:
        model, _, _ = path.removeprefix(model_gemini.PATH).rpartition(":")
        contents = [request["content"] for request in body["requests"]]
        texts = ["".join(part.get("text", "") for part in one["parts"]) for one in contents]
        return Asked(model=model, messages=contents, streaming=False, texts=tuple(texts))

    def whole(self, turn: Turn) -> bytes:
        return encode({"embeddings": [{"values": vector} for vector in _vectors(turn)]})


class BedrockEmbeddings(model_bedrock.Bedrock):
    """Titan's InvokeModel: one text at a time."""

    def read(self, path: str, body: dict[str, Any]) -> Asked:
        model, _, _ = path.removeprefix(model_bedrock.PATH).rpartition("/")
        text = str(body["inputText"])
        said = [{"role": "user", "content": text}]
        return Asked(model=unquote(model), messages=said, streaming=False, texts=(text,))

    def whole(self, turn: Turn) -> bytes:
        (vector,) = _vectors(turn)
        counted = turn.reply.usage.input if turn.reply.usage else 0
        return encode({"embedding": vector, "inputTextTokenCount": counted})


def _vectors(turn: Turn) -> tuple[tuple[float, ...], ...]:
    given = turn.reply.vectors
    return tuple(map(vector_of, turn.texts)) if given is None else given


def _coded(vector: tuple[float, ...]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
