"""The keys of an installation: hashes, in memory and on a shelf."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from fnmatch import fnmatchcase

import anyio
import anyio.to_thread
from msgspec import Struct

from holdfast.core.error import NotFound, Refused
from holdfast.core.ids import Instant

from .shelf import Memory, Shelf

_NOBODY = "0" * 64


class Key(Struct, frozen=True, kw_only=True):
    """A key as it is kept. `agents` are shell patterns; `per_minute` 0: no limit of its own.

    `ident` is the part of its text that may be seen; `hash` is SHA-256 of the whole, which has 256
    bits of chance in it: nothing slower would make guessing harder.
    """

    name: str
    ident: str
    hash: str
    scopes: tuple[str, ...]
    agents: tuple[str, ...] = ("*",)
    per_minute: int = 0
    burst: int = 10
    made_at: Instant = 0
    made_by: str = ""
    expires_at: Instant = 0
    revoked_at: Instant = 0

    def opens(self, now: Instant) -> bool:
        return not self.revoked_at and not (self.expires_at and now >= self.expires_at)

    def may_use(self, agent: str) -> bool:
        return any(fnmatchcase(agent, pattern) for pattern in self.agents)


class Keys(Struct, frozen=True, kw_only=True):
    """What is on the shelf."""

    keys: tuple[Key, ...] = ()


class Keyring:
    """Finds keys by their text, in the same time whether one is right or not."""

    def __init__(self, shelf: Shelf[Keys] | None = None) -> None:
        self._shelf: Shelf[Keys] = shelf or Memory(Keys())
        self._keys = {key.name: key for key in self._shelf.read().keys}
        self._turn = anyio.Lock()
        self.changed = anyio.Event()
        """Set when something was let in or shut out; then there is a new one."""

    def all(self) -> Sequence[Key]:
        return [self._keys[name] for name in sorted(self._keys)]

    def get(self, name: str) -> Key:
        """Raises `NotFound`."""
        if key := self._keys.get(name):
            return key
        hint = "holdfast key list"
        raise NotFound(f"there is no key {name}", code="key_not_found", hint=hint)

    def named(self, name: str, now: Instant) -> Key | None:
        """The key of that name, if it still opens something."""
        key = self._keys.get(name)
        return key if key is not None and key.opens(now) else None

    def known(self, text: str, now: Instant) -> Key | None:
        """The key with exactly this text, if it still opens something."""
        ident = text.split("_", 2)[1] if text.count("_") >= 2 else ""
        key = next((one for one in self._keys.values() if one.ident == ident), None)
        right = hmac.compare_digest(key.hash if key else _NOBODY, digest(text))
        return key if key is not None and right and key.opens(now) else None

    async def add(self, key: Key) -> None:
        """Raises `Refused` when there is, or was, one of that name."""
        async with self._turn:
            self.free(key.name)
            await self._keep(key)

    def free(self, name: str) -> None:
        """Raises `Refused` when there is, or was, one of that name."""
        if name in self._keys:
            hint = "choose another name: what the audit says of it stays true"
            raise Refused(f"there is a key {name}", code="key_exists", hint=hint)

    async def put(self, key: Key) -> Key:
        async with self._turn:
            await self._keep(key)
        return key

    async def _keep(self, key: Key) -> None:
        after = {**self._keys, key.name: key}
        kept = Keys(keys=tuple(after[name] for name in sorted(after)))
        await anyio.to_thread.run_sync(self._shelf.write, kept)
        self._keys = after
        self.ring()

    def ring(self) -> None:
        """Whoever was let in has to be looked at again."""
        changed, self.changed = self.changed, anyio.Event()
        changed.set()


def digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
