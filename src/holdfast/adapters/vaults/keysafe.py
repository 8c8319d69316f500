"""The operating system's keyring as a place for the vault's master key; needs an extra."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any

from holdfast.core.error import Broken, Unavailable

from .keychain import SERVICE, needs_a_person


class KeySafe:
    """Keeps texts in the keyring under `holdfast`. Raises `Unavailable` where there is none.

    Only keyrings that need nobody to answer a dialog are used: a daemon has nobody.
    """

    def __init__(self, load: Callable[[str], Any] = importlib.import_module) -> None:
        self._load = load

    def get(self, entry: str) -> str:
        """What is kept. Raises `Broken` if it is gone."""
        with self._keyring() as keyring:
            found = keyring.get_password(SERVICE, entry)
        if not found:
            what = f"the keyring has no {SERVICE} {entry}: no secret can be read"
            raise Broken(what, code="vault_key_missing", hint="unlock or restore the keyring")
        return str(found)

    def put(self, entry: str, value: str) -> None:
        """Keep it, and look whether it is really there."""
        with self._keyring() as keyring:
            keyring.set_password(SERVICE, entry, value)
            kept = keyring.get_password(SERVICE, entry) == value
        if not kept:
            raise Unavailable("the keyring does not keep what it is given", code="no_keyring")

    def delete(self, entry: str) -> None:
        """Forget it, if it can be forgotten: what is left opens nothing any more."""
        with suppress(Unavailable), self._keyring() as keyring:
            keyring.delete_password(SERVICE, entry)

    @contextmanager
    def _keyring(self) -> Generator[Any]:
        hint = "keep the key in another way: holdfast vault seal --file or --passphrase"
        try:
            keyring = self._load("keyring")
            failed: type[Exception] = self._load("keyring.errors").KeyringError
            problem = needs_a_person(self._load, keyring.get_keyring())
        except ImportError as error:
            what = "there is no keyring: install holdfast[keyring]"
            raise Unavailable(what, code="no_keyring", hint=hint) from error
        if problem:
            raise Unavailable(f"the keyring is not used: {problem}", code="no_keyring", hint=hint)
        try:
            yield keyring
        except (failed, RuntimeError, OSError) as error:
            what = f"the keyring failed: {type(error).__name__}"
            raise Unavailable(what, code="no_keyring", hint=hint) from error
