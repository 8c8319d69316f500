"""Makes and ends connections to providers: what is saved, and what counts from then on."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

import msgspec
from anyio import to_thread
from msgspec.structs import replace as replace_token

from holdfast.core.error import Broken, Invalid, NotAllowed
from holdfast.ports.connections import Connection, Forgotten, Invitation, Offer
from holdfast.ports.vault import Vault

from .catalog import Catalog
from .credentials import SAVED, Server, checked_key, is_provider_name, key_place, server_place
from .discover import Found, added_provider, known_provider
from .known import KNOWN
from .loading import load_aside
from .logins.attempts import Attempts
from .logins.shelves import place_of
from .logins.vendors import UNDOCUMENTED, Vendor
from .settings import LISTS_NOTHING, Provider

_MOST_MODELS = 50
_HOST = "installation/host"


class SavedConnections:
    """Implements `ports.Connections` over the vault; the catalogue takes over each change."""

    def __init__(self, catalog: Catalog, vault: Vault) -> None:
        self._catalog, self._vault = catalog, vault
        self._attempts = Attempts()

    def all(self) -> Sequence[Connection]:
        return [_told(one) for one in self._catalog.describe().found]

    def offers(self) -> Sequence[Offer]:
        there = {one.name for one in self._catalog.describe().found}
        keys = [
            Offer(name=name, how="key")
            for name, known in KNOWN.items()
            if name not in there and not known.beside
        ]
        return [*keys, *map(self._offer, self._catalog.logins.vendors.values())]

    def _offer(self, vendor: Vendor) -> Offer:
        """A login is offered even when there is one: logging in again replaces it."""
        how = "browser" if vendor.flow in {"browser", ""} else "device"
        return Offer(name=vendor.name, how=how, note=vendor.note)

    async def use_key(self, name: str, key: str, *, check: bool) -> Connection:
        provider = replace(self._asked_with_a_key(name), api_key=checked_key(key))
        if not provider.base_url:
            variable = KNOWN[name].urls[0]
            hint = f"set {variable} in the daemon's environment and start it again"
            what = f"nobody knows where {name} is: nothing was saved"
            raise Invalid(what, code="no_address", hint=hint)
        if check and provider.kind not in LISTS_NOTHING:
            await (await load_aside("checking")).check(name, provider)
        await self._keep(key_place(name), provider.api_key)
        return self._connected(name)

    async def use_server(
        self, name: str, url: str, models: Sequence[str], key: str, *, check: bool
    ) -> Connection:
        configured = name in self._catalog.config.providers
        if name in KNOWN or name in self._catalog.logins.vendors or configured:
            where = "in the configuration" if configured else "built in"
            raise Invalid(f"{name} is {where} already", code="taken", hint="choose another name")
        if not is_provider_name(name):
            hint = "lower-case letters, digits, - and _, like lab"
            raise Invalid("that is not a name for a provider", code="bad_name", hint=hint)
        server = Server(base_url=_address(url), models=tuple(models))
        key = checked_key(key) if key.strip() else ""
        if check:
            checking = await load_aside("checking")
            found = await checking.check(name, added_provider(server, key))
            server = Server(base_url=server.base_url, models=server.models or found[:_MOST_MODELS])
        if key:
            await self._keep(key_place(name), key)
        else:
            await to_thread.run_sync(self._vault.delete, key_place(name))
        await self._keep(server_place(name), msgspec.json.encode(server).decode())
        return self._connected(name)

    async def invite(self, name: str) -> Invitation:
        vendor = self._catalog.logins.vendors.get(name)
        if vendor is None:
            self._asked_with_a_key(name)
            hint = f"give its key: holdfast connect {name}"
            raise Invalid(f"{name} has no login of this kind", code="no_login", hint=hint)
        _check_way(vendor, allowed=self._catalog.logins.allowed(vendor))
        registered = ""
        with suppress(Broken):  # a login that cannot be read is replaced
            earlier = self._catalog.logins.shelf(name).load()
            registered = earlier.client_id if earlier and vendor.resource else ""
        host = await to_thread.run_sync(self._host) if vendor.resource else ""
        return await self._attempts.begin(vendor, host=host, registered=registered)

    def _host(self) -> str:
        """What this installation is called by those who want to tell it from others: no secret."""
        found = self._vault.get(_HOST)
        if found is None:
            found = uuid.uuid4().urn
            self._vault.put(_HOST, found)
        return found

    async def accept(self, attempt: str, answer: str = "") -> Connection | None:
        done = await self._attempts.finish(attempt, answer)
        if done is None:
            return None
        vendor, token = done
        # It is kept first: what comes after may fail, and the code counts only once.
        shelf = self._catalog.logins.shelf(vendor.name)
        await to_thread.run_sync(shelf.save, token)
        connection = self._connected(vendor.name)
        login = self._catalog.logins.find(vendor.name)
        if vendor.models or login is None:
            return connection
        grants = await load_aside("logins.grants")
        models = await grants.models_of(vendor, token, login.headers(token))
        if not models:
            return connection
        await to_thread.run_sync(shelf.save, replace_token(token, models=models))
        return self._connected(vendor.name)

    async def forget(self, name: str, *, local_only: bool) -> Forgotten:
        self._nameable(name)
        key = await to_thread.run_sync(self._vault.delete, key_place(name))
        server = await to_thread.run_sync(self._vault.delete, server_place(name))
        login, revoked = await self._forget_login(name, local_only=local_only)
        self._catalog.refresh()
        still = next((one for one in self._catalog.describe().found if one.name == name), None)
        note = f"{name} is still there, from {still.source}" if still else ""
        return Forgotten(name=name, key=key, login=login, server=server, revoked=revoked, note=note)

    async def _forget_login(self, name: str, *, local_only: bool) -> tuple[bool, bool]:
        """Whether there was one, and whether its issuer took it back. A borrowed one stays."""
        vendor = self._catalog.logins.vendors.get(name)
        if vendor is None:
            return False, False
        revoked = False
        with suppress(Broken):  # what cannot be read can be deleted
            token = self._catalog.logins.shelf(name).load()
            if token and not local_only:
                grants = await load_aside("logins.grants")
                revoked = await grants.revoke(vendor, token)
        return await to_thread.run_sync(self._vault.delete, place_of(name)), revoked

    def _asked_with_a_key(self, name: str) -> Provider:
        """The provider as it is asked. Raises `Invalid` if there is none of this name."""
        self._nameable(name)
        found = next((one for one in self._catalog.describe().found if one.name == name), None)
        if name in self._catalog.config.providers or (found and name not in KNOWN):
            if found and found.source != "local":
                return found.provider
        elif name in KNOWN:
            return known_provider(name, self._catalog.config.env, "")
        elif name in self._catalog.logins.vendors:
            hint = f"log in: holdfast connect {name}"
            raise Invalid(f"{name} takes a login, not a key", code="login_only", hint=hint)
        hint = f"for a server of your own: holdfast connect {name} --url https://…/v1"
        raise Invalid(f"there is no provider {name}", code="unknown_provider", hint=hint)

    def _nameable(self, name: str) -> None:
        if not is_provider_name(name):
            hint = "holdfast connect lists what there is"
            raise Invalid("that is not a name of a provider", code="bad_name", hint=hint)

    async def _keep(self, place: str, value: str) -> None:
        await to_thread.run_sync(self._vault.put, place, value)

    def _connected(self, name: str) -> Connection:
        self._catalog.refresh()
        found = next(one for one in self._catalog.describe().found if one.name == name)
        return _told(found)


def _told(found: Found) -> Connection:
    note = found.note
    if SAVED in found.also and not note:
        note = f"a saved key is there too; {found.source} goes before it"
    return Connection(
        name=found.name,
        source=found.source,
        host=found.host,
        models=found.models,
        also=found.also,
        automatic=found.automatic,
        note=note,
    )


def _check_way(vendor: Vendor, *, allowed: bool) -> None:
    """Raises where this login cannot be begun, and says what is missing."""
    table = f"[models.logins.clients.{vendor.name}]"
    if not allowed:
        hint = f"if you want it all the same: [models.logins] {_switch(vendor)} = true"
        what = f"{vendor.title} is off: {UNDOCUMENTED}"
        raise NotAllowed(what, code="login_off", hint=hint)
    if not vendor.flow:
        hint = f"log in with its own program: {vendor.program}"
        raise Invalid(f"{vendor.title} is borrowed, not made here", code="no_login", hint=hint)
    if not vendor.client_id and not vendor.resource:
        own = f", or log in with its own program: {vendor.program}" if vendor.program else ""
        hint = f"set client_id in {table}{own}; docs/guides/providers.md says where it comes from"
        raise Invalid(f"{vendor.title} needs a client id", code="no_client_id", hint=hint)


def _switch(vendor: Vendor) -> str:
    return vendor.name.replace("-", "_")


def _address(url: str) -> str:
    plain = url.strip().rstrip("/")
    parts = urlsplit(plain)
    told = Provider(kind="openai", base_url=plain).host and plain.isprintable() and " " not in plain
    if parts.scheme not in {"http", "https"} or not told:
        hint = "give its whole address, like http://127.0.0.1:8000/v1"
        raise Invalid("that is not the address of a server", code="bad_address", hint=hint)
    if parts.username or parts.password or parts.query or parts.fragment:
        hint = "give the key by itself: it is asked for, or read with --stdin"
        raise Invalid("an address may not carry a secret", code="bad_address", hint=hint)
    return plain
