"""Requests that may be repeated: the same Idempotency-Key is answered as it was the first time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast.core.error import Conflict, Invalid
from holdfast.core.ids import Instant

_DAY = 86_400_000
_MOST = 2_000
_LARGEST, _ALL = 1 << 18, 32 << 20
_LONGEST_KEY = 200


@dataclass(kw_only=True)
class _Answer:
    """What the first one was answered; until then others wait for `done`."""

    asked: str
    until: Instant
    messages: list[Message] = field(default_factory=list[Message])
    done: anyio.Event = field(default_factory=anyio.Event)
    good: bool = False
    size: int = 0


class Once:
    """Remembers answers for a day, or until the daemon ends; the oldest of very many, or of more
    than 32 MiB, are forgotten before. What failed is asked again."""

    def __init__(self, now: Callable[[], Instant]) -> None:
        self._now = now
        self._answers: dict[tuple[str, str, str], _Answer] = {}
        self._size = 0

    async def answer(self, name: tuple[str, str, str], body: bytes, app: ASGIApp) -> ASGIApp:
        """The app that answers: the one given, or one that says again what was said.

        `name` is who asks, where, and their key. Raises `Invalid` for a key that was used for
        something else, `Conflict` while the first one is still at work.
        """
        if len(name[2]) > _LONGEST_KEY:
            raise Invalid(f"Idempotency-Key: at most {_LONGEST_KEY} characters", code="bad_key")
        self._forget()
        asked, known = hashlib.sha256(body).hexdigest(), self._answers.get(name)
        if known is None:
            self._answers[name] = fresh = _Answer(asked=asked, until=self._now() + _DAY)
            return self._first(name, fresh, app)
        if known.asked != asked:
            what = "this Idempotency-Key was used for another request"
            raise Invalid(what, code="key_reused", hint="make a new one for a new request")
        if not known.done.is_set():
            what = "the request with this Idempotency-Key is still at work"
            raise Conflict(what, code="still_at_work", hint="ask again in a moment")
        return _again(known.messages)

    def _first(self, name: tuple[str, str, str], answer: _Answer, app: ASGIApp) -> ASGIApp:
        async def run(scope: Scope, receive: Receive, send: Send) -> None:
            async def sending(message: Message) -> None:
                if message["type"] == "http.response.start":
                    answer.good = message["status"] < 300
                answer.size += len(message.get("body", b""))
                if answer.size <= _LARGEST:
                    answer.messages.append(dict(message))
                await send(message)

            try:
                await app(scope, receive, sending)
                answer.done.set()
            finally:
                good = answer.done.is_set() and answer.good and answer.size <= _LARGEST
                if self._answers.get(name) is answer:  # not forgotten meanwhile
                    if good:
                        self._size += answer.size
                    else:
                        del self._answers[name]

        return run

    def _forget(self) -> None:
        now = self._now()
        while self._answers:
            oldest = next(iter(self._answers))
            known = self._answers[oldest]
            room = len(self._answers) < _MOST and self._size <= _ALL
            if room and now < known.until:
                return
            self._size -= known.size if known.done.is_set() else 0
            del self._answers[oldest]


def _again(messages: list[Message]) -> ASGIApp:
    async def run(_scope: Scope, _receive: Receive, send: Send) -> None:
        for message in messages:
            more: dict[str, object] = {}
            if message["type"] == "http.response.start":
                more["headers"] = [*message["headers"], (b"idempotency-replayed", b"true")]
            await send({**message, **more})

    return run
