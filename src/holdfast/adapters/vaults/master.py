"""The master keys of a vault, and how they are kept: `.key` in its folder says it.

A ring has one key. While entries are sealed anew it has two, the new one first, so that a vault
whose writer was killed can be opened whichever key an entry has.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from holdfast.adapters import private
from holdfast.core.error import Broken, Invalid, NotAllowed
from holdfast.ports.vault import How

from .keysafe import KeySafe
from .sealing import Stretch, fresh_key, fresh_stretch, seal, stretched, unseal

_LONGEST = 64 << 10
_SHORTEST = 8
_ABOUT = "holdfast vault ring 1"
_HINT = "set HOLDFAST_VAULT_PASSPHRASE_FILE, or HOLDFAST_VAULT_PASSPHRASE, and start again"


class Master(Struct, frozen=True, kw_only=True):
    """One master key. Never shown."""

    id: str
    key: bytes

    def __repr__(self) -> str:
        return f"Master(id={self.id!r})"


Ring = tuple[Master, ...]


class KeyFile(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `.key` says: `ring` plain or wrapped, or the keyring's `entry` that has it."""

    format: int
    kept: How
    ring: bytes = b""
    stretch: Stretch | None = None
    entry: str = ""

    def __repr__(self) -> str:
        return f"KeyFile(kept={self.kept!r})"


class Masters:
    """Reads and writes the ring. Who writes holds the vault's lock."""

    def __init__(self, path: Path, passphrase: str, safe: KeySafe) -> None:
        self._path, self._passphrase, self._safe = path, passphrase, safe
        self._seen: tuple[int, int, int] | None = None
        self._ring: Ring = ()
        self._stretched: tuple[str, Stretch, bytes] | None = None

    def ring(self) -> Ring:
        """The keys, the one to seal with first; empty if there are none yet.

        Raises `NotAllowed` when it cannot be opened, `Broken` for damage.
        """
        seen = self._stamp()
        if seen is None or seen != self._seen:
            told = self._file()
            self._ring = () if told is None else self._opened(told)
            self._seen = seen
        return self._ring

    def kept(self) -> How:
        """How the ring is kept, or would be when it is made now."""
        told = self._file()
        if told is None:
            return "passphrase" if self._passphrase else "file"
        return told.kept

    def renewed(self, how: How | None = None, passphrase: str = "") -> Ring:
        """A new key before the old ones, kept as before or as `how` says. Raises `OSError` too."""
        before = self.ring()
        how = how or self.kept()
        passphrase = passphrase or self._passphrase
        if how == "passphrase" and len(passphrase) < _SHORTEST:
            what = f"a passphrase has at least {_SHORTEST} characters"
            raise Invalid(what, code="bad_passphrase")
        ring = (Master(id=os.urandom(6).hex(), key=fresh_key()), *before)
        self._keep(ring, how, passphrase)
        return ring

    def keep(self, ring: Ring) -> None:
        """Replace the ring, durably and whole, kept as before. Raises `OSError` too."""
        self._keep(ring, self.kept(), self._passphrase)

    def _keep(self, ring: Ring, how: How, passphrase: str) -> None:
        before = self._file()
        told = self._closed(ring, how, passphrase)
        private.write(self._path, msgspec.json.encode(told))
        self._ring, self._seen, self._passphrase = ring, self._stamp(), passphrase
        if before is not None and before.entry:
            self._safe.delete(before.entry)

    def _closed(self, ring: Ring, how: How, passphrase: str) -> KeyFile:
        plain = msgspec.json.encode(ring)
        if how == "file":
            return KeyFile(format=1, kept=how, ring=plain)
        if how == "keyring":
            entry = f"vault/{os.urandom(6).hex()}"
            self._safe.put(entry, plain.decode())
            return KeyFile(format=1, kept=how, entry=entry)
        known = self._stretched
        stretch = known[1] if known and known[0] == passphrase else fresh_stretch()
        wrapped = seal(self._wrapping(passphrase, stretch), plain, _ABOUT)
        return KeyFile(format=1, kept=how, ring=wrapped, stretch=stretch)

    def _opened(self, told: KeyFile) -> Ring:
        if told.kept == "file":
            plain = told.ring
        elif told.kept == "keyring":
            plain = self._safe.get(told.entry).encode()
        else:
            plain = self._unwrapped(told)
        try:
            return msgspec.json.decode(plain, type=Ring)
        except msgspec.DecodeError as error:
            raise self._damaged() from error

    def _unwrapped(self, told: KeyFile) -> bytes:
        if told.stretch is None:
            raise self._damaged()
        if not self._passphrase:
            what = "the vault is sealed with a passphrase, and none was given"
            raise NotAllowed(what, code="vault_locked", hint=_HINT)
        plain = unseal(self._wrapping(self._passphrase, told.stretch), told.ring, _ABOUT)
        if plain is None:
            self._stretched = None
            what = "the passphrase does not open the vault"
            raise NotAllowed(
                what, code="vault_locked", hint="is it the one that it was sealed with?"
            )
        return plain

    def _wrapping(self, passphrase: str, stretch: Stretch) -> bytes:
        """The key that a passphrase makes, computed once."""
        known = self._stretched
        if known is None or known[:2] != (passphrase, stretch):
            key = stretched(passphrase, stretch)
            self._stretched = known = (passphrase, stretch, key)
        return known[2]

    def _file(self) -> KeyFile | None:
        data = private.read(self._path, _LONGEST)
        if data is None:
            return None
        try:
            told = msgspec.json.decode(data, type=KeyFile)
        except msgspec.DecodeError as error:
            raise self._damaged() from error
        if told.format != 1:
            what = f"{self._path} was written by a newer Holdfast"
            raise Broken(what, code="vault_damaged", hint="upgrade Holdfast")
        return told

    def _damaged(self) -> Broken:
        hint = "put it back from a backup of the home: without it no secret can be read"
        return Broken(f"{self._path} is damaged", code="vault_damaged", hint=hint)

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat(follow_symlinks=False)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_mode
