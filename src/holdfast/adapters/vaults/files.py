"""Secrets as sealed files in a private folder: one file each, `/` in a name written as `~`.

A file is a head line, `sealed 1` and the id of its master key, and the value under AES-256-GCM,
bound to its name. Files from before, whose head is `plain` and the SHA-256 of the value, are read
and sealed as soon as anything is written.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from holdfast.adapters import private
from holdfast.core.error import Broken, HoldfastError, Unavailable
from holdfast.ports.vault import How

from .keysafe import KeySafe
from .master import Master, Masters
from .names import LONGEST, checked_name, checked_value
from .sealing import seal, unseal

_HEAD = 200
_LOCK, _KEY = ".lock", ".key"
_TRIES = 3
_log = logging.getLogger("holdfast.vault")
T = TypeVar("T")


class FileVault:
    """Implements `ports.Vault`, `ports.Sealing`. What others could read or replace is not used."""

    def __init__(self, folder: Path, *, passphrase: str = "", safe: KeySafe | None = None) -> None:
        self._folder = folder
        self._masters = Masters(folder / _KEY, passphrase, safe or KeySafe())
        self._all_sealed = False

    def get(self, name: str) -> str | None:
        path = self._path(name)
        if not self._there():
            return None
        for _ in range(_TRIES):  # between the two reads all may have been sealed anew
            data = private.read(path, LONGEST + _HEAD)
            if data is None:
                return None
            if data.startswith(b"plain "):
                return _plain(path, data)
            if master := self._master(path, data):
                return _opened(path, data, master)
        hint = "put the vault's .key back from a backup of the home"
        raise Broken(f"the key of {path} is gone", code="vault_key_missing", hint=hint)

    def put(self, name: str, value: str) -> None:
        path, data = self._path(name), checked_value(value)

        def change() -> None:
            master = self._sealing_key()
            private.write(path, _closed(path, data, master))
            if not self._all_sealed:
                self._seal_all(master)

        self._changed(change)

    def delete(self, name: str) -> bool:
        path = self._path(name)
        return self._there() and self._changed(lambda: private.remove(path))

    def names(self) -> Sequence[str]:
        return sorted(path.name.replace("~", "/") for path in self._files())

    def kept(self) -> How:
        return self._masters.kept()

    def open(self) -> None:
        """Make sure that it can be opened, and finish what a killed process began.

        Raises `NotAllowed` without the right passphrase, `Broken` for damage.
        """
        if self._there() and self._files():
            self._changed(lambda: self._seal_all(self._sealing_key()))

    def rotate(self) -> int:
        return self.seal(None)

    def seal(self, how: How | None, passphrase: str = "") -> int:
        """At any moment all entries can be opened: both keys are kept until none has the old."""

        def change() -> int:
            self._check_key()
            ring = self._masters.renewed(how, passphrase)
            return self._seal_all(ring[0])

        return self._changed(change)

    def problems(self) -> list[HoldfastError]:
        """Everything in it that is not used: others may have seen or changed it, or it is lost."""
        found: list[HoldfastError] = []
        try:
            for name in self.names():
                try:
                    self.get(name)
                except Broken as problem:
                    found.append(problem)
        except HoldfastError as problem:  # locked, or out of reach: the same for every other
            found.append(problem)
        return found

    def _sealing_key(self) -> Master:
        self._check_key()
        return (self._masters.ring() or self._masters.renewed())[0]

    def _check_key(self) -> None:
        """Entries without their key are not covered up by a new one."""
        if self._masters.ring():
            return
        if any(_head(path).startswith(b"sealed ") for path in self._files()):
            hint = "put it back from a backup of the home, or delete the vault and begin anew"
            what = f"{self._folder / _KEY} is gone: no secret can be read"
            raise Broken(what, code="vault_key_missing", hint=hint)

    def _seal_all(self, master: Master) -> int:
        """Every entry under this key; then, unless one could not be, no other key is kept."""
        done, left = 0, False
        for path in self._files():
            if _head(path).startswith(_line(master)):
                done += 1
                continue
            try:
                value = self.get(path.name.replace("~", "/"))
                if value is not None:
                    private.write(path, _closed(path, value.encode(), master))
                    done += 1
            except Broken as problem:
                left = True
                _log.warning("not sealed: %s", problem)
        if not left and self._masters.ring() != (master,):
            self._masters.keep((master,))
        self._all_sealed = not left
        return done

    def _master(self, path: Path, data: bytes) -> Master | None:
        head = data.partition(b"\n")[0].split(b" ")
        if len(head) != 3 or head[:2] != [b"sealed", b"1"]:
            raise _damaged(path)
        found = {one.id.encode(): one for one in self._masters.ring()}
        return found.get(head[2])

    def _files(self) -> Sequence[Path]:
        if not self._there():
            return ()
        try:
            return [path for path in self._folder.iterdir() if not path.name.startswith(".")]
        except OSError as error:
            raise Unavailable(f"{self._folder} cannot be read: {error.strerror}") from error

    def _there(self) -> bool:
        try:
            private.check_folder(self._folder)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise Unavailable(f"{self._folder} cannot be read: {error.strerror}") from error
        return True

    def _changed(self, change: Callable[[], T]) -> T:
        """Do it while no other process does; what a killed one left half-written goes first."""
        try:
            private.make_folder(self._folder)
            with private.locked(self._folder / _LOCK):
                private.clear(self._folder)
                return change()
        except OSError as error:
            what = f"the vault {self._folder} cannot be written: {error.strerror}"
            raise Unavailable(what, code="vault_unwritable") from error

    def _path(self, name: str) -> Path:
        return self._folder / checked_name(name).replace("/", "~")


def _line(master: Master) -> bytes:
    return f"sealed 1 {master.id}\n".encode()


def _about(path: Path) -> str:
    return f"holdfast vault entry 1 {path.name}"


def _closed(path: Path, data: bytes, master: Master) -> bytes:
    return _line(master) + seal(master.key, data, _about(path))


def _opened(path: Path, data: bytes, master: Master) -> str:
    value = unseal(master.key, data.partition(b"\n")[2], _about(path))
    if value is None:
        raise _damaged(path)
    return value.decode("utf-8")


def _plain(path: Path, data: bytes) -> str:
    head, _, value = data.partition(b"\n")
    if head != b"plain " + hashlib.sha256(value).hexdigest().encode():
        raise _damaged(path)
    return value.decode("utf-8")


def _head(path: Path) -> bytes:
    """The head line of an entry; empty if it cannot be read."""
    try:
        return (private.read(path, LONGEST + _HEAD) or b"")[:_HEAD]
    except HoldfastError:
        return b""


def _damaged(path: Path) -> Broken:
    name = path.name.replace("~", "/")
    what = f"the secret {name} is damaged ({path}): it is not used"
    return Broken(what, code="vault_damaged", hint="delete it and set it again")
