"""Nothing outlives the key or session it was begun with: streams, waits and sockets end with it.

The gate holds every answer to that, so no stream has to. Whoever reads on is told that they have
left, which ends what waits for them; what is written after it goes nowhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol, TypeVar

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast.core.error import HoldfastError

from .errors import Unauthenticated

ENDED = "holdfast.ended"
"""Key of the scope: a function that returns when the key or session of whoever asks has ended."""

T = TypeVar("T")


class Lasting(Protocol):
    """How long whoever opened something may go on hearing."""

    def still(self, scope: Scope) -> bool: ...

    async def until_ended(self, scope: Scope) -> None: ...


class Line:
    """Between one request and its app, once the gate has let it in.

    An answer that was whole when the key ended, as to its own revocation, is given. One that was
    under way ends there; who had none yet hears why. What had not been asked to its end by then
    was not asked: a body that was begun with the key and goes on after it is not read.
    """

    def __init__(self, lasting: Lasting, scope: Scope, receive: Receive, send: Send) -> None:
        self._lasting, self._scope = lasting, scope
        self._receive, self._send = receive, send
        self._heard_all = False
        self._begun = self._over = self._gone = False
        self._lived = True

    async def carry(self, app: ASGIApp) -> None:
        """Raises `Unauthenticated` for who waited for an answer in vain, and what the app does."""
        try:
            await app(self._scope, self._receiving, self._sending)
        except HoldfastError:
            if not self._gone:
                raise
        if self._over or self._scope["type"] != "http" or self._lasting.still(self._scope):
            return
        if not self._begun:
            raise _over()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _receiving(self) -> Message:
        if not self._heard_all:
            message = await self._receive()
            http = self._scope["type"] == "http"
            if http and not self._lasting.still(self._scope):
                raise _over()
            self._heard_all = http and not message.get("more_body", False)
            return message
        found: list[Message] = []
        async with anyio.create_task_group() as group:
            group.start_soon(self._until_ended, group.cancel_scope)
            found.append(await self._receive())
            group.cancel_scope.cancel()
        self._gone = self._gone or not found
        return found[0] if found else {"type": "http.disconnect"}

    async def _until_ended(self, scope: anyio.CancelScope) -> None:
        await self._lasting.until_ended(self._scope)
        scope.cancel()

    async def _sending(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self._lived = self._lasting.still(self._scope)
        elif kind in ("http.response.body", "websocket.send"):
            self._gone = self._gone or (self._lived and not self._lasting.still(self._scope))
        if self._gone and kind != "websocket.close":
            return
        self._begun = True
        self._over = kind == "http.response.body" and not message.get("more_body", False)
        await self._send(message)


def _over() -> Unauthenticated:
    return Unauthenticated("the key or session has ended", hint="holdfast key list")


async def ended(scope: MutableMapping[str, Any]) -> None:
    """Returns when the key or session of whoever asks has ended; for those without one, never."""
    until: Callable[[], Awaitable[None]] = scope.get(ENDED, anyio.sleep_forever)
    await until()


async def when_ended(scope: MutableMapping[str, Any], work: anyio.CancelScope) -> None:
    """Break `work` off once they have."""
    await ended(scope)
    work.cancel()


async def while_known(scope: MutableMapping[str, Any], work: Callable[[], Awaitable[T]]) -> T:
    """What `work` gives; broken off when the key or session of whoever asks ends.

    Raises `Unauthenticated` then.
    """
    done: list[T] = []
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(when_ended, scope, group.cancel_scope)
            done.append(await work())
            group.cancel_scope.cancel()
    except BaseExceptionGroup as failed:  # only `work` can have
        raise failed.exceptions[0] from None
    if done:
        return done[0]
    raise _over()
