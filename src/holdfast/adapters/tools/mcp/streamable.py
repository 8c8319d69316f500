"""A conversation in which every question is one HTTP request."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import partial
from typing import Any

import anyio
from msgspec import Raw

from holdfast.core.error import HoldfastError
from holdfast.ports.egress import Answer

from . import messages
from .asked import Requests
from .events import STREAM, Ear, kind_of
from .messages import Message
from .news import News
from .posting import Letter, Posting, Way
from .speech import Speech
from .talk import Hear
from .trouble import Forgotten, Gone, LoginNeeded, Odd, Said, Silent, TurnedAway

_CANCELLED, _BEGUN = "notifications/cancelled", "notifications/initialized"
_AFTER = 2.0
_NOBODY = -1
_RESUMED = 50


class Streamable:
    """A `Peer` at an address. It speaks only while it is asked; `listen` answers what it asks."""

    def __init__(self, way: Way, requests: Requests) -> None:
        self._requests, self.host = requests, requests.host
        self.speech, self.news = Speech(requests.host), News(requests.host)
        self._posting = Posting(way, self.speech)
        self._ids = itertools.count(1)
        self._open = anyio.Event()
        self.over, self.ended = "", anyio.Event()

    @property
    def mirrors(self) -> bool:
        return self.speech.stateless

    async def listen(self) -> None:
        """Until it is over or cancelled; then the session is given back, if there is one."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._requests.run, self._posting.drop)
                group.start_soon(self._overhear)
                await self.ended.wait()
                group.cancel_scope.cancel()
        finally:
            self._end("the conversation was ended")
            self._requests.close()
            await self._posting.end()

    async def call(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        seconds: float,
        hear: Hear | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Raw:
        number = next(self._ids)
        told = self.speech.worded(params, number if hear else None)
        ear = Ear(number, partial(self._unasked, hear))
        more = {**self.speech.about(method, params), **(headers or {})}
        question = messages.request(number, method, told)
        answered = False
        try:
            with anyio.fail_after(seconds):
                letter = Letter(message=question, method=method, headers=more)
                answer = await self._posted(letter, seconds, ear)
                found = await self._found(answer, method, ear)
            answered = True
        except TimeoutError:
            raise Silent(f"no answer to {method} within {seconds:g} s") from None
        except (Said, TurnedAway, LoginNeeded):
            answered = True
            raise
        except Forgotten as forgotten:
            self._end(str(forgotten))
            raise
        finally:
            if not (answered or self.over or self.speech.stateless):
                await self._take_back(number)
        if found is None:
            raise Gone(f"the answer to {method} ended before it was whole")
        if found.error is not None:
            raise Said(found.error)
        if not bytes(found.result):
            raise Odd(f"the answer to {method} has no result")
        return found.result

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        message = messages.notification(method, params or {})
        await self._posted(Letter(message=message, method=method), _AFTER)
        if method == _BEGUN:
            self._open.set()

    def _unasked(self, hear: Hear | None, message: Message) -> None:
        """What it says besides the answer. Raises `Odd` when it asks for too much."""
        if message.method == "notifications/progress":
            if hear is not None:
                hear(messages.progress(message)[1])
        elif message.id is None:
            self.news.take(message)
        elif message.method and not self.speech.stateless:
            self._requests.take(message)

    async def _overhear(self) -> None:
        """What it says and asks of itself comes in a stream of its own, if it has one."""
        await self._open.wait()
        ear = Ear(_NOBODY, partial(self._unasked, None))
        for _ in range(_RESUMED):
            try:
                answer = await self._posting.hear(ear)
                if answer.status != 200 or kind_of(answer) != STREAM:
                    return
            except (HoldfastError, Odd):
                if not ear.last:
                    return
            await anyio.sleep(ear.pause)

    async def _take_back(self, number: int) -> None:
        """Tell it that nobody waits any more: a closed connection does not say so to servers with
        sessions."""
        params = {"requestId": number, "reason": "nobody waits for it any more"}
        with anyio.CancelScope(shield=True):
            await self._posting.drop(messages.notification(_CANCELLED, params))

    async def _posted(self, letter: Letter, seconds: float, ear: Ear | None = None) -> Answer:
        if self.over:
            raise Gone(self.over, sent=False)
        return await self._posting.post(letter, seconds, ear)

    async def _found(self, answer: Answer, method: str, ear: Ear) -> Message | None:
        """The answer. A stream that the server closed before it goes on where it says."""
        found = ear.found or ear.whole(answer, method)
        for _ in range(_RESUMED):
            if found is not None or not ear.last or self.speech.stateless:
                break
            await anyio.sleep(ear.pause)
            try:
                answer = await self._posting.hear(ear)
            except HoldfastError as error:
                raise Gone(f"its answer could not be taken up again: {error}") from None
            self._posting.judge(answer, method)
            found = ear.found or ear.whole(answer, method)
        return found

    def _end(self, why: str) -> None:
        self.over = self.over or why
        self.ended.set()
