"""A conversation in which every question is one HTTP request, by the house's one way out."""

from __future__ import annotations

import itertools
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import anyio
from msgspec import Raw

from holdfast.core.error import HoldfastError, NotAllowed
from holdfast.ports.egress import Answer, Request

from . import messages
from .messages import LARGEST, Message
from .talk import Hear
from .trouble import Gone, LoginNeeded, Odd, Said, Silent

Fetch = Callable[[Request], Awaitable[Answer]]
_SESSION = "mcp-session-id"
_TICKET = re.compile(r"[\x21-\x7e]{1,256}")
_HERE = "application/json, text/event-stream"
_CANCELLED = "notifications/cancelled"
_AFTER = 2.0
_MOST = 10_000


class Streamable:
    """A `Peer` at an address. It speaks only when it is asked, so nothing has to listen."""

    def __init__(self, url: str, fetch: Fetch) -> None:
        self._url, self._fetch = url, fetch
        self._ids = itertools.count(1)
        self._session = self._protocol = ""
        self.over, self.ended, self.changed = "", anyio.Event(), anyio.Event()

    def begun(self, protocol: str) -> None:
        self._protocol = protocol

    async def listen(self) -> None:
        """Until cancelled; then the session is given back, if there is one."""
        try:
            await self.ended.wait()
        finally:
            self._end("the conversation was ended")
            if self._session:
                with anyio.move_on_after(_AFTER, shield=True), suppress(HoldfastError):
                    await self._asked("DELETE", b"", _AFTER)

    async def call(
        self, method: str, params: Mapping[str, Any], *, seconds: float, hear: Hear | None = None
    ) -> Raw:
        number = next(self._ids)
        told = {**params, "_meta": {"progressToken": number}} if hear else params
        answered = False
        try:
            answer = await self._posted(messages.request(number, method, told), method, seconds)
            answered = True
        finally:
            if not (answered or self.over):
                await self._take_back(number)
        found: Message | None = None
        for message in self._heard(answer, method):
            if message.id == number and not message.method:
                found = found or message
            elif message.method == "notifications/tools/list_changed":
                self.changed.set()
            elif message.method == "notifications/progress" and hear is not None:
                hear(messages.progress(message)[1])
        if found is None:
            raise Gone(f"the answer to {method} ended before it was whole")
        if found.error is not None:
            raise Said(found.error.message, found.error.code)
        if not bytes(found.result):
            raise Odd(f"the answer to {method} has no result")
        return found.result

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        await self._posted(messages.notification(method, params or {}), method, _AFTER)

    async def _take_back(self, number: int) -> None:
        """Tell it that nobody waits any more: a closed connection does not say so."""
        params = {"requestId": number, "reason": "nobody waits for it any more"}
        with anyio.move_on_after(_AFTER, shield=True), suppress(HoldfastError):
            await self._asked("POST", messages.notification(_CANCELLED, params), _AFTER)

    async def _posted(self, message: bytes, method: str, seconds: float) -> Answer:
        if self.over:
            raise Gone(self.over, sent=False)
        try:
            answer = await self._asked("POST", message, seconds)
        except NotAllowed as refused:
            raise Gone(f"{refused}. {refused.hint}".strip(" ."), sent=False) from None
        except HoldfastError as error:
            if error.code == "egress_timeout":
                raise Silent(f"no answer to {method} within {seconds:g} s") from None
            raise Gone(str(error)) from None
        self._judge(answer, method)
        return answer

    def _judge(self, answer: Answer, method: str) -> None:
        """Raises `Trouble` for what is no answer of the protocol."""
        if answer.cut:
            raise Odd(f"the answer to {method} has more than {LARGEST >> 20} MiB")
        if answer.status in (401, 403):
            raise LoginNeeded(f"it wants to know who asks (status {answer.status})", sent=False)
        if answer.status == 404 and self._session:
            self._session = ""
            self._end("it has forgotten the session")
            raise Gone(self.over, sent=False)
        if not 200 <= answer.status < 300:
            raise Gone(f"it answers {method} with status {answer.status}")
        ticket = _header(answer, _SESSION)
        if ticket and not self._session:
            if not _TICKET.fullmatch(ticket):
                raise Odd("the name of its session makes no sense")
            self._session = ticket

    async def _asked(self, method: str, body: bytes, seconds: float) -> Answer:
        headers = {"Accept": _HERE, "User-Agent": "holdfast"}
        if body:
            headers["Content-Type"] = "application/json"
        if self._protocol:
            headers["MCP-Protocol-Version"] = self._protocol
        if self._session:
            headers["Mcp-Session-Id"] = self._session
        return await self._fetch(
            Request(
                url=self._url,
                method=method,
                headers=headers,
                body=body,
                seconds=seconds,
                most=LARGEST,
                hops=0,
            )
        )

    def _heard(self, answer: Answer, method: str) -> Iterator[Message]:
        kind = _header(answer, "content-type").partition(";")[0].strip().lower()
        if kind == "application/json":
            yield from messages.heard(answer.body)
            return
        if kind != "text/event-stream":
            raise Odd(f"the answer to {method} is {kind[:60] or 'of no kind'}")
        for number, data in enumerate(_events(answer.body)):
            if number >= _MOST:
                raise Odd("it says more than anybody asked for")
            yield from messages.heard(data)

    def _end(self, why: str) -> None:
        self.over = self.over or why
        self.ended.set()


def _events(body: bytes) -> Iterator[bytes]:
    """The data of each whole event that has some."""
    data: list[bytes] = []
    for line in re.split(rb"\r\n|\r|\n", body):
        if not line:
            if data and any(data):
                yield b"\n".join(data)
            data = []
        elif line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))


def _header(answer: Answer, name: str) -> str:
    return next((text for key, text in answer.headers.items() if key.lower() == name), "")
