"""Who is asking: the peer of a Unix socket, or the holder of the token; and no web page ever."""

from __future__ import annotations

import ipaddress
import pwd
import secrets

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.core.error import NotAllowed

from .errors import Unauthenticated

PEER = "holdfast.peer"
"""Key of the connection's state: the user id at the other end of a Unix socket."""

BY = "holdfast.by"
"""Key of the scope: the principal."""

TOKEN_HOLDER = "token:default"  # noqa: S105 - a name, not a token


class Gate:
    """Lets a request in, with its principal, or refuses it. Nothing in a header names a person."""

    def __init__(self, app: ASGIApp, *, token: str, public: frozenset[str]) -> None:
        if not token:
            raise ValueError("a door without a token would let anybody in")
        self._app, self._token, self._public = app, token.encode(), public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope[BY] = self._principal(scope)
        await self._app(scope, receive, send)

    def _principal(self, scope: Scope) -> str:
        headers = Headers(scope=scope)
        uid = peer(scope)
        _refuse_foreign_pages(headers)
        if uid is not None:
            return f"user:{_name(uid)}"
        _refuse_other_names(headers)
        if self._holds_token(headers):
            return TOKEN_HOLDER
        if scope["path"] in self._public:
            return ""
        hint = "send `Authorization: Bearer …` with what the file `token` in the home holds"
        raise Unauthenticated("the token is missing or wrong", hint=hint)

    def _holds_token(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        right = secrets.compare_digest(given.strip().encode(), self._token)
        return right and scheme.lower() == "bearer"


def peer(scope: Scope) -> int | None:
    """The user at the other end of a Unix socket; None over TCP."""
    return scope.get("state", {}).get(PEER)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _refuse_other_names(headers: Headers) -> None:
    """A web page may point its own name at this machine; the name then tells on it."""
    named = headers.getlist("host")
    if len(named) != 1 or not _is_here(named[0]):
        told = ", ".join(named) or "nothing"
        hint = "ask for 127.0.0.1, [::1] or localhost"
        raise NotAllowed(f"the Host header names {told}", code="wrong_host", hint=hint)


def _refuse_foreign_pages(headers: Headers) -> None:
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{headers.get('host', '')}":
        raise NotAllowed(f"pages of {origin} may not ask", code="foreign_origin")


def _is_here(host: str) -> bool:
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower().rstrip(".") == "localhost"
