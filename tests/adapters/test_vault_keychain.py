"""The system's keychain is read where nobody has to be asked, and left alone elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.adapters.models.catalog import Catalog
from holdfast.adapters.models.settings import ModelsConfig
from holdfast.adapters.vaults.keychain import Keychain
from holdfast.adapters.vaults.memory import MemoryVault

KEY = "sk-canary-0123456789"


class LockedError(Exception):
    """What a keyring library raises."""


def libraries(
    backend: str, read: Callable[[str, str], str | None], *, locked: bool = False
) -> Callable[[str], Any]:
    kind = type("Keyring", (), {"__module__": backend})
    collection = SimpleNamespace(is_locked=lambda: locked)

    def default(bus: str) -> SimpleNamespace:
        assert bus == "bus"
        return collection

    there: dict[str, Any] = {
        "keyring": SimpleNamespace(get_keyring=kind, get_password=read),
        "keyring.errors": SimpleNamespace(KeyringError=LockedError),
        "secretstorage": SimpleNamespace(
            dbus_init=lambda: "bus",
            get_default_collection=default,
            exceptions=SimpleNamespace(SecretStorageException=LockedError),
        ),
    }

    def load(name: str) -> Any:
        if name not in there:
            raise ImportError(name)
        return there[name]

    return load


def keys(service: str, name: str) -> str | None:
    assert service == "holdfast"
    return KEY if name == "anthropic" else None


def test_a_key_in_the_keychain_goes_before_a_saved_one_and_behind_a_variable():
    keychain = Keychain(libraries("keyring.backends.SecretService", keys))
    vault = MemoryVault()
    vault.put("provider/anthropic/api_key", "saved")
    for env, source in (({}, "keychain"), ({"ANTHROPIC_API_KEY": "e"}, "ANTHROPIC_API_KEY")):
        told = ModelsConfig(env=env, vault=vault, keychain=keychain, probe=False)
        (found,) = Catalog(told).describe().found
        assert found.source == source
        assert "saved key" in found.also


@pytest.mark.parametrize("backend", ["keyrings.alt.file", "keyring.backends.kwallet", "x"])
def test_a_keychain_that_might_ask_is_not_read(backend: str):
    def never(service: str, name: str) -> str:
        raise AssertionError("it was read")

    assert Keychain(libraries(backend, never))("anthropic") == ""


def test_a_locked_a_missing_and_a_broken_one_are_empty_and_tried_once():
    asked: list[str] = []

    def broken(service: str, name: str) -> str:
        asked.append(name)
        raise LockedError(KEY)

    def missing(name: str) -> Any:
        asked.append(name)
        raise ImportError(name)

    service = "keyring.backends.SecretService"
    assert Keychain(libraries(service, keys, locked=True))("anthropic") == ""
    for load in (libraries(service, broken), missing):
        asked.clear()
        keychain = Keychain(load)
        assert keychain("anthropic") == keychain("anthropic") == ""
        assert len(asked) == 1


def test_one_that_does_not_answer_is_left_alone():
    never = threading.Event()

    def hangs(service: str, name: str) -> str:
        never.wait(20)
        return KEY

    keychain = Keychain(libraries("keyring.backends.SecretService", hangs), seconds=0.05)
    assert keychain("anthropic") == ""
    assert keychain("anthropic") == ""
    never.set()
