"""Sessions of browsers: a cookie that scripts cannot read, and a token that other pages cannot."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers

from holdfast.core.error import NotAllowed
from holdfast.core.ids import Instant
from holdfast.runtime.keyring import digest

COOKIE = "holdfast_session"
CSRF = "X-CSRF-Token"
_MOST = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Who logged in: the name of a key, or empty for the holder of the home's token."""

    key: str
    csrf: str
    expires_at: Instant


class Sessions:
    """All that are open. They end with the daemon: then people log in again."""

    def __init__(self, now: Callable[[], Instant], seconds: int, ring: Callable[[], None]) -> None:
        """`ring` is called when one has ended."""
        self._now, self._seconds, self._ring = now, seconds, ring
        self._open: dict[str, Session] = {}

    @property
    def seconds(self) -> int:
        return self._seconds

    def begin(self, key: str) -> tuple[str, Session]:
        """The cookie's value, and the session. The oldest of very many ends for it."""
        now = self._now()
        self._open = {name: one for name, one in self._open.items() if now < one.expires_at}
        while len(self._open) >= _MOST:
            del self._open[next(iter(self._open))]
            self._ring()
        value = secrets.token_urlsafe(32)
        session = Session(
            key=key, csrf=secrets.token_urlsafe(24), expires_at=now + self._seconds * 1000
        )
        self._open[digest(value)] = session
        return value, session

    def found(self, headers: Headers) -> Session | None:
        session = self._open.get(digest(value(headers)))
        return session if session is not None and self._now() < session.expires_at else None

    def end(self, headers: Headers) -> None:
        self._open.pop(digest(value(headers)), None)
        self._ring()


def value(headers: Headers) -> str:
    jar = SimpleCookie()
    try:
        jar.load(headers.get("cookie", ""))
    except CookieError:
        return ""
    return jar[COOKIE].value if COOKIE in jar else ""


def check_csrf(session: str, headers: Headers) -> None:
    """Another page can make a browser send the cookie, not this header."""
    given = headers.get(CSRF, "")
    if not secrets.compare_digest(given.encode(), session.encode()):
        hint = f"send `{CSRF}` with what the login answered, or GET /api/v1/me"
        raise NotAllowed("the session's CSRF token is missing or wrong", code="csrf", hint=hint)


def set_cookie(value: str, seconds: int, *, secure: bool) -> str:
    kept = f"{COOKIE}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}"
    return f"{kept}; Secure" if secure else kept
