"""What we are to those who issue a server's logins: given by the owner, or registered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from holdfast.core.mcp import ServerSpec
from holdfast.core.reach import SECRET

from . import grants
from .asking import Asking, NoLogin
from .discovery import Issuer
from .grants import Client
from .shelf import Kept

Reveal = Callable[[str, str], Awaitable[str]]
"""A secret that the configuration names, for the server of a name."""


class Clients:
    """Finds the client to log in as, and lets one prove itself again later."""

    def __init__(self, reveal: Reveal) -> None:
        self._reveal = reveal

    async def choose(
        self, spec: ServerSpec, asking: Asking, issuer: Issuer, kept: Kept | None, redirect: str
    ) -> Client:
        """The owner's, the one from before, our own description, or one registered now.

        What one issuer knows us as is nothing to another. Raises `NoLogin`.
        """
        login = spec.login
        if login.client_id:
            return await self.given(spec, issuer, redirect)
        if kept and kept.issuer.name == issuer.name and kept.redirect == redirect:
            return _from_before(kept)
        if login.document and issuer.documents:
            return Client(id=login.document, issuer=issuer.name, redirect=redirect)
        if not issuer.register:
            what = f"{issuer.name[:200]} registers nobody by itself: set client_id of its login"
            raise NoLogin(what)
        return await grants.registered(asking, issuer, redirect)

    async def given(self, spec: ServerSpec, issuer: Issuer, redirect: str = "") -> Client:
        """The one that the owner of the house had registered."""
        secret = await self._secret(spec.login.client_secret, spec)
        key = await self._secret(spec.login.client_key, spec)
        return Client(
            id=spec.login.client_id,
            issuer=issuer.name,
            secret=secret,
            key=key,
            method=grants.method_of(issuer, secret=secret, key=key),
            redirect=redirect,
        )

    async def of(self, spec: ServerSpec, kept: Kept) -> Client:
        """What we were when a login was made, able to prove it."""
        if spec.login.client_id != kept.client:
            return _from_before(kept)
        given = await self.given(spec, kept.issuer, kept.redirect)
        return replace(given, method=kept.method)

    async def _secret(self, told: str, spec: ServerSpec) -> str:
        found = SECRET.fullmatch(told)
        return await self._reveal(found[1], spec.name) if found else ""


def _from_before(kept: Kept) -> Client:
    return Client(
        id=kept.client,
        issuer=kept.issuer.name,
        secret=kept.value,
        method=kept.method,
        redirect=kept.redirect,
    )
