"""Logins to servers of tools, as people make and end them."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Sequence

from msgspec import Struct

from holdfast.core.error import HoldfastError, Invalid, NotAllowed, NotFound, Unavailable
from holdfast.core.ids import Instant
from holdfast.core.mcp import LoginSpec, ServerSpec
from holdfast.ports.mcp import ServerLogin

from . import discovery, grants
from .asking import Asking, NoLogin, Rejected
from .discovery import Challenge, Issuer
from .grants import Begun, Client, Wish
from .shelf import Kept, made
from .use import InUse, Means

_log = logging.getLogger("holdfast.mcp")
_LIFE = 900_000
_MOST = 20
_REDIRECT = "http://127.0.0.1:7898/callback"
_LOOPBACK = re.compile(r"http://(?:127\.0\.0\.1|\[::1\]|localhost):[0-9]{1,5}/[!-~]*")


class _Attempt(Struct, frozen=True, kw_only=True):
    """A login that waits for a person."""

    spec: ServerSpec
    issuer: Issuer
    client: Client
    wish: Wish
    begun: Begun
    ends: Instant


class Logins:
    """Implements `ports.ServerLogins`; `used` is what the house does with them."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self.used = InUse(means)
        self._attempts: dict[str, _Attempt] = {}

    async def all(self) -> Sequence[ServerLogin]:
        return [self._state(one) for one in self._means.all() if self._matters(one)]

    async def begin(self, name: str, redirect: str = "") -> ServerLogin:
        spec = self._means.find(name)
        if not spec.url:
            what = f"{name} is a command: there is nothing to log in to"
            raise Invalid(what, code="no_login", hint=f"holdfast mcp test {name}")
        redirect, reach = _redirect(spec.login, redirect), self._means.reach(name)
        asking = self.used.asking(spec, reach)
        try:
            if spec.login.grant == "own":
                await self.used.by_ourselves(spec, reach)
                return self._state(spec)
            challenge = self.used.heard(spec) or await self._knocked(spec, asking)
            resource = await discovery.resource_of(asking, spec.url, challenge)
            issuer = await discovery.issuer_of(asking, resource)
            kept, choose = self.used.found(spec), self.used.clients.choose
            client = await choose(spec, asking, issuer, kept, redirect)
            wish = self.used.wish(spec, resource, issuer)
            begun = grants.begun(issuer, client, wish)
        except NoLogin as problem:
            raise _told(name, problem) from None
        ends = self._means.clock.now() + _LIFE
        return self._waiting(
            _Attempt(spec=spec, issuer=issuer, client=client, wish=wish, begun=begun, ends=ends)
        )

    async def finish(self, attempt: str, answer: str) -> ServerLogin:
        one, now = self._attempts.get(attempt), self._means.clock.now()
        if one is None or now > one.ends:
            self._attempts.pop(attempt, None)
            raise NotFound("this login is over", code="no_attempt", hint="begin it again")
        spec, name = one.spec, one.spec.name
        asking = self.used.asking(spec, self._means.reach(name))
        try:
            code = grants.code_of(answer, one.begun, one.issuer)
            self._attempts.pop(attempt, None)
            asked = grants.by_code(code, one.begun, one.client, one.wish)
            granted = await grants.exchanged(asking, one.issuer, one.client, asked, now)
        except NoLogin as problem:
            raise _told(name, problem) from None
        given = bool(spec.login.client_secret)
        kept = made(spec.url, one.issuer, one.client, one.wish, own_secret=given)
        await self.used.keep(name, kept.with_new(granted))
        _log.info("logged in to the server %s by %s", name, one.issuer.name)
        return self._state(spec)

    async def finish_for(self, name: str, answer: str) -> ServerLogin:
        """The login to a server that was begun last."""
        named = [key for key, one in self._attempts.items() if one.spec.name == name]
        return await self.finish(named[-1] if named else "", answer)

    async def forget(self, name: str, *, local_only: bool) -> bool:
        spec, revoked = self._means.find(name), False
        kept = self.used.found(spec)
        if kept is not None and not local_only and (token := kept.refresh or kept.access):
            asking = self.used.asking(spec, self._means.reach(name))
            try:
                client = await self.used.clients.of(spec, kept)
                revoked = await grants.revoked(asking, kept.issuer, client, token)
            except HoldfastError as problem:  # what proves who we are is gone: it is forgotten here
                _log.warning("the login to %s was not taken back: %s", name, problem)
        await self.used.drop(spec)
        return revoked

    async def _knocked(self, spec: ServerSpec, asking: Asking) -> Challenge:
        """What it says when somebody comes without a login, where that was not heard yet."""
        answer = await asking.knock(spec.url)
        if answer.status in (401, 403):
            self.used.hear(spec, discovery.challenge_of(answer.headers))
        return self.used.heard(spec) or Challenge()

    def _matters(self, spec: ServerSpec) -> bool:
        asked = spec.login != LoginSpec() or self.used.heard(spec) is not None
        return bool(spec.url) and (asked or self.used.found(spec) is not None)

    def _waiting(self, one: _Attempt) -> ServerLogin:
        """At most one for each server, and not many in all."""
        others = list(self._attempts.items())[-_MOST:]
        self._attempts = {key: other for key, other in others if other.spec.name != one.spec.name}
        attempt = secrets.token_urlsafe(12)
        self._attempts[attempt] = one
        return ServerLogin(
            server=one.spec.name,
            state="begun",
            issuer=one.issuer.name,
            scopes=one.wish.scopes,
            expires_at=one.ends,
            attempt=attempt,
            url=one.begun.url,
            redirect=one.client.redirect,
        )

    def _state(self, spec: ServerSpec) -> ServerLogin:
        kept, name = self.used.found(spec), spec.name
        hint = f"holdfast mcp login {name}"
        if kept is None:
            said = "it wants a login" if self.used.wanted(spec) else "nobody is logged in"
            return ServerLogin(server=name, state="none", note=f"{said}: {hint}")
        over, own = self._over(kept, spec), spec.login.grant == "own"
        more = (self.used.heard(spec) or Challenge()).scopes
        note = f"it wants more ({' '.join(more)}): {hint}" if more else ""
        return ServerLogin(
            server=name,
            state="over" if over else "in",
            issuer=kept.issuer.name,
            scopes=kept.scopes,
            expires_at=kept.expires_at,
            lasts=bool(kept.refresh) or own,
            note=f"only a new login helps: {hint}" if over else note,
        )

    def _over(self, kept: Kept, spec: ServerSpec) -> bool:
        ended = kept.ended(self._means.clock.now()) and not kept.refresh
        return kept.over or (ended and spec.login.grant == "person")


def _redirect(login: LoginSpec, asked: str) -> str:
    """Where the browser ends: as the owner says, or a place on the person's own machine."""
    if asked and not _LOOPBACK.fullmatch(asked):
        hint = "like http://127.0.0.1:7898/callback"
        what = "a login may end on the person's own machine only"
        raise Invalid(what, code="bad_redirect", hint=hint)
    return login.redirect or asked or _REDIRECT


def _told(name: str, problem: NoLogin) -> HoldfastError:
    hint = f"holdfast mcp login {name}"
    what = f"no login to the server {name}: {problem}"
    if isinstance(problem, Rejected):
        return NotAllowed(what, code=problem.code, hint=hint)
    return Unavailable(what, code=problem.code, hint=hint)
