"""Who is asking: the peer of a Unix socket, the holder of the token, a key or a session."""

from __future__ import annotations

import pwd
import secrets
from functools import partial
from urllib.parse import parse_qsl

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast.core.error import Invalid
from holdfast.core.ids import Instant
from holdfast.runtime.house import House

from .access import EVERY, GRANT, Access, Grant, grant
from .cookies import Sessions, check_csrf
from .ending import ENDED, Line
from .errors import TooLarge, Unauthenticated
from .pace import Buckets, Pace, TooMany
from .scopes import is_of_all_agents, needed

PEER = "holdfast.peer"
"""Key of the connection's state: the user id at the other end of a Unix socket."""

BY = "holdfast.by"
"""Key of the scope: the principal."""

TOKEN_HOLDER = "token:default"  # noqa: S105 - a name, not a token
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_TELLING = frozenset({"token", "access_token", "api_key", "apikey", "key"})
_SECRETS = ("hfk_",)


class Locks:
    """What a key, a token or a cookie is worth here, and how often one may try."""

    def __init__(self, token: str, house: House, sessions: Sessions, access: Access) -> None:
        if not token:
            raise ValueError("a door without a token would let anybody in")
        self._token, self._ring, self._clock = token.encode(), house.keys, house.clock
        self._sessions, self._access = sessions, access
        self._buckets = Buckets()

    def opened_by(self, text: str) -> Grant | None:
        """Whose key or token it is. Both are looked at, whichever it might be."""
        holds = secrets.compare_digest(text.encode(), self._token)
        key = self._ring.known(text, self._now())
        if holds:
            return Grant(by=TOKEN_HOLDER)
        return Grant(by=f"key:{key.name}", key=key) if key else None

    def session(self, headers: Headers) -> Grant | None:
        """Whose session it is; it ends with its key."""
        found = self._sessions.found(headers)
        if found is None:
            return None
        if not found.key:
            return Grant(by=TOKEN_HOLDER, csrf=found.csrf)
        key = self._ring.named(found.key, self._now())
        return Grant(by=f"key:{key.name}", key=key, csrf=found.csrf) if key else None

    def still(self, scope: Scope) -> bool:
        """Whether whoever opened a stream may go on hearing: keys and sessions end meanwhile."""
        had = grant(scope)
        if had.csrf:
            now = self.session(Headers(scope=scope))
            return now is not None and now.key == had.key
        return had.key is None or self._ring.named(had.key.name, self._now()) == had.key

    async def until_ended(self, scope: Scope) -> None:
        """Returns when their key or session has ended, or may do less than it could."""
        had = grant(scope)
        while had.key is not None or had.csrf:
            changed = self._ring.changed
            if not self.still(scope):
                return
            session = self._sessions.found(Headers(scope=scope)) if had.csrf else None
            ends = (had.key.expires_at if had.key else 0, session.expires_at if session else 0)
            await self._clock.wait(changed, min(filter(None, ends), default=None))
        await anyio.sleep_forever()

    def count_try(self, scope: Scope) -> None:
        """A wrong key costs; a right one never waits for those who guess. Raises `TooMany`."""
        tries, address = self._access.tries_per_minute, self._access.client(scope)
        pace = self._buckets.take(f"try {address}", tries, tries, anyio.current_time())
        if pace is not None and pace.left < 0:
            raise TooMany("too many wrong keys", pace)

    def paced(self, asker: Grant) -> Pace | None:
        """How a key stands after this request. Raises `TooMany`."""
        if (key := asker.key) is None:
            return None
        pace = self._buckets.take(asker.by, key.per_minute, key.burst, anyio.current_time())
        if pace is not None and pace.left < 0:
            raise TooMany(f"{asker.by} may ask {key.per_minute} times a minute", pace)
        return pace

    def _now(self) -> Instant:
        return self._clock.now()


class Gate:
    """Lets a request in, with its principal, or refuses it. Nothing in a header names a person."""

    def __init__(self, app: ASGIApp, *, locks: Locks, access: Access) -> None:
        self._app, self._locks, self._access = app, locks, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        asker = self._known(scope, headers)
        scope[GRANT], scope[BY] = asker, asker.by
        pace = self._locks.paced(asker)
        _check_use(asker, scope, headers)
        taken = _capped(headers, receive, self._access.max_body)
        said = send if pace is None else _saying(send, pace)
        if asker.key is None and not asker.csrf:
            await self._app(scope, taken, said)
            return
        scope[ENDED] = partial(self._locks.until_ended, scope)
        await Line(self._locks, scope, taken, said).carry(self._app)

    def _known(self, scope: Scope, headers: Headers) -> Grant:
        _refuse_secrets_in(scope)
        uid = peer(scope)
        self._access.check_page(scope, headers)
        if uid is not None:
            return Grant(by=f"user:{_name(uid)}")
        self._access.check_host(headers)
        given = _given(headers)
        if found := self._locks.opened_by(given) if given else self._locks.session(headers):
            return found
        if Grant(by="").may(needed(_method(scope), scope["path"])):
            return Grant(by="")
        if given:
            self._locks.count_try(scope)
        hint = (
            "send `Authorization: Bearer …` with a key (holdfast key create), or with what the "
            "file `token` in the home holds"
        )
        raise Unauthenticated("the key is missing or wrong", hint=hint)


def _check_use(asker: Grant, scope: Scope, headers: Headers) -> None:
    need = needed(_method(scope), scope["path"])
    if not asker.may(need):
        asker.check(need or "admin")
    if is_of_all_agents(scope["path"]):
        asker.check_agent(EVERY)
    if asker.csrf and _method(scope) not in _SAFE:
        check_csrf(asker.csrf, headers)


def peer(scope: Scope) -> int | None:
    """The user at the other end of a Unix socket; None over TCP."""
    return scope.get("state", {}).get(PEER)


def _method(scope: Scope) -> str:
    return scope.get("method", "GET")


def _given(headers: Headers) -> str:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    return "" if scheme else headers.get("x-api-key", "").strip()


def _refuse_secrets_in(scope: Scope) -> None:
    """An address ends up in histories, logs and other pages' referrers: a key in it is lost."""
    query = scope.get("query_string", b"").decode("latin-1")
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name.lower() in _TELLING or value.startswith(_SECRETS):
            hint = "send it as `Authorization: Bearer …`; and make a new one, this one was shown"
            raise Invalid(f"{name[:40]}: no key in an address", code="key_in_url", hint=hint)


def _capped(headers: Headers, receive: Receive, most: int) -> Receive:
    """No door reads more than that, and none reads anything before it knows who asks."""
    told = headers.get("content-length", "")
    if told.isdecimal() and (len(told) > len(str(most)) or int(told) > most):
        raise _too_large(most)
    read = 0

    async def receiving() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > most:
            raise _too_large(most)
        return message

    return receiving


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"the body is larger than {most} bytes")


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _saying(send: Send, pace: Pace) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in pace.headers().items():
                headers[name] = value
        await send(message)

    return sending
