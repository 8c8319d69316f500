"""Logins at work: what is put into requests, renewed in time, and what a server says about it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import anyio
from anyio import to_thread
from msgspec import Struct
from msgspec.structs import replace

from holdfast.adapters.tools.mcp.address import near
from holdfast.core.error import HoldfastError, NotAllowed
from holdfast.core.ids import Instant
from holdfast.core.mcp import ServerSpec
from holdfast.core.reach import Reach
from holdfast.ports.clock import Clock
from holdfast.ports.egress import Answer, Egress
from holdfast.ports.vault import Vault

from . import discovery, grants
from .asking import Asking, NoLogin, Rejected
from .clients import Clients, Reveal
from .discovery import Challenge, Issuer, Resource
from .grants import Granted, Wish
from .shelf import PLACE, Kept, Shelf, made

_log = logging.getLogger("holdfast.mcp")
_OVER = frozenset({"invalid_grant", "invalid_client", "unauthorized_client", "access_denied"})


class Means(Struct, frozen=True, kw_only=True):
    """What logins need: `reveal` gives a secret of the configuration, `reach` how somebody outside
    of any task goes out for a server."""

    vault: Vault
    egress: Egress
    clock: Clock
    reveal: Reveal
    reach: Callable[[str], Reach]
    find: Callable[[str], ServerSpec]
    all: Callable[[], Sequence[ServerSpec]]


class InUse:
    """The logins that there are. `version` counts what changed about who is logged in."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self.clients = Clients(means.reveal)
        self._shelf = Shelf(means.vault)
        self._heard: dict[tuple[str, str], Challenge] = {}
        self._turns: dict[str, anyio.Lock] = {}
        self.version = 0

    def found(self, spec: ServerSpec) -> Kept | None:
        """The login to a server. One that cannot be read is none, and logged."""
        try:
            return self._shelf.find(spec.name, spec.url) if spec.url else None
        except HoldfastError as problem:
            _log.warning("%s", problem)
            return None

    def heard(self, spec: ServerSpec) -> Challenge | None:
        """What a server said when it last refused us, and has not been satisfied since."""
        return self._heard.get((spec.name, spec.url))

    def hear(self, spec: ServerSpec, challenge: Challenge) -> None:
        if self.heard(spec) != challenge:
            self._heard[spec.name, spec.url] = challenge
            self.version += 1

    def wanted(self, spec: ServerSpec) -> bool:
        """A person must log in before it can be used."""
        kept = self.found(spec)
        over = kept is not None and kept.over
        return spec.login.grant == "person" and (self.heard(spec) is not None or over)

    def asking(self, spec: ServerSpec, reach: Reach) -> Asking:
        return Asking(self._means.egress, reach, near=near(spec))

    def wish(self, spec: ServerSpec, resource: Resource, issuer: Issuer) -> Wish:
        """What it wants now, and what we had already: a new login takes nothing away."""
        kept, challenge = self.found(spec), self.heard(spec)
        before = kept.scopes if kept and kept.issuer.name == issuer.name else ()
        wanted = challenge.scopes if challenge and challenge.scopes else resource.scopes
        scopes = dict.fromkeys((*before, *wanted, *spec.login.scopes))
        if "offline_access" in issuer.scopes and spec.login.grant == "person":
            scopes["offline_access"] = None
        return Wish(resource=resource.name, scopes=tuple(scopes))

    async def keep(self, name: str, kept: Kept) -> None:
        """On the disk when this returns."""
        await to_thread.run_sync(self._shelf.keep, name, kept)
        self._heard.pop((name, kept.url), None)
        self.version += 1

    async def drop(self, spec: ServerSpec) -> None:
        await to_thread.run_sync(self._shelf.drop, spec.name)
        self._heard.pop((spec.name, spec.url), None)
        self.version += 1

    def header(self, spec: ServerSpec) -> Mapping[str, str]:
        """What is put into requests to a server: a reference, which `bearer` is asked for."""
        if _has_its_own(spec) or self.found(spec) is None:
            return {}
        return {"Authorization": f"Bearer $SECRET{{{PLACE}{spec.name}}}"}

    async def bearer(self, name: str, reach: Reach) -> str:
        """The token that counts now, for a request to that server. Raises `NotAllowed`."""
        spec = self._means.find(name)
        kept = self.found(spec)
        if kept is None or kept.over or reach.tool != f"mcp:{name}":
            raise _needed(name, f"nobody is logged in to {name}")
        if not kept.fresh(self._means.clock.now()):
            kept = await self._renewed(spec, reach, kept.access)
        return kept.access

    async def refused(self, spec: ServerSpec, answer: Answer, reach: Reach) -> bool:
        """A server did not take a request. True: it may be asked once more, with another token."""
        challenge, kept = discovery.challenge_of(answer.headers), self.found(spec)
        if _has_its_own(spec):
            return False
        self.hear(spec, challenge)
        try:
            if answer.status == 401 and kept is None and spec.login.grant == "own":
                await self.by_ourselves(spec, reach)
                return True
            if answer.status == 401 and kept is not None and not kept.over:
                return (await self._renewed(spec, reach, kept.access)).access != kept.access
        except (NoLogin, HoldfastError) as problem:
            _log.warning("no new login to the server %s: %s", spec.name, problem)
        return False

    async def by_ourselves(self, spec: ServerSpec, reach: Reach) -> None:
        """A login that needs no person. Raises `NoLogin`."""
        asking, now = self.asking(spec, reach), self._means.clock.now()
        resource = await discovery.resource_of(asking, spec.url, self.heard(spec) or Challenge())
        issuer = await discovery.issuer_of(asking, resource)
        client, wish = await self.clients.given(spec, issuer), self.wish(spec, resource, issuer)
        granted = await grants.exchanged(asking, issuer, client, grants.by_ourselves(wish), now)
        kept = made(spec.url, issuer, client, wish, own_secret=True)
        await self.keep(spec.name, kept.with_new(granted))

    async def _renewed(self, spec: ServerSpec, reach: Reach, rejected: str) -> Kept:
        """A token that is not the one that was `rejected`: one renewal for all who ask.

        Raises `NotAllowed` where none is to be had.
        """
        async with self._turns.setdefault(spec.name, anyio.Lock()):
            kept = self.found(spec)
            if kept is None or kept.over:
                raise _needed(spec.name, f"the login to {spec.name} is over")
            if kept.access != rejected:
                return kept
            fresh = list[Kept]()
            # Once the issuer has answered, the old right may be void: what is new is kept first.
            with anyio.CancelScope(shield=True):
                fresh.append(await self._renew(spec, reach, kept))
        return fresh[0]

    async def _renew(self, spec: ServerSpec, reach: Reach, kept: Kept) -> Kept:
        now = self._means.clock.now()
        try:
            if spec.login.grant == "own":
                await self.by_ourselves(spec, reach)
                return self.found(spec) or kept
            fresh = kept.with_new(await self._refreshed(spec, reach, kept, now))
        except Rejected as no:
            if no.word not in _OVER or spec.login.grant == "own":
                return _while_it_lasts(kept, now, no)
            over = replace(kept, over=True, access="", refresh="")
            await to_thread.run_sync(partial(self._shelf.keep, spec.name, over))
            self.version += 1
            raise _needed(spec.name, f"the login to {spec.name} is over") from None
        except NoLogin as problem:
            return _while_it_lasts(kept, now, problem)
        await self.keep(spec.name, fresh)
        return fresh

    async def _refreshed(self, spec: ServerSpec, reach: Reach, kept: Kept, now: Instant) -> Granted:
        if not kept.refresh:
            raise Rejected("invalid_grant")
        client = await self.clients.of(spec, kept)
        asked = grants.by_refresh(kept.refresh, kept.wish)
        return await grants.exchanged(self.asking(spec, reach), kept.issuer, client, asked, now)


def _has_its_own(spec: ServerSpec) -> bool:
    """The owner of the house says with which key it is asked."""
    return any(name.lower() == "authorization" for name in spec.headers)


def _while_it_lasts(kept: Kept, now: Instant, problem: NoLogin) -> Kept:
    """The old token: whoever issues new ones may be there again in a moment."""
    if kept.ended(now):
        raise NotAllowed(f"its login cannot be renewed: {problem}", code="mcp_login_stuck")
    _log.warning("a login cannot be renewed now: %s", problem)
    return kept


def _needed(name: str, what: str) -> NotAllowed:
    return NotAllowed(what, code="mcp_login_needed", hint=f"holdfast mcp login {name}")
