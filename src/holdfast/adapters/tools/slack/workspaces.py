"""The workspaces that people have connected: logging in and out, and a token that never runs out.

A token is renewed when it is used near its end, and while nobody uses it; whoever asks meanwhile
waits for that one renewal. What is new is on the disk before it is used, for the old right is void.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NoReturn

import anyio
from anyio import to_thread
from msgspec import Struct
from msgspec.structs import replace

from holdfast.adapters.tools.mcp.login import grants
from holdfast.adapters.tools.mcp.login.asking import Asking, Json, NoLogin, Rejected, text
from holdfast.adapters.tools.mcp.login.discovery import Issuer
from holdfast.adapters.tools.mcp.login.grants import Begun
from holdfast.core.error import HoldfastError, Invalid, NotAllowed, NotFound, Unavailable
from holdfast.core.ids import Instant
from holdfast.core.reach import Reach
from holdfast.ports.clock import Clock
from holdfast.ports.egress import Egress
from holdfast.ports.vault import Vault

from .shelf import Kept, Shelf

_log = logging.getLogger("holdfast.slack")
_LIFE = 900_000
_MOST = 20
_SOON, _RESTING, _AGAIN = 300_000, 7_200_000, 300_000
_REDIRECT = "http://127.0.0.1:7898/callback"
_ALIAS = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_ENDS = re.compile(r"(?:https://|http://(?:127\.0\.0\.1|\[::1\]|localhost)[:/])[!-~]{1,500}")
_OVER = frozenset(
    ["invalid_refresh_token", "invalid_grant", "token_revoked", "token_expired", "account_inactive"]
)
SCOPES = (
    *("channels:history", "groups:history", "im:history", "mpim:history"),
    *("search:read", "users:read", "users:read.email", "im:write", "mpim:write", "chat:write"),
)


class Means(Struct, frozen=True, kw_only=True):
    """What workspaces need. `reach`: how somebody outside of any task goes out to Slack; `api` is
    where its methods are, and `near` says that this is on this machine."""

    vault: Vault
    egress: Egress
    clock: Clock
    reach: Callable[[], Reach]
    api: str

    @property
    def near(self) -> bool:
        return self.api.startswith("http://")

    @property
    def issuer(self) -> Issuer:
        root = self.api.removesuffix("/api")
        return Issuer(
            name=root,
            authorize=f"{root}/oauth/v2/authorize",
            token=f"{self.api}/oauth.v2.access",
        )


class Workspace(Struct, frozen=True, kw_only=True):
    """A workspace as people see it. Holds no secret.

    `begun`: a person finishes `attempt` at `authorize`, which ends at `redirect`. `over`: only a
    new login helps. `expires_at`: when the token ends, 0 when nobody says; `lasts`: it is renewed.
    """

    alias: str
    state: Literal["none", "begun", "in", "over"]
    team: str = ""
    team_id: str = ""
    user: str = ""
    user_id: str = ""
    url: str = ""
    scopes: tuple[str, ...] = ()
    expires_at: Instant = 0
    lasts: bool = False
    attempt: str = ""
    authorize: str = ""
    redirect: str = ""
    note: str = ""


class _Attempt(Struct, frozen=True, kw_only=True):
    """A login that waits for a person; `team` is the one that it must be."""

    alias: str
    kept: Kept
    begun: Begun
    team: str
    ends: Instant


class _Wish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person says when they log in; empty is as before, or as is usual."""

    client_id: str = ""
    client_secret: str = ""
    team: str = ""
    scopes: tuple[str, ...] = ()
    redirect: str = ""


