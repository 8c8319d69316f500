"""Seals bytes with AES-256-GCM: a fresh nonce each time, and what they are for bound to them."""

from __future__ import annotations

import importlib
import os
from typing import Any

from msgspec import Struct

_NONCE = 12
_KEY = 32


class Stretch(Struct, frozen=True, kw_only=True):
    """How a passphrase becomes a key; the defaults are RFC 9106's for small memory, times one."""

    salt: bytes
    iterations: int = 3
    lanes: int = 4
    memory_kib: int = 65_536


def fresh_key() -> bytes:
    return os.urandom(_KEY)


def fresh_stretch() -> Stretch:
    return Stretch(salt=os.urandom(16))


def seal(key: bytes, data: bytes, about: str) -> bytes:
    """`data` under `key`; only for `about` can it be opened again."""
    nonce = os.urandom(_NONCE)
    sealed: bytes = _cipher(key).encrypt(nonce, data, about.encode())
    return nonce + sealed


def unseal(key: bytes, data: bytes, about: str) -> bytes | None:
    """What was sealed; None when one bit is not as it was, the key is another, or the purpose."""
    damaged = _library("exceptions").InvalidTag
    try:
        found: bytes = _cipher(key).decrypt(data[:_NONCE], data[_NONCE:], about.encode())
    except (damaged, ValueError):
        return None
    return found


def stretched(passphrase: str, how: Stretch) -> bytes:
    """A key from a passphrase, slow and large in memory on purpose (Argon2id)."""
    argon2 = _library("hazmat.primitives.kdf.argon2")
    key: bytes = argon2.Argon2id(
        salt=how.salt,
        length=_KEY,
        iterations=how.iterations,
        lanes=how.lanes,
        memory_cost=how.memory_kib,
    ).derive(passphrase.encode())
    return key


def _cipher(key: bytes) -> Any:
    return _library("hazmat.primitives.ciphers.aead").AESGCM(key)


def _library(name: str) -> Any:
    # Imported late: it takes megabytes, and a house without secrets needs none of it.
    return importlib.import_module(f"cryptography.{name}")
