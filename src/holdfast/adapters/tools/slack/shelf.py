"""What is kept of a workspace: sealed in the vault, and bound to the place that it was made at."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from threading import Lock

import msgspec
from msgspec import Struct

from holdfast.adapters.tools.mcp.login.grants import Client, Granted
from holdfast.core.foreign import NotJson, decoded
from holdfast.core.ids import Instant
from holdfast.ports.vault import Vault

_log = logging.getLogger("holdfast.slack")
PLACE = "login/slack/"
"""Where workspaces are in the vault: the names of secrets that only the house itself puts in."""


class Kept(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A workspace. `value` (the app's secret), `access` and `refresh` are never said.

    Without `access` it is only known which app logs in. `api`: at another address it is another
    one, and that gets nothing of it. `over`: only a new login helps.
    """

    api: str
    client: str
    value: str = ""
    redirect: str = ""
    access: str = ""
    refresh: str = ""
    issued_at: Instant = 0
    expires_at: Instant = 0
    scopes: tuple[str, ...] = ()
    team: str = ""
    team_id: str = ""
    user: str = ""
    user_id: str = ""
    url: str = ""
    over: bool = False

    def __repr__(self) -> str:
        return f"Kept(client={self.client!r}, team={self.team_id!r}, expires_at={self.expires_at})"

    @property
    def app(self) -> Client:
        """What we are to Slack."""
        method = "client_secret_post" if self.value else "none"
        return Client(
            id=self.client,
            issuer="https://slack.com",
            secret=self.value,
            method=method,
            redirect=self.redirect,
        )

    @property
    def usable(self) -> bool:
        return bool(self.access) and not self.over

    def due(self, early: int) -> Instant:
        """When it is to be renewed: `early` before it ends, but not in the first half of its life;
        0 for never."""
        if not (self.expires_at and self.refresh) or self.over:
            return 0
        return self.expires_at - min(early, max(0, self.expires_at - self.issued_at) // 2)

    def with_new(self, granted: Granted, now: Instant) -> Kept:
        return msgspec.structs.replace(
            self,
            access=granted.access,
            refresh=granted.refresh,
            issued_at=now,
            expires_at=granted.expires_at,
            scopes=granted.scopes or self.scopes,
            over=False,
        )


class Shelf:
    """All workspaces by alias, read from the vault once and kept in mind.

    `unsaved` are those whose last change could not be written: Slack gives a right once, so it is
    not forgotten for a full disk.
    """

    def __init__(self, vault: Vault, api: str) -> None:
        self._vault, self._api = vault, api
        self._known: dict[str, Kept] | None = None
        self._changing = Lock()
        self.unsaved = set[str]()

    def all(self) -> Mapping[str, Kept]:
        """Raises `Broken`, `Unavailable`."""
        if self._known is None:
            names = [name for name in self._vault.names() if name.startswith(PLACE)]
            read = {name.removeprefix(PLACE): self._read(name) for name in names}
            self._known = {alias: kept for alias, kept in read.items() if kept is not None}
        return self._known

    def keep(self, alias: str, kept: Kept) -> None:
        """On the disk when this returns. Raises `Unavailable`."""
        with self._changing:  # two workspaces may be renewed at once, each in a thread
            self._known = {**self.all(), alias: kept}
            self.unsaved.add(alias)
        self._vault.put(f"{PLACE}{alias}", msgspec.json.encode(kept).decode())
        self.unsaved.discard(alias)

    def drop(self, alias: str) -> bool:
        """Whether there was something."""
        gone = self._vault.delete(f"{PLACE}{alias}")
        with self._changing:
            self.unsaved.discard(alias)
            self._known = {name: kept for name, kept in self.all().items() if name != alias}
        return gone

    def _read(self, name: str) -> Kept | None:
        """What is kept there; one that cannot be read is none, and logged."""
        try:
            kept = decoded(self._vault.get(name) or "", Kept)
        except NotJson:
            alias = name.removeprefix(PLACE)
            _log.warning("the login to the Slack workspace %s is damaged: log in anew", alias)
            return None
        return kept if kept.api == self._api else None
