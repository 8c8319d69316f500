"""A conversation in which every question is one HTTP request, by the house's one way out."""

from __future__ import annotations

import itertools
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
from msgspec import Raw

from holdfast.core.error import HoldfastError, NotAllowed
from holdfast.ports.egress import Answer, Request

from . import messages
from .asked import Requests
from .login.discovery import challenge_of
from .messages import LARGEST, Message
from .talk import Hear
from .trouble import Gone, LoginNeeded, Odd, Said, Silent

Fetch = Callable[[Request], Awaitable[Answer]]
Refused = Callable[[Answer], Awaitable[bool]]
"""What to do about a request that was not taken; True: it may be made once more."""
_SESSION = "mcp-session-id"
_TICKET = re.compile(r"[\x21-\x7e]{1,256}")
_HERE = "application/json, text/event-stream"
_CANCELLED = "notifications/cancelled"
_AFTER = 2.0
_MOST = 10_000
_NOBODY = -1
_RESUMED, _PAUSE, _LONGEST_PAUSE, _LONG = 50, 1.0, 60.0, 3_600.0
_BREAK = re.compile(rb"\r\n|\n|\r(?!\n|$)")


class Streamable:
    """A `Peer` at an address. It speaks only while it is asked; `listen` answers what it asks."""

    def __init__(self, url: str, fetch: Fetch, refused: Refused, requests: Requests) -> None:
        self._url, self._fetch, self._refused, self._requests = url, fetch, refused, requests
        self.host = requests.host
        self._ids = itertools.count(1)
        self._session = self._protocol = ""
        self._open = anyio.Event()
        self.over, self.ended, self.changed = "", anyio.Event(), anyio.Event()

    def begun(self, protocol: str) -> None:
        self._protocol = protocol

    async def listen(self) -> None:
        """Until it is over or cancelled; then the session is given back, if there is one."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._requests.run, self._delivered)
                group.start_soon(self._overhear)
                await self.ended.wait()
                group.cancel_scope.cancel()
        finally:
            self._end("the conversation was ended")
            self._requests.close()
            if self._session:
                with anyio.move_on_after(_AFTER, shield=True), suppress(HoldfastError):
                    await self._asked("DELETE", b"", _AFTER)

    async def call(
        self, method: str, params: Mapping[str, Any], *, seconds: float, hear: Hear | None = None
    ) -> Raw:
        number = next(self._ids)
        told = {**params, "_meta": {"progressToken": number}} if hear else params
        ear = _Ear(number, partial(self._unasked, hear))
        answered = False
        try:
            question = messages.request(number, method, told)
            with anyio.fail_after(seconds):
                answer = await self._posted_to(question, method, seconds, ear)
                found = await self._found(answer, method, ear)
            answered = True
        except TimeoutError:
            raise Silent(f"no answer to {method} within {seconds:g} s") from None
        finally:
            if not (answered or self.over):
                await self._take_back(number)
        if found is None:
            raise Gone(f"the answer to {method} ended before it was whole")
        if found.error is not None:
            raise Said(found.error.message, found.error.code)
        if not bytes(found.result):
            raise Odd(f"the answer to {method} has no result")
        return found.result

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        await self._posted_to(messages.notification(method, params or {}), method, _AFTER)
        if method == "notifications/initialized":
            self._open.set()

    def _unasked(self, hear: Hear | None, message: Message) -> None:
        """What it says besides the answer. Raises `Odd` when it asks for too much."""
        if message.method == "notifications/tools/list_changed":
            self.changed.set()
        elif message.method == "notifications/progress" and hear is not None:
            hear(messages.progress(message)[1])
        elif message.method and message.id is not None:
            self._requests.take(message)

    async def _overhear(self) -> None:
        """What it says and asks of itself comes in a stream of its own, if it has one."""
        await self._open.wait()
        ear = _Ear(_NOBODY, partial(self._unasked, None))
        for _ in range(_RESUMED):
            try:
                answer = await self._asked("GET", b"", _LONG, ear)
                if answer.status != 200 or _kind(answer) != "text/event-stream":
                    return
            except (HoldfastError, Odd):
                if not ear.last:
                    return
            await anyio.sleep(ear.pause)

    async def _delivered(self, message: bytes) -> None:
        with suppress(HoldfastError):
            await self._asked("POST", message, _AFTER)

    async def _take_back(self, number: int) -> None:
        """Tell it that nobody waits any more: a closed connection does not say so."""
        params = {"requestId": number, "reason": "nobody waits for it any more"}
        with anyio.move_on_after(_AFTER, shield=True), suppress(HoldfastError):
            await self._asked("POST", messages.notification(_CANCELLED, params), _AFTER)

    async def _posted_to(
        self, message: bytes, method: str, seconds: float, ear: _Ear | None = None
    ) -> Answer:
        if self.over:
            raise Gone(self.over, sent=False)
        answer = await self._tried(message, method, seconds, ear)
        if answer.status in (401, 403) and await self._refused(answer):
            if ear is not None:
                ear.forget()
            answer = await self._tried(message, method, seconds, ear)
        self._judge(answer, method)
        return answer

    async def _tried(self, message: bytes, method: str, seconds: float, ear: _Ear | None) -> Answer:
        try:
            return await self._asked("POST", message, seconds, ear)
        except NotAllowed as refused:
            if refused.code == "mcp_login_needed":
                raise LoginNeeded(str(refused), sent=False) from None
            raise Gone(f"{refused}. {refused.hint}".strip(" ."), sent=False) from None
        except HoldfastError as error:
            if error.code == "egress_timeout":
                raise Silent(f"no answer to {method} within {seconds:g} s") from None
            raise Gone(str(error)) from None

    async def _found(self, answer: Answer, method: str, ear: _Ear) -> Message | None:
        """The answer. A stream that the server closed before it goes on where it says."""
        found = ear.found or self._whole(answer, method, ear)
        for _ in range(_RESUMED):
            if found is not None or not ear.last:
                break
            await anyio.sleep(ear.pause)
            try:
                answer = await self._asked("GET", b"", _LONG, ear)
            except HoldfastError as error:
                raise Gone(f"its answer could not be taken up again: {error}") from None
            self._judge(answer, method)
            found = ear.found or self._whole(answer, method, ear)
        return found

    def _judge(self, answer: Answer, method: str) -> None:
        """Raises `Trouble` for what is no answer of the protocol."""
        if answer.cut:
            raise Odd(f"the answer to {method} has more than {LARGEST >> 20} MiB")
        if answer.status in (401, 403):
            raise LoginNeeded(_why(answer), sent=False)
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

    async def _asked(
        self, method: str, body: bytes, seconds: float, ear: _Ear | None = None
    ) -> Answer:
        headers = {"Accept": _HERE, "User-Agent": "holdfast"}
        if method == "GET" and ear is not None:
            last = {"Last-Event-ID": ear.last} if ear.last else {}
            headers |= {"Accept": "text/event-stream", **last}
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
                hear=ear.hear if ear else None,
            )
        )

    def _whole(self, answer: Answer, method: str, ear: _Ear) -> Message | None:
        """The answer that is no stream of events, or what was left of one. Raises `Odd`."""
        kind = _kind(answer)
        if kind == "text/event-stream":
            ear.hear(b"\n\n")
        elif kind == "application/json":
            for message in messages.heard(answer.body):
                ear.take(message)
        else:
            raise Odd(f"the answer to {method} is {kind[:60] or 'of no kind'}")
        return ear.found

    def _end(self, why: str) -> None:
        self.over = self.over or why
        self.ended.set()


class _Ear:
    """Hears a stream of events as it comes, until the answer to one question is among them."""

    def __init__(self, number: int, unasked: Callable[[Message], None]) -> None:
        self._number, self._unasked = number, unasked
        self._held = bytearray()
        self._data: list[bytes] = []
        self._count = 0
        self.found: Message | None = None
        self.last, self.pause = "", _PAUSE

    def forget(self) -> None:
        """What was heard so far was no part of an answer."""
        self._held.clear()
        self._data.clear()

    def hear(self, piece: bytes) -> bool:
        """True once the answer is there. Raises `Odd`."""
        self._held += piece
        if not (piece and _BREAK.search(piece)):
            return False
        *lines, rest = _BREAK.split(bytes(self._held))
        self._held = bytearray(rest)
        for line in lines:
            self._line(line)
        return self.found is not None

    def take(self, message: Message) -> None:
        """Raises `Odd` for more than anybody asked for."""
        if message.id == self._number and not message.method:
            self.found = self.found or message
            return
        self._count += 1
        if self._count > _MOST:
            raise Odd("it says more than anybody asked for")
        self._unasked(message)

    def _line(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
        elif line.startswith(b"id:"):
            told = line[3:].strip().decode(errors="replace")
            self.last = told if _TICKET.fullmatch(told) else self.last
        elif line.startswith(b"retry:") and (told := line[6:].strip()).isdigit():
            self.pause = min(int(told[:9]) / 1000, _LONGEST_PAUSE)
        elif not line:
            data, self._data = b"\n".join(self._data), []
            for message in messages.heard(data) if data.strip() else ():
                self.take(message)


def _why(answer: Answer) -> str:
    told = challenge_of(answer.headers)
    if told.error == "insufficient_scope" or (answer.status == 403 and told.scopes):
        return f"it wants a login with more rights: {' '.join(told.scopes)[:200]}"
    return f"it wants to know who asks (status {answer.status})"


def _kind(answer: Answer) -> str:
    return _header(answer, "content-type").partition(";")[0].strip().lower()


def _header(answer: Answer, name: str) -> str:
    return next((text for key, text in answer.headers.items() if key.lower() == name), "")
