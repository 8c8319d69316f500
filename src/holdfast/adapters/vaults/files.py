"""Secrets as private files in a private folder: one file each, `/` in a name written as `~`.

A file is a head line, `plain` and the SHA-256 of the value, and the value. The head says how the
value is written, so that it can be written in another way later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from holdfast.adapters import private
from holdfast.core.error import Broken, Unavailable

from .names import LONGEST, checked_name, checked_value

_HEAD = 100
_LOCK = ".lock"
T = TypeVar("T")


class FileVault:
    """Implements `ports.Vault`. What others could read or replace is never used."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, name: str) -> str | None:
        path = self._path(name)
        if not self._there():
            return None
        data = private.read(path, LONGEST + _HEAD)
        return None if data is None else _opened(path, data)

    def put(self, name: str, value: str) -> None:
        path, data = self._path(name), checked_value(value)
        self._changed(lambda: private.write(path, _closed(data)))

    def delete(self, name: str) -> bool:
        path = self._path(name)
        return self._there() and self._changed(lambda: private.remove(path))

    def names(self) -> Sequence[str]:
        if not self._there():
            return ()
        try:
            found = [path.name for path in self._folder.iterdir()]
        except OSError as error:
            raise Unavailable(f"{self._folder} cannot be read: {error.strerror}") from error
        return sorted(name.replace("~", "/") for name in found if not name.startswith("."))

    def problems(self) -> list[Broken]:
        """Everything in it that is not used because others may have seen or changed it."""
        found: list[Broken] = []
        try:
            for name in self.names():
                try:
                    self.get(name)
                except Broken as problem:
                    found.append(problem)
        except Broken as problem:
            found.append(problem)
        return found

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


def _closed(data: bytes) -> bytes:
    return f"plain {hashlib.sha256(data).hexdigest()}\n".encode() + data


def _opened(path: Path, data: bytes) -> str:
    head, _, value = data.partition(b"\n")
    if head != _closed(value).partition(b"\n")[0]:
        hint = "delete it and connect again"
        raise Broken(f"{path} is damaged: it is not used", code="vault_damaged", hint=hint)
    return value.decode("utf-8")
