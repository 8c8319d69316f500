"""The system's keychain: keys that a person put there, read and never asked for.

A daemon has nobody to answer a dialog. Only keychains that can be read without one are read, a
locked one counts as empty, and one that does not answer is left alone from then on.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

SERVICE = "holdfast"
_SECONDS = 3.0
_QUIET = ("keyring.backends.macOS", "keyring.backends.SecretService", "keyring.backends.Windows")
_SECURITY = "/System/Library/Frameworks/Security.framework/Security"
_log = logging.getLogger("holdfast.keychain")


class Keychain:
    """Gives the key that is kept under `holdfast` and a provider's name, or "".

    `load` imports what the extra `keyring` brings; without it the keychain is empty.
    """

    def __init__(
        self,
        load: Callable[[str], Any] = importlib.import_module,
        *,
        seconds: float = _SECONDS,
    ) -> None:
        self._load, self._seconds = load, seconds
        self._off = False

    def __call__(self, provider: str) -> str:
        if self._off:
            return ""
        found: list[str] = []
        reader = threading.Thread(target=self._read, args=(provider, found), daemon=True)
        reader.start()
        reader.join(self._seconds)
        if reader.is_alive():
            self._leave("it does not answer")
        return found[0] if found else ""

    def _read(self, provider: str, found: list[str]) -> None:
        try:
            keyring = self._load("keyring")
            if problem := needs_a_person(self._load, keyring.get_keyring()):
                self._leave(problem)
                return
            found.append(keyring.get_password(SERVICE, provider) or "")
        except ImportError:
            self._leave("install holdfast[keyring] to use it")
        except (RuntimeError, OSError, ValueError, AttributeError) as error:
            self._leave(type(error).__name__)
        except self._errors() as error:
            self._leave(type(error).__name__)

    def _errors(self) -> tuple[type[Exception], ...]:
        """What the library raises; it is there when this is asked."""
        found: list[type[Exception]] = [self._load("keyring.errors").KeyringError]
        with suppress(ImportError):
            found.append(self._load("secretstorage").exceptions.SecretStorageException)
        return tuple(found)

    def _leave(self, why: str) -> None:
        if not self._off:
            _log.warning("the keychain is not used: %s", why)
        self._off = True


def needs_a_person(load: Callable[[str], Any], backend: Any) -> str:
    """Why a keychain cannot be read without a dialog; empty if it can."""
    module = type(backend).__module__
    if not module.startswith(_QUIET):
        return f"{module} is not one that can be read without asking"
    if module.endswith("SecretService"):
        service = load("secretstorage")
        if service.get_default_collection(service.dbus_init()).is_locked():
            return "it is locked"
    if module.endswith("macOS"):
        ctypes.CDLL(_SECURITY).SecKeychainSetUserInteractionAllowed(0)
    return ""
