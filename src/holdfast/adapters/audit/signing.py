"""The key that signs checkpoints: Ed25519, made in the home, for its owner alone."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from holdfast.adapters import private
from holdfast.core.error import Broken, Unavailable

_SIZE = 32


class FileSigner:
    """Implements `Signer`."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._public = self._key.public_key().public_bytes_raw()

    @property
    def key(self) -> bytes:
        return self._public

    def sign(self, said: bytes) -> bytes:
        return self._key.sign(said)

    def check(self, key: bytes, said: bytes, signature: bytes) -> bool:
        return signed(key, said, signature)


def open_signer(path: Path) -> FileSigner:
    """The key in the file, made if there is none. Raises `Broken` when others could have it."""
    try:
        seed = private.read(path, _SIZE)
    except Broken as problem:
        hint = f"move {path} away: a new key is made, and says so in the audit"
        raise Broken(f"the key of the audit: {problem}", code="audit_key", hint=hint) from problem
    if seed is None:
        made = Ed25519PrivateKey.generate().private_bytes_raw()
        try:
            private.write(path, made)
        except OSError as error:
            what = f"{path} cannot be written: {error.strerror}"
            raise Unavailable(what, code="audit_key") from error
        seed = made
    if len(seed) != _SIZE:
        hint = "put it back from a copy, or move it away: a new key is made"
        raise Broken(f"{path} is not the key of an audit", code="audit_key", hint=hint)
    return FileSigner(seed)


def signed(key: bytes, said: bytes, signature: bytes) -> bool:
    """Did whoever has this key say that?"""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, said)
    except (InvalidSignature, ValueError):
        return False
    return True