class Workspaces:
    """All workspaces of a house: for people (`all` to `forget`), and for the way out (`token`)."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._shelf = Shelf(means.vault, means.api)
        self._attempts: dict[str, _Attempt] = {}
        self._turns: dict[str, anyio.Lock] = {}
        self._later: dict[str, Instant] = {}
        self._changed = anyio.Event()

    # For people.

    async def all(self) -> Sequence[Workspace]:
        return [_state(alias, kept) for alias, kept in sorted(self._shelf.all().items())]

    async def begin(self, alias: str, told: Mapping[str, Any]) -> Workspace:
        """What proves who we are is kept from now on, whatever becomes of the login."""
        if not _ALIAS.fullmatch(alias):
            hint = "letters in lower case, digits, - and _, like work"
            raise Invalid(f"{alias[:40]!r} is no name for a workspace", code="bad_alias", hint=hint)
        wish, now = _Wish(**told), self._means.clock.now()
        async with self._turn(alias):
            old = self._shelf.all().get(alias) or Kept(api=self._means.api, client="")
            kept = _app(alias, wish, old)
            if not kept.usable or kept.client == old.client:
                await to_thread.run_sync(self._shelf.keep, alias, kept)  # else the old one needs it
        asked = {"user_scope": ",".join(wish.scopes or kept.scopes or SCOPES)}
        asked |= {"team": wish.team} if wish.team else {}
        begun = grants.begun_for(self._means.issuer, kept.app, asked)
        others = list(self._attempts.items())[-_MOST:]
        self._attempts = {key: one for key, one in others if one.alias != alias}
        attempt, ends = secrets.token_urlsafe(12), now + _LIFE
        self._attempts[attempt] = _Attempt(
            alias=alias, kept=kept, begun=begun, team=wish.team, ends=ends
        )
        return Workspace(
            alias=alias,
            state="begun",
            scopes=tuple(asked["user_scope"].split(",")),
            expires_at=ends,
            attempt=attempt,
            authorize=begun.url,
            redirect=kept.redirect,
        )

    async def finish(self, attempt: str, answer: str) -> Workspace:
        one, now = self._attempts.get(attempt), self._means.clock.now()
        if one is None or now > one.ends:
            self._attempts.pop(attempt, None)
            raise NotFound("this login is over", code="no_attempt", hint="begin it again")
        issuer, asking = self._means.issuer, self._asking()
        try:
            code = grants.code_of(answer, one.begun, issuer)
            self._attempts.pop(attempt, None)
            asked = {"grant_type": "authorization_code", "code": code}
            asked |= {"code_verifier": one.begun.verifier, "redirect_uri": one.kept.redirect}
            granted = await grants.exchanged(asking, issuer, one.kept.app, asked, now)
            kept = one.kept.with_new(granted, now)
            kept = _known(kept, await _said(asking, kept, "auth.test"))
        except NoLogin as problem:
            raise _told(one.alias, problem) from None
        if one.team and one.team != kept.team_id:
            await self._revoked(kept)
            what = f"that was the workspace {kept.team} ({kept.team_id}), not {one.team}"
            raise NotAllowed(what, code="slack_other_team", hint="nothing of it was kept")
        async with self._turn(one.alias):
            await self._keep(one.alias, kept)
        _log.info("logged in to the Slack workspace %s as %s", kept.team_id, one.alias)
        return _state(one.alias, kept)

    async def forget(self, alias: str, *, local_only: bool) -> bool:
        """Whether Slack has taken the token back."""
        async with self._turn(alias):
            kept, revoked = self._shelf.all().get(alias), False
            if kept is not None and kept.access and not local_only:
                revoked = await self._revoked(kept)
            gone = await to_thread.run_sync(self._shelf.drop, alias)
        if kept is None and not gone:
            raise _unknown(alias)
        self._attempts = {key: one for key, one in self._attempts.items() if one.alias != alias}
        self._changed.set()
        return revoked

    # For tools, and the way out.

    @property
    def means(self) -> Means:
        return self._means

    def usable(self) -> Mapping[str, Kept]:
        """Those that tools may be used in. One that is over stays: its tools say what to do."""
        try:
            return {alias: one for alias, one in self._shelf.all().items() if one.team_id}
        except HoldfastError as problem:
            _log.warning("%s", problem)
            return {}

    async def token(self, alias: str, reach: Reach) -> str:
        """The token that counts now, for a request of one of our tools. Raises `NotAllowed`."""
        kept = self._shelf.all().get(alias)
        if kept is None or not kept.usable or not reach.tool.startswith("slack_"):
            raise _needed(alias, f"nobody is logged in to the Slack workspace {alias}")
        if 0 < kept.due(_SOON) <= self._means.clock.now():
            kept = await self.renewed(alias, kept.access)
        if alias in self._shelf.unsaved:  # on the disk before it is used
            async with self._turn(alias):
                await self._keep(alias, self._shelf.all().get(alias, kept))
        return kept.access

    async def renewed(self, alias: str, rejected: str) -> Kept:
        """One with a token that is not the `rejected` one: one renewal for all who ask.

        Raises `NotAllowed` where none is to be had.
        """
        async with self._turn(alias):
            kept = self._shelf.all().get(alias)
            if kept is None or not kept.usable:
                raise _needed(alias, f"nobody is logged in to the Slack workspace {alias}")
            if kept.access != rejected:
                return kept
            fresh = list[Kept]()
            # Once Slack has answered, the old right may be void: what is new is kept first.
            with anyio.CancelScope(shield=True):
                fresh.append(await self._renew(alias, kept))
        return fresh[0]

    async def keep(self) -> None:
        """Renew what nobody uses before it ends, for as long as this runs."""
        while True:
            self._changed, now = anyio.Event(), self._means.clock.now()
            for alias, kept in dict(self.usable()).items():
                if 0 < self._next(alias, kept) <= now:
                    self._later[alias] = now + _AGAIN
                    await self._tried(alias, kept.access)
            due = (self._next(alias, kept) for alias, kept in self.usable().items())
            await self._means.clock.wait(self._changed, min(filter(None, due), default=None))

    def _turn(self, alias: str) -> anyio.Lock:
        """Nobody else changes what is kept of a workspace: a renewal under way, whose answer voids
        the old right, comes first."""
        return self._turns.setdefault(alias, anyio.Lock())

    async def _tried(self, alias: str, access: str) -> None:
        try:
            await self.renewed(alias, access)
        except HoldfastError as problem:
            _log.warning("the Slack workspace %s: %s", alias, problem)

    def _next(self, alias: str, kept: Kept) -> Instant:
        """When it is to be renewed though nobody uses it, and when again if that failed."""
        due = kept.due(_RESTING)
        return max(due, self._later.get(alias, 0)) if due else 0

    async def _renew(self, alias: str, kept: Kept) -> Kept:
        now = self._means.clock.now()
        asked = {"grant_type": "refresh_token", "refresh_token": kept.refresh}
        if not kept.refresh:
            return await self._over(alias, kept, "token_expired")
        try:
            issuer, asking = self._means.issuer, self._asking()
            granted = await grants.exchanged(asking, issuer, kept.app, asked, now)
        except Rejected as no:
            if no.word not in _OVER:
                return _while_it_lasts(alias, kept, now, no)
            return await self._over(alias, kept, no.word)
        except NoLogin as problem:
            return _while_it_lasts(alias, kept, now, problem)
        fresh = kept.with_new(granted, now)
        await self._keep(alias, fresh)
        _log.info("the token of the Slack workspace %s was renewed", alias)
        return fresh

    async def _over(self, alias: str, kept: Kept, word: str) -> NoReturn:
        await self._keep(alias, replace(kept, over=True, access="", refresh=""))
        what = f"the login to the Slack workspace {alias} is over ({word})"
        raise _needed(alias, what)

    async def _keep(self, alias: str, kept: Kept) -> None:
        """On the disk when this returns."""
        await to_thread.run_sync(partial(self._shelf.keep, alias, kept))
        self._later.pop(alias, None)
        self._changed.set()

    def _asking(self) -> Asking:
        return Asking(self._means.egress, self._means.reach(), near=self._means.near)

    async def _revoked(self, kept: Kept) -> bool:
        try:
            told = await _said(self._asking(), kept, "auth.revoke")
        except NoLogin as problem:
            _log.warning("Slack did not take a token back: %s", problem)
            return False
        return told.get("revoked") is True


def _app(alias: str, wish: _Wish, old: Kept) -> Kept:
    """Which app of Slack's we are, as far as that is known. Raises `Invalid`."""
    client = wish.client_id or old.client
    if not client:
        what = f"no Slack app is known for {alias}"
        hint = "--client-id ID (and --client-secret-stdin); docs/guides/slack.md makes one"
        raise Invalid(what, code="slack_no_app", hint=hint)
    redirect = wish.redirect or old.redirect or _REDIRECT
    if not _ENDS.fullmatch(redirect):
        what = "a login ends on this machine, or at an https address that the app has"
        raise Invalid(what, code="bad_redirect", hint=f"like {_REDIRECT}")
    same = old.client in ("", client)
    secret = wish.client_secret or (old.value if same else "")
    return replace(old, client=client, value=secret, redirect=redirect)


