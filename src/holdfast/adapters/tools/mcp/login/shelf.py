"""What is kept of a login: sealed in the vault, and bound to the server that it was made for."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from holdfast.core.error import Broken
from holdfast.core.foreign import NotJson, decoded
from holdfast.core.ids import Instant
from holdfast.ports.vault import Vault

from .discovery import Issuer
from .grants import Client, Granted, Wish

_EARLY = 60_000
PLACE = "login/mcp/"
"""Where logins to servers are in the vault: the names of secrets that only we put in."""


class Kept(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A login. `access`, `refresh` and `value` (what proves who we are) are never said.

    `url`: a server at another address is another one, and gets nothing of it.
    """

    url: str
    issuer: Issuer
    resource: str
    client: str
    method: str = "none"
    redirect: str = ""
    access: str = ""
    refresh: str = ""
    value: str = ""
    expires_at: Instant = 0
    scopes: tuple[str, ...] = ()
    over: bool = False

    def __repr__(self) -> str:
        return f"Kept(url={self.url!r}, expires_at={self.expires_at})"

    @property
    def wish(self) -> Wish:
        return Wish(resource=self.resource, scopes=self.scopes)

    def fresh(self, now: Instant) -> bool:
        return not self.expires_at or now < self.expires_at - _EARLY

    def ended(self, now: Instant) -> bool:
        return bool(self.expires_at) and now >= self.expires_at

    def with_new(self, granted: Granted) -> Kept:
        return msgspec.structs.replace(
            self,
            access=granted.access,
            refresh=granted.refresh,
            expires_at=granted.expires_at,
            scopes=granted.scopes or self.scopes,
            over=False,
        )


def made(url: str, issuer: Issuer, client: Client, wish: Wish, *, own_secret: bool) -> Kept:
    """A login without a token yet. A secret that the owner of the house gave stays where it is."""
    return Kept(
        url=url,
        issuer=issuer,
        resource=wish.resource,
        client=client.id,
        method=client.method,
        redirect=client.redirect,
        value="" if own_secret else client.secret,
        scopes=wish.scopes,
    )


class Shelf:
    """All logins to servers, by name; read once, and kept in mind."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._known: dict[str, Kept | None] = {}

    def find(self, name: str, url: str) -> Kept | None:
        """Raises `Broken`, `Unavailable`."""
        if name not in self._known:
            self._known[name] = _read(name, self._vault.get(f"{PLACE}{name}"))
        kept = self._known[name]
        return kept if kept is not None and kept.url == url else None

    def keep(self, name: str, kept: Kept) -> None:
        """On the disk when this returns. Raises `Unavailable`."""
        self._vault.put(f"{PLACE}{name}", msgspec.json.encode(kept).decode())
        self._known[name] = kept

    def drop(self, name: str) -> None:
        self._vault.delete(f"{PLACE}{name}")
        self._known[name] = None


def _read(name: str, told: str | None) -> Kept | None:
    try:
        return None if told is None else decoded(told, Kept)
    except NotJson as error:
        hint = f"holdfast mcp logout {name} --local-only, and log in anew"
        what = f"the login to the server {name} is damaged"
        raise Broken(what, code="vault_damaged", hint=hint) from error
