"""How Chromium is told whom to believe: by the names of public keys."""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificates


def key_names(authority: bytes) -> str:
    """The authority's public keys as Chromium names them: base64 of the SHA-256 of each."""
    found: list[str] = []
    for certificate in load_pem_x509_certificates(authority):
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        found.append(base64.b64encode(hashlib.sha256(key).digest()).decode())
    return ",".join(found)
