"""What every model dialect shares: a turn to render, its pieces, and how they are sent."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Protocol

import msgspec

from .model_script import DialectName, Finish, Reply

encode = msgspec.json.encode
NOT_JSON = b"<html><body><h1>502 Bad Gateway</h1></body></html>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A scripted call with the id and place it has in its turn."""

    index: int
    id: str
    name: str
    arguments: dict[str, Any] | str

    @property
    def raw(self) -> str:
        """The arguments as text, exactly as scripted when they are not JSON."""
        return (
            self.arguments if isinstance(self.arguments, str) else encode(self.arguments).decode()
        )

    @property
    def object(self) -> dict[str, Any] | None:
        """The arguments as an object; None if they are not one."""
        try:
            return msgspec.json.decode(self.raw, type=dict[str, Any])
        except msgspec.DecodeError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of one content block, as streamed. `block` counts the turn's blocks from 0."""

    part: Literal["thinking", "text"] | Call
    block: int
    text: str
    first: bool
    last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One reply about to be rendered: the server's `number`th, `created` in epoch seconds."""

    number: int
    model: str
    created: int
    reply: Reply
    calls: tuple[Call, ...]
    wants_usage: bool
    texts: tuple[str, ...] = ()
    coded: bool = False
    others: int | None = None

    @property
    def finish(self) -> Finish:
        return self.reply.finish or ("tool_calls" if self.calls else "stop")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a dialect reads from a request; `texts` to embed, as base64 if `coded`.

    `others`: with each token how likely it was, and this many others; None: nothing of that.
    """

    model: str
    messages: list[dict[str, Any]]
    streaming: bool
    wants_usage: bool = True
    texts: tuple[str, ...] = ()
    coded: bool = False
    others: int | None = None


def likely(text: str, others: int | None) -> list[dict[str, Any]]:
    """How likely each word was: as likely as the next one, and each of the others less."""
    if others is None:
        return []
    return [
        _odds(word, -0.1)
        | {"top_logprobs": [_odds(word + "s" * i, -1.0 * i) for i in range(others)]}
        for word in re.findall(r"\s*\S+|\s+", text)
    ]


def _odds(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "bytes": [*token.encode()], "logprob": logprob}


class Dialect(Protocol):
    """One provider's wire format. Pure: no method keeps anything between calls."""

    @property
    def name(self) -> DialectName: ...
    @property
    def stream_type(self) -> str: ...
    def read(self, path: str, body: dict[str, Any]) -> Asked: ...
    def opening(self, turn: Turn) -> bytes: ...
    def piece(self, turn: Turn, piece: Piece) -> bytes: ...
    def closing(self, turn: Turn) -> bytes: ...
    def whole(self, turn: Turn) -> bytes: ...
    def garbage(self) -> bytes: ...
    def failure(self, status: int, message: str, reply: Reply) -> bytes: ...


def number_calls(reply: Reply, turn: int) -> tuple[Call, ...]:
    return tuple(
        Call(
            index=index,
            id=call.id or f"call_{turn}_{index}",
            name=call.name,
            arguments=call.arguments,
        )
        for index, call in enumerate(reply.calls)
    )


def pieces(turn: Turn) -> Iterator[Piece]:
    parts: list[tuple[Literal["thinking", "text"] | Call, str]] = []
    if turn.reply.thinking:
        parts.append(("thinking", turn.reply.thinking))
    if turn.reply.text:
        parts.append(("text", turn.reply.text))
    parts.extend((call, call.raw) for call in turn.calls)
    for block, (part, text) in enumerate(parts):
        slices = _split(text, turn.reply.chunks)
        last = len(slices) - 1
        for at, slice_ in enumerate(slices):
            yield Piece(part=part, block=block, text=slice_, first=at == 0, last=at == last)


def _split(text: str, count: int) -> list[str]:
    """At most `count` slices, none empty (unless the text is), as equal as can be."""
    count = max(1, min(count, len(text)))
    edges = [len(text) * at // count for at in range(count + 1)]
    return [text[start:end] for start, end in pairwise(edges)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is sent and how it ends. No `chunk_delay` precedes the first `unpaced` frames."""

    content_type: str
    frames: list[bytes]
    ending: Literal["complete", "abrupt", "stall"]
    unpaced: int = 0


def plan(dialect: Dialect, turn: Turn, *, streaming: bool) -> Plan:
    return _plan_stream(dialect, turn) if streaming else _plan_whole(dialect, turn)


def _plan_stream(dialect: Dialect, turn: Turn) -> Plan:
    reply = turn.reply
    body = [dialect.piece(turn, piece) for piece in pieces(turn)]
    frames = [dialect.opening(turn), *body]
    if reply.malformed:
        frames = [*frames[: 1 + len(body) // 2], dialect.garbage()]
    elif reply.cut is not None:
        frames = frames[: 1 + reply.cut]
    elif reply.stall:
        frames = frames[: 1 + len(body) // 2]
    else:
        frames.append(dialect.closing(turn))
    return Plan(content_type=dialect.stream_type, frames=frames, ending=_ending(reply), unpaced=2)


def _plan_whole(dialect: Dialect, turn: Turn) -> Plan:
    reply = turn.reply
    if reply.malformed:
        return Plan(content_type="application/json", frames=[NOT_JSON], ending=_ending(reply))
    body = dialect.whole(turn)
    if reply.stall or reply.cut is not None:
        body = body[: len(body) // 2]
    return Plan(content_type="application/json", frames=[body], ending=_ending(reply))


def _ending(reply: Reply) -> Literal["complete", "abrupt", "stall"]:
    if reply.stall:
        return "stall"
    return "abrupt" if reply.cut is not None and not reply.cut_cleanly else "complete"
