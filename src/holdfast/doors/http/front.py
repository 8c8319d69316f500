"""What every answer carries, whatever it is: a request's id, headers for browsers, and CORS."""

from __future__ import annotations

import re
import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .access import Access, is_here

REQUEST_ID = "X-Request-Id"
ID = "holdfast.request"
"""Key of the scope: the request's id."""

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_USUAL = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
_STRICT = "max-age=31536000"
_METHODS = "GET, HEAD, POST, PATCH, PUT, DELETE, OPTIONS"
_SHOWN = f"{REQUEST_ID}, Retry-After, RateLimit, RateLimit-Policy, ETag, Location"
_ASKED_DEFAULT = "authorization, content-type"
_REMEMBERED = "3600"


class Front:
    """Stands before everything else. A door may set any of these headers itself."""

    def __init__(self, app: ASGIApp, *, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        scope[ID] = _id(headers)
        usual = {REQUEST_ID: scope[ID], **_USUAL}
        # A browser would remember it of all that is ever at this machine's own name.
        if self._access.scheme(scope) == "https" and not is_here(headers.get("host", "")):
            usual["Strict-Transport-Security"] = _STRICT
        usual |= self._for_page(headers)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = MutableHeaders(scope=message)
                for name, value in usual.items():
                    told.setdefault(name, value)
            await send(message)

        if self._is_preflight(scope, headers):
            asked = headers.get("access-control-request-headers", _ASKED_DEFAULT)
            await Response(None, 204, _preflight(asked))(scope, receive, sending)
            return
        await self._app(scope, receive, sending)

    def _for_page(self, headers: Headers) -> dict[str, str]:
        """A page that is trusted may read the answer; no cookie ever goes with its requests."""
        if not self._access.origins:
            return {}
        origin = headers.get("origin", "")
        if origin not in self._access.origins:
            return {"Vary": "Origin"}
        return {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": _SHOWN,
            "Cross-Origin-Resource-Policy": "cross-origin",
        }

    def _is_preflight(self, scope: Scope, headers: Headers) -> bool:
        return (
            scope["method"] == "OPTIONS"
            and "access-control-request-method" in headers
            and headers.get("origin", "") in self._access.origins
        )


def _preflight(asked: str) -> dict[str, str]:
    return {
        "Access-Control-Allow-Methods": _METHODS,
        "Access-Control-Allow-Headers": asked[:1_000],
        "Access-Control-Max-Age": _REMEMBERED,
    }


def _id(headers: Headers) -> str:
    """The asker's own, if it is one that can stand in a log."""
    given = headers.get(REQUEST_ID, "")
    return given if _ID.fullmatch(given) else secrets.token_hex(8)
