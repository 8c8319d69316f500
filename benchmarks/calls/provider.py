"""An OpenAI-compatible provider that answers at once: `provider.py [--pieces N] [--gap SECONDS]`.

Prints its port. A streamed reply has N pieces, `gap` seconds apart (0: all at once), each a write
of its own. `GET /count` tells how many replies it has begun.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any

import uvloop

WORDS = "It is done: the note is kept and all is well. "
_USAGE = {"prompt_tokens": 12, "completion_tokens": 8, "total_tokens": 20}
_BASE = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": "bench"}


def whole() -> bytes:
    message = {"role": "assistant", "content": WORDS, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    said = {**_BASE, "object": "chat.completion", "choices": [choice], "usage": _USAGE}
    return _answer(b"application/json", json.dumps(said).encode())


def events(pieces: int) -> list[bytes]:
    """The events of a streamed reply, each as one chunk of HTTP: first word, words, the end."""
    size = -(-len(WORDS) // pieces) if pieces <= len(WORDS) else 8
    texts = [(WORDS * pieces)[place * size : (place + 1) * size] for place in range(pieces)]
    said = [_event({"role": "assistant", "content": ""})]
    said += [_event({"content": text}) for text in texts]
    last = {**_BASE, "object": "chat.completion.chunk", "choices": [], "usage": _USAGE}
    end = _event({}, "stop") + b"data: " + json.dumps(last).encode() + b"\n\ndata: [DONE]\n\n"
    return [b"%x\r\n%b\r\n" % (len(one), one) for one in [*said, end]]


def _event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    chunk = {**_BASE, "object": "chat.completion.chunk", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _answer(kind: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
    return head % (kind, len(body)) + body


class Provider(asyncio.Protocol):
    """One connection; requests follow one another on it."""

    count = 0
    reply = b""
    stream: tuple[bytes, ...] = ()
    gap = 0.0
    _HEAD = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport, self._read = transport, b""

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = self._read[:end].lower()
            _, _, rest = head.partition(b"content-length:")
            length = int(rest.split(b"\r\n", 1)[0] or 0) if rest else 0
            if len(self._read) < end + 4 + length:
                return
            body = self._read[end + 4 : end + 4 + length]
            self._read = self._read[end + 4 + length :]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"get /count"):
            self._transport.write(_answer(b"text/plain", b"%d" % Provider.count))
        elif head.startswith(b"get "):
            models = {"object": "list", "data": [{"id": "bench", "object": "model"}]}
            self._transport.write(_answer(b"application/json", json.dumps(models).encode()))
        else:
            Provider.count += 1
            if json.loads(body).get("stream"):
                self._transport.write(self._HEAD)
                self._go_on(0)
            else:
                self._transport.write(self.reply)

    def _go_on(self, place: int) -> None:
        if self._transport.is_closing():
            return
        while place < len(self.stream):
            self._transport.write(self.stream[place])
            place += 1
            if self.gap:
                asyncio.get_running_loop().call_later(self.gap, self._go_on, place)
                return
        self._transport.write(b"0\r\n\r\n")


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pieces", type=int, default=8)
    parser.add_argument("--gap", type=float, default=0.0)
    wanted = parser.parse_args()
    Provider.reply, Provider.stream = whole(), tuple(events(wanted.pieces))
    Provider.gap = wanted.gap
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Provider, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
