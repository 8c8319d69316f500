"""Logins that a person has begun and not finished yet. They end with the daemon."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio

from holdfast.adapters.models.loading import load_aside
from holdfast.core.error import Invalid, NotAllowed, NotFound, Unavailable
from holdfast.ports.connections import Invitation

from .token import Token
from .vendors import Vendor

_LIFE = 900
_SLOWER = 5


@dataclass(kw_only=True)
class _Attempt:
    """One of them; `begun` is what proves that the answer belongs to it."""

    vendor: Vendor
    begun: Any = field(repr=False)
    ends: float
    interval: float
    next_at: float
    turn: anyio.Lock = field(default_factory=anyio.Lock)


class Attempts:
    """At most one for each vendor. `now` counts seconds and never goes back."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._open: dict[str, _Attempt] = {}

    async def begin(self, vendor: Vendor, *, host: str, registered: str) -> Invitation:
        """`host` names this installation, `registered` the client of an earlier login.

        Raises `Unavailable` and `NotAllowed` as the issuer does.
        """
        grants = await load_aside("logins.grants")
        if vendor.flow == "browser":
            begun: Any = grants.begin_browser(vendor, host=host, registered=registered)
            code, seconds, interval = "", _LIFE, 0
        else:
            with _telling(vendor, grants):
                begun = await grants.begin_device(vendor)
            code, seconds, interval = begun.code, begun.seconds, begun.interval
        for name in [name for name, one in self._open.items() if one.vendor.name == vendor.name]:
            del self._open[name]
        attempt, now = secrets.token_urlsafe(12), self._now()
        self._open[attempt] = _Attempt(
            vendor=vendor, begun=begun, ends=now + seconds, interval=interval, next_at=now
        )
        return Invitation(
            attempt=attempt,
            name=vendor.name,
            url=begun.url,
            code=code,
            seconds=seconds,
            interval=interval,
            note=vendor.note,
        )

    async def finish(self, attempt: str, answer: str) -> tuple[Vendor, Token] | None:
        """The tokens; None while the person is not done. It is over when they are, or it failed.

        The issuer is asked no more often than it wants, however often this is.
        """
        one = self._attempt(attempt)
        async with one.turn:
            self._attempt(attempt)
            grants = await load_aside("logins.grants")
            if one.vendor.flow == "browser":
                code, issued = _code(answer, one.begun.state)
                asked = grants.finish_browser(
                    one.vendor, one.begun, code, time.time(), issued=issued
                )
            elif self._now() < one.next_at:
                return None
            else:
                asked = grants.poll_device(one.vendor, one.begun, time.time())
            try:
                with _telling(one.vendor, grants):
                    found = await asked
            except NotAllowed:
                self._open.pop(attempt, None)
                raise
            if isinstance(found, Token):
                self._open.pop(attempt, None)
                return one.vendor, found
            one.interval += _SLOWER if found.slower else 0
            one.next_at = self._now() + one.interval
        return None

    def _attempt(self, attempt: str) -> _Attempt:
        one = self._open.get(attempt)
        if one is None or self._now() > one.ends:
            self._open.pop(attempt, None)
            raise NotFound("this login is over", code="no_attempt", hint="begin it again")
        return one


class _telling:  # noqa: N801 - reads as a word of the statement
    """The issuer's answers as our errors, which quote no secret."""

    def __init__(self, vendor: Vendor, grants: Any) -> None:
        self._vendor, self._grants = vendor, grants

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        if error is None:
            return
        if isinstance(error, self._grants.Rejected):
            raise _no(self._vendor, str(error)) from None
        if isinstance(error, self._grants.Unreachable):
            what = f"{self._vendor.title} cannot be asked: {error}"
            raise Unavailable(what, code="login_unavailable", hint="try again later") from None


def _no(vendor: Vendor, code: str) -> NotAllowed:
    again = f"begin again: holdfast connect {vendor.name}"
    match code:
        case "access_denied":
            return NotAllowed("the login was denied", code="login_denied", hint=again)
        case "expired_token":
            return NotAllowed("the code was not typed in time", code="login_expired", hint=again)
        case "invalid_client" | "incorrect_client_credentials" | "unauthorized_client":
            hint = f"look at client_id of [models.logins.clients.{vendor.name}]"
            what = f"{vendor.title} does not know this client id"
            return NotAllowed(what, code="bad_client_id", hint=hint)
        case "plan_not_allowed":
            what = "you did not allow the use of your ChatGPT plan"
            return NotAllowed(what, code="login_denied", hint=again)
        case "no_client_was_issued":
            what = "the address does not say which client was registered: paste the whole of it"
            return NotAllowed(what, code="bad_answer", hint=again)
        case _:
            what = f"{vendor.title} refused the login ({code})"
            return NotAllowed(what, code="login_refused", hint=again)


def _code(answer: str, state: str) -> tuple[str, str]:
    """The code, and the client if one was issued, from what was pasted.

    It is `code#state`, or the address that the browser ended at. Without the very state that was
    sent it may be somebody else's login: `NotAllowed`.
    """
    plain = answer.strip()
    if "://" in plain:
        told = parse_qs(urlsplit(plain).query)
        code, said, issued = (
            "".join(told.get(name, [])[:1]) for name in ("code", "state", "client_id")
        )
    else:
        code, _, said = plain.partition("#")
        issued = ""
    if not code:
        hint = "paste the whole address, or code#state as the page shows it"
        raise Invalid("there is no code in what was pasted", code="bad_answer", hint=hint)
    if not hmac.compare_digest(said.encode(), state.encode()):
        hint = "it may be from an earlier login, or somebody else's: begin again"
        what = "the answer does not belong to this login: its state is another"
        raise NotAllowed(what, code="state_mismatch", hint=hint)
    return code, issued
