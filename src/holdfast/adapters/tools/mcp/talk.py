"""A conversation with a server that listens all the time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

import anyio
from msgspec import Raw

from . import messages
from .asked import Host, Requests
from .messages import Message
from .news import News
from .speech import Speech
from .trouble import Gone, Odd, Said, Silent

Hear = Callable[[str], None]
_BURST, _PER_SECOND = 2_000, 200.0
_FAREWELL = 1.0


class Wire(Protocol):
    """Carries messages both ways. Raises `Trouble`; `receive` only `Gone` and `Odd`."""

    async def send(self, message: bytes) -> None: ...
    async def receive(self) -> list[Message]: ...


class Peer(Protocol):
    """Somebody to ask. `mirrors`: what is asked is repeated in headers."""

    host: Host
    speech: Speech
    over: str
    ended: anyio.Event
    news: News

    @property
    def mirrors(self) -> bool: ...

    async def listen(self) -> None:
        """Runs for as long as the conversation does."""
        ...

    async def call(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        seconds: float,
        hear: Hear | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Raw:
        """Ask and wait; told to stop when nobody waits any more. Raises `Trouble`."""
        ...

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None: ...


class _Waiting:
    """A request that waits for its answer."""

    def __init__(self, hear: Hear | None) -> None:
        self.answered = anyio.Event()
        self.message: Message | None = None
        self.hear = hear


class Talk:
    """A `Peer` that says all in one stream. `listen` must be running for the others to work."""

    def __init__(self, lines: Wire, requests: Requests) -> None:
        self._lines, self._requests, self.host = lines, requests, requests.host
        self.speech, self.news = Speech(requests.host), News(requests.host)
        self._ids = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._sending = anyio.Lock()
        self._allowance, self._counted_at = float(_BURST), 0.0
        self.over, self.ended = "", anyio.Event()

    @property
    def mirrors(self) -> bool:
        return False

    async def listen(self) -> None:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._requests.run, self._delivered)
                self.over = await self._hear()
                group.cancel_scope.cancel()
        finally:
            self.over = self.over or "the conversation was ended"
            self.ended.set()
            self._requests.close()
            for waiting in self._waiting.values():
                waiting.answered.set()

    async def call(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        seconds: float,
        hear: Hear | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Raw:
        number, waiting = next(self._ids), _Waiting(hear)
        told = self.speech.worded(params, number if hear else None)
        self._waiting[number] = waiting
        answered = False
        try:
            with anyio.fail_after(seconds):
                await self._send(messages.request(number, method, told))
                await waiting.answered.wait()
            answered = True
        except TimeoutError:
            raise Silent(f"no answer to {method} within {seconds:g} s") from None
        finally:
            del self._waiting[number]
            if not answered and not self.over:
                await self._take_back(number)
        if (message := waiting.message) is None:
            raise Gone(self.over)
        if message.error is not None:
            raise Said(message.error)
        if not bytes(message.result):
            raise Odd(f"the answer to {method} has no result")
        return message.result

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        await self._send(messages.notification(method, params or {}))

    async def _send(self, message: bytes) -> None:
        async with self._sending:
            if self.over:
                raise Gone(self.over, sent=False)
            whole = False
            try:
                await self._lines.send(message)
                whole = True
            finally:
                if not whole:  # what comes next would be read as the rest of it
                    self.over = self.over or "a message to it broke off"
                    self.ended.set()

    async def _take_back(self, number: int) -> None:
        """Tell it that nobody waits any more; it has a moment to read that."""
        params = {"requestId": number, "reason": "nobody waits for it any more"}
        with anyio.move_on_after(_FAREWELL, shield=True), suppress(Gone):
            await self.notify("notifications/cancelled", params)

    async def _delivered(self, message: bytes) -> None:
        with suppress(Gone):
            await self._send(message)

    async def _hear(self) -> str:
        """Returns why it ended."""
        while True:
            try:
                for message in await self._lines.receive():
                    self._take(message)
            except (Gone, Odd) as end:
                return str(end)

    def _take(self, message: Message) -> None:
        if not message.method:
            waiting = self._waiting.get(message.id) if isinstance(message.id, int) else None
            if waiting is None:
                self._count()
            elif not waiting.answered.is_set():
                waiting.message = message
                waiting.answered.set()
            return
        self._count()
        if message.id is not None:
            if not self.speech.stateless:  # then it has no business to ask
                self._requests.take(message)
        elif message.method == "notifications/progress":
            token, text = messages.progress(message)
            found = self._waiting.get(token) if isinstance(token, int) else None
            if found is not None and found.hear is not None:
                found.hear(text)
        else:
            self.news.take(message)

    def _count(self) -> None:
        """What nobody asked for is heard, but not without end. Raises `Odd`."""
        now = anyio.current_time()
        rest = self._allowance + (now - self._counted_at) * _PER_SECOND
        self._allowance, self._counted_at = min(float(_BURST), rest) - 1, now
        if self._allowance < 0:
            raise Odd("it says more than anybody asked for")
