"""Requests over HTTP to one server, by the house's one way out, and what their status says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Literal

import anyio
from msgspec import Struct

from holdfast.core.error import HoldfastError, NotAllowed
from holdfast.ports.egress import Answer, Request

from . import messages
from .events import STREAM, TICKET, Ear, header_of, kind_of
from .login.discovery import challenge_of
from .messages import LARGEST
from .speech import Speech
from .trouble import Forgotten, Gone, LoginNeeded, Odd, Problem, Said, Silent, TurnedAway

Fetch = Callable[[Request], Awaitable[Answer]]
Refused = Callable[[Answer], Awaitable[bool]]
"""What to do about a request that was not taken; True: it may be made once more."""

_SESSION = "mcp-session-id"
_HERE = f"application/json, {STREAM}"
_AFTER = 2.0
LONG = 3_600.0
"""How long a stream may stay open."""


class Way(Struct, frozen=True, kw_only=True):
    """How a server is reached, and what is done when it does not know us."""

    url: str
    fetch: Fetch
    refused: Refused


class Letter(Struct, frozen=True, kw_only=True):
    """One message, what it is about, and what its headers say besides."""

    message: bytes
    method: str = ""
    headers: Mapping[str, str] = {}


class Posting:
    """Makes the requests of one conversation. `session` is the server's name for it, if any."""

    def __init__(self, way: Way, speech: Speech) -> None:
        self._way, self._speech = way, speech
        self.session = ""

    async def post(self, letter: Letter, seconds: float, ear: Ear | None = None) -> Answer:
        """Raises `Trouble` for what is no answer of the protocol."""
        answer = await self._tried(letter, seconds, ear)
        if answer.status in (401, 403) and await self._way.refused(answer):
            if ear is not None:
                ear.forget()
            answer = await self._tried(letter, seconds, ear)
        self.judge(answer, letter.method)
        return answer

    async def drop(self, message: bytes) -> None:
        """Say something, and not mind what becomes of it."""
        with anyio.move_on_after(_AFTER), suppress(HoldfastError):
            await self._asked("POST", Letter(message=message), _AFTER)

    async def hear(self, ear: Ear) -> Answer:
        """A stream of its own, or the rest of one. Raises `HoldfastError`, `Odd`."""
        return await self._asked("GET", Letter(message=b""), LONG, ear)

    async def end(self) -> None:
        """Give the session back, if there is one."""
        if self.session:
            with anyio.move_on_after(_AFTER, shield=True), suppress(HoldfastError):
                await self._asked("DELETE", Letter(message=b""), _AFTER)

    def judge(self, answer: Answer, method: str) -> None:
        """Raises `Trouble` for what is no answer of the protocol."""
        if answer.cut:
            raise Odd(f"the answer to {method} has more than {LARGEST >> 20} MiB")
        if answer.status in (401, 403):
            raise LoginNeeded(unknown(answer), sent=False)
        if answer.status == 404 and self.session:
            self.session = ""
            raise Forgotten("it has forgotten the session", sent=False)
        if not 200 <= answer.status < 300:
            if 400 <= answer.status < 500 and (problem := _problem(answer)):
                raise Said(problem)
            raise TurnedAway(f"it answers {method} with status {answer.status}", answer.status)
        ticket = header_of(answer, _SESSION)
        if ticket and not self.session and not self._speech.stateless:
            if not TICKET.fullmatch(ticket):
                raise Odd("the name of its session makes no sense")
            self.session = ticket

    async def _tried(self, letter: Letter, seconds: float, ear: Ear | None) -> Answer:
        try:
            return await self._asked("POST", letter, seconds, ear)
        except NotAllowed as refused:
            if refused.code == "mcp_login_needed":
                raise LoginNeeded(str(refused), sent=False) from None
            raise Gone(f"{refused}. {refused.hint}".strip(" ."), sent=False) from None
        except HoldfastError as error:
            if error.code == "egress_timeout":
                raise Silent(f"no answer to {letter.method} within {seconds:g} s") from None
            raise Gone(str(error)) from None

    async def _asked(
        self,
        verb: Literal["GET", "POST", "DELETE"],
        letter: Letter,
        seconds: float,
        ear: Ear | None = None,
    ) -> Answer:
        headers = {"Accept": _HERE, "User-Agent": "holdfast"}
        if verb == "GET" and ear is not None:
            last = {"Last-Event-ID": ear.last} if ear.last else {}
            headers |= {"Accept": STREAM, **last}
        if letter.message:
            headers["Content-Type"] = "application/json"
        if self.session:
            headers["Mcp-Session-Id"] = self.session
        return await self._way.fetch(
            Request(
                url=self._way.url,
                method=verb,
                headers={**headers, **self._speech.header, **letter.headers},
                body=letter.message,
                seconds=seconds,
                most=LARGEST,
                hops=0,
                hear=ear.hear if ear else None,
            )
        )


def _problem(answer: Answer) -> Problem | None:
    """What a server says in the words of the protocol about a request that it does not take."""
    if kind_of(answer) != "application/json":
        return None
    try:
        return next((one.error for one in messages.heard(answer.body) if one.error), None)
    except Odd:
        return None


def unknown(answer: Answer) -> str:
    """Why a server does not take what we ask: it does not know us, or not well enough."""
    told = challenge_of(answer.headers)
    if told.error == "insufficient_scope" or (answer.status == 403 and told.scopes):
        return f"it wants a login with more rights: {' '.join(told.scopes)[:200]}"
    return f"it wants to know who asks (status {answer.status})"
