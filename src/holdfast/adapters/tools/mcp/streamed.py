"""The transport of 2024: all that a server says comes in one stream, and it is asked elsewhere."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urljoin

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from holdfast.core.error import HoldfastError, NotAllowed
from holdfast.ports.egress import Answer, Request

from .events import STREAM, Ear, kind_of
from .login.discovery import place_of
from .messages import Message
from .posting import LONG, Way, unknown
from .trouble import Gone, LoginNeeded, Odd, Trouble, TurnedAway

_NOBODY = -1
_SECONDS, _ALL, _WAITING = 60.0, 64 << 20, 1_000
_HEADERS: Mapping[str, str] = {"Accept": STREAM, "User-Agent": "holdfast"}


class Streamed:
    """What a server says in its stream, as if it were lines. `run` must be under way."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._place, self._placed = "", anyio.Event()
        self._trouble: Trouble | None = None
        pipe = anyio.create_memory_object_stream[Message](_WAITING)
        self._said: MemoryObjectSendStream[Message] = pipe[0]
        self._heard: MemoryObjectReceiveStream[Message] = pipe[1]

    async def run(self) -> None:
        """Hear it to its end."""
        ear = Ear(_NOBODY, self._take, self._named)
        try:
            answer = await self._asked("GET", b"", ear)
            if answer.status in (401, 403) and await self._way.refused(answer):
                ear.forget()
                answer = await self._asked("GET", b"", ear)
            self._trouble = _end(answer)
        except Trouble as trouble:
            self._trouble = trouble
        finally:
            self._said.close()
            self._placed.set()

    async def send(self, message: bytes) -> None:
        """Raises `Trouble`."""
        await self._placed.wait()
        if self._trouble is not None:
            raise self._trouble
        answer = await self._asked("POST", message)
        if answer.status in (401, 403) and await self._way.refused(answer):
            answer = await self._asked("POST", message)
        if answer.status in (401, 403):
            raise LoginNeeded(unknown(answer), sent=False)
        if not 200 <= answer.status < 300:
            raise TurnedAway(f"it answers with status {answer.status}", answer.status)

    async def receive(self) -> list[Message]:
        """Raises `Gone`, `Odd`."""
        try:
            return [await self._heard.receive()]
        except anyio.EndOfStream:
            if isinstance(self._trouble, Gone | Odd):
                raise self._trouble from None
            raise Gone(str(self._trouble or "its stream has ended")) from None

    def close(self) -> None:
        self._said.close()
        self._heard.close()

    def _named(self, name: str, data: bytes) -> None:
        """Where it is asked: at the same host and port, or the conversation is over."""
        if name != "endpoint" or self._place:
            return
        place = urljoin(self._way.url, data.decode(errors="replace").strip()[:4_000])
        if place_of(place) != place_of(self._way.url):
            raise Odd(f"it wants to be asked at another place: {place[:200]!r}")
        self._place = place
        self._placed.set()

    def _take(self, message: Message) -> None:
        try:
            self._said.send_nowait(message)
        except (anyio.WouldBlock, anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise Odd("it says more than anybody hears") from None

    async def _asked(self, verb: str, body: bytes, ear: Ear | None = None) -> Answer:
        kind = {"Content-Type": "application/json"} if body else {}
        try:
            return await self._way.fetch(
                Request(
                    url=self._place if body else self._way.url,
                    method=verb,
                    headers={**_HEADERS, **kind},
                    body=body,
                    seconds=LONG if ear else _SECONDS,
                    most=_ALL if ear else 1 << 20,
                    hops=0,
                    hear=ear.hear if ear else None,
                )
            )
        except NotAllowed as refused:
            if refused.code == "mcp_login_needed":
                raise LoginNeeded(str(refused), sent=False) from None
            raise Gone(f"{refused}. {refused.hint}".strip(" ."), sent=False) from None
        except HoldfastError as error:
            raise Gone(str(error)) from None


@asynccontextmanager
async def streamed(way: Way) -> AsyncGenerator[Streamed]:
    """Its stream, heard until the end of this."""
    lines = Streamed(way)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(lines.run)
            yield lines
            group.cancel_scope.cancel()
    finally:
        lines.close()


def _end(answer: Answer) -> Trouble:
    """What the end of a stream means."""
    if answer.status in (401, 403):
        return LoginNeeded(unknown(answer), sent=False)
    if answer.status != 200 or kind_of(answer) != STREAM:
        return TurnedAway(f"it has no stream to answer in (status {answer.status})", answer.status)
    return Gone("its stream has ended")
