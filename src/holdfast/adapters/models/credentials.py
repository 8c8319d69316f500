"""Where a provider's key comes from: the environment, then the keychain, then what was saved.

What was saved is in the vault: `provider/<name>/api_key`, and for a server that somebody added
`provider/<name>/server`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

from holdfast.core.error import HoldfastError, Invalid
from holdfast.ports.vault import Vault

SAVED = "saved key"
KEYCHAIN = "keychain"
ADDED = "saved server"

_log = logging.getLogger("holdfast.models")
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9_-])?")
_RECORD = re.compile(r"provider/([^/]+)/server")

Keychain = Callable[[str], str]


class Server(Struct, frozen=True, kw_only=True):
    """A server that somebody added by name: where it is, and the models it is asked for."""

    base_url: str
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key and the name of the place it comes from."""

    source: str
    value: str = field(repr=False)


class Keys:
    """Looks keys up. What others could have read or changed counts as absent, and is logged."""

    def __init__(
        self, env: Mapping[str, str], vault: Vault | None, keychain: Keychain | None = None
    ) -> None:
        self._env, self._vault, self._keychain = env, vault, keychain

    def all(self, name: str, variables: tuple[str, ...]) -> tuple[Key, ...]:
        """Every place that has a key for the provider, the one that counts first."""
        found = [Key(source=one, value=value) for one in variables if (value := self.variable(one))]
        if (
            self._keychain
            and is_provider_name(name)
            and (value := _sendable(self._keychain(name), KEYCHAIN))
        ):
            found.append(Key(source=KEYCHAIN, value=value))
        if value := self.saved(name):
            found.append(Key(source=SAVED, value=value))
        return tuple(found)

    def variable(self, name: str) -> str:
        return _sendable(self._env.get(name, ""), name) if name else ""

    def saved(self, name: str) -> str:
        if not is_provider_name(name):
            return ""
        return _sendable(self._kept(key_place(name)), f"the saved key of {name}")

    def servers(self) -> Iterator[tuple[str, Server]]:
        """The servers that were added, by name."""
        for place in self._names():
            if (named := _RECORD.fullmatch(place)) and (told := self._kept(place)):
                try:
                    yield named[1], msgspec.json.decode(told, type=Server)
                except msgspec.DecodeError as error:
                    _log.warning("the saved server %s is not used: %s", named[1], error)

    def _kept(self, place: str) -> str:
        if self._vault is None:
            return ""
        try:
            return self._vault.get(place) or ""
        except HoldfastError as problem:
            _log.warning("%s", problem)
            return ""

    def _names(self) -> tuple[str, ...]:
        if self._vault is None:
            return ()
        try:
            return tuple(self._vault.names())
        except HoldfastError as problem:
            _log.warning("%s", problem)
            return ()


def is_provider_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def key_place(name: str) -> str:
    """Where the key of a provider is in the vault."""
    return f"provider/{name}/api_key"


def server_place(name: str) -> str:
    """Where the record of an added server is in the vault."""
    return f"provider/{name}/server"


def checked_key(key: str) -> str:
    """The key without what surrounds it. Raises `Invalid`, without telling it."""
    plain = key.strip()
    if not plain:
        raise Invalid("the key is empty", code="bad_key")
    if not _fits_a_header(plain):
        hint = "paste the key alone, in one line"
        raise Invalid("that is not a key: it has spaces or signs", code="bad_key", hint=hint)
    return plain


def _sendable(value: str, where: str) -> str:
    """The key, if it can be sent at all: what cannot would be quoted by whoever refuses it."""
    plain = value.strip()
    if plain and not _fits_a_header(plain):
        _log.warning("%s is not a key: it has spaces or signs; it is not used", where)
        return ""
    return plain


def _fits_a_header(key: str) -> bool:
    return key.isascii() and key.isprintable() and " " not in key
