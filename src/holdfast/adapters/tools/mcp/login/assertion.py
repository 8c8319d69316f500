"""A signed statement of who we are, for issuers that know our public key."""

from __future__ import annotations

import base64
import importlib
from collections.abc import Mapping
from typing import Any

import msgspec

from .asking import NoLogin

_BYTES = {"ES256": 32, "ES384": 48}
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384"}


def assertion(pem: str, claims: Mapping[str, Any]) -> str:
    """A JWT, signed with an EC (P-256, P-384) or RSA key. Raises `NoLogin` for no such key."""
    serialization = _library("hazmat.primitives.serialization")
    try:
        key: Any = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError):
        raise NoLogin("its client key is no private key in PEM") from None
    curve = getattr(getattr(key, "curve", None), "name", "")
    name = _CURVES.get(curve) or ("RS256" if hasattr(key, "private_numbers") and not curve else "")
    if not name or (name == "RS256" and not hasattr(key, "key_size")):
        raise NoLogin("its client key is neither EC (P-256, P-384) nor RSA")
    body = f"{_part({'alg': name, 'typ': 'JWT'})}.{_part(claims)}"
    return f"{body}.{_encoded(_signature(key, name, body.encode()))}"


def _signature(key: Any, name: str, data: bytes) -> bytes:
    hashes = _library("hazmat.primitives.hashes")
    if name == "RS256":
        padding = _library("hazmat.primitives.asymmetric.padding")
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    ec = _library("hazmat.primitives.asymmetric.ec")
    utils = _library("hazmat.primitives.asymmetric.utils")
    digest = hashes.SHA256() if name == "ES256" else hashes.SHA384()
    r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
    return r.to_bytes(_BYTES[name], "big") + s.to_bytes(_BYTES[name], "big")


def _library(name: str) -> Any:
    """Loaded when somebody signs: it takes a while."""
    return importlib.import_module(f"cryptography.{name}")


def _part(words: Mapping[str, Any]) -> str:
    return _encoded(msgspec.json.encode(words))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