async def _said(asking: Asking, kept: Kept, method: str) -> Json:
    """What Slack says about a token. Raises `NoLogin`."""
    return await asking.form(f"{kept.api}/{method}", {}, {"Authorization": f"Bearer {kept.access}"})


def _known(kept: Kept, told: Json) -> Kept:
    names = ("team", "team_id", "user", "user_id", "url")
    found = {name: text(told, name)[:200] for name in names}
    if not (found["team_id"] and found["user_id"]):
        raise NoLogin("Slack does not say whose token it gave")
    return replace(kept, **found)


def _state(alias: str, kept: Kept) -> Workspace:
    over, logged_in = kept.over, bool(kept.access)
    note = f"holdfast slack login {alias}"
    return Workspace(
        alias=alias,
        state="over" if over else "in" if logged_in else "none",
        team=kept.team,
        team_id=kept.team_id,
        user=kept.user,
        user_id=kept.user_id,
        url=kept.url,
        scopes=kept.scopes,
        expires_at=kept.expires_at,
        lasts=bool(kept.refresh),
        redirect=kept.redirect,
        note="" if logged_in and not over else f"only a login helps: {note}",
    )


def _while_it_lasts(alias: str, kept: Kept, now: Instant, problem: NoLogin) -> Kept:
    """The old token: whoever issues new ones may be there again in a moment."""
    if kept.expires_at and now >= kept.expires_at:
        what = f"the login to the Slack workspace {alias} cannot be renewed: {problem}"
        raise NotAllowed(what, code="slack_login_stuck", hint="try again later")
    _log.warning("the login to the Slack workspace %s cannot be renewed now: %s", alias, problem)
    return kept


def _told(alias: str, problem: NoLogin) -> HoldfastError:
    hint = f"holdfast slack login {alias}"
    what = f"no login to the Slack workspace {alias}: {problem}"
    if isinstance(problem, Rejected):
        return NotAllowed(what, code="slack_login_refused", hint=hint)
    return Unavailable(what, code="slack_login_failed", hint=hint)


def _needed(alias: str, what: str) -> NotAllowed:
    return NotAllowed(what, code="slack_login_needed", hint=f"holdfast slack login {alias}")


def _unknown(alias: str) -> NotFound:
    hint = "holdfast slack status"
    return NotFound(f"there is no Slack workspace {alias}", code="slack_not_found", hint=hint)
