"""Where models are to be had here, and with whose credentials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from msgspec import Struct


class Connection(Struct, frozen=True, kw_only=True):
    """A provider that can be used and where its credential comes from. Holds no secret.

    `also` are other places that hold a credential for it and do not count; `note` is what a
    person should know. With `automatic` False it is used only where somebody names it.
    """

    name: str
    source: str
    host: str
    models: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    automatic: bool = True
    note: str = ""


class Offer(Struct, frozen=True, kw_only=True):
    """A provider that can be connected: by a key, a code for another device, or in a browser."""

    name: str
    how: Literal["key", "device", "browser"]
    note: str = ""


class Invitation(Struct, frozen=True, kw_only=True):
    """A login that a person finishes at `url`, within `seconds`.

    With a `code` they type it there, and `accept` is asked every `interval` seconds; without one
    they bring back the address that the browser ends at.
    """

    attempt: str
    name: str
    url: str
    code: str
    seconds: int
    interval: int
    note: str = ""


class Forgotten(Struct, frozen=True, kw_only=True):
    """What is gone. `revoked`: the provider itself has taken the login back."""

    name: str
    key: bool = False
    login: bool = False
    server: bool = False
    revoked: bool = False
    note: str = ""


class Connections(Protocol):
    """Makes and ends connections; what it does counts at once, without a restart.

    `all` are in the order in which they are preferred, `offers` what could be connected. `invite`
    begins a login; a new one makes an unfinished earlier one void.

    Raises `Invalid` for a name, key or address that cannot be, `NotAllowed` when the provider does
    not accept the key or the login, `Unavailable` when it cannot be asked or nothing can be kept.
    """

    def all(self) -> Sequence[Connection]: ...
    def offers(self) -> Sequence[Offer]: ...

    async def use_key(self, name: str, key: str, *, check: bool) -> Connection:
        """Keep the key of a known or configured provider, after one cheap request with it.

        Where there is no such request (Azure, Bedrock), it is kept as it is.
        """
        ...

    async def use_server(
        self, name: str, url: str, models: Sequence[str], key: str, *, check: bool
    ) -> Connection:
        """Keep a server that speaks as OpenAI does. The same name again replaces it."""
        ...

    async def invite(self, name: str) -> Invitation: ...

    async def accept(self, attempt: str, answer: str = "") -> Connection | None:
        """The login's connection; None while the person has not finished it yet."""
        ...

    async def forget(self, name: str, *, local_only: bool) -> Forgotten:
        """Forget key, login and server. What was never there is forgotten already."""
        ...
