"""The certificate that an installation makes for itself."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from holdfast.core.error import Broken
from holdfast.core.ids import Instant

from . import private

_LIFE = dt.timedelta(days=397)
"""What browsers accept at most."""
_SOON = dt.timedelta(days=30)
_BEFORE = dt.timedelta(hours=1)
_LARGEST = 1 << 16


class Certificate(Struct, frozen=True, kw_only=True):
    """One that is there. `fingerprint` is SHA-256 of it."""

    path: str
    key_path: str
    fingerprint: str
    names: tuple[str, ...]
    expires_at: Instant


def own(folder: Path, names: Sequence[str], now: Instant, *, renew: bool = False) -> Certificate:
    """The installation's own, good for these names; made where there is none, or none that is good
    for a month and for all of them."""
    private.make_folder(folder)
    path, key_path = folder / "cert.pem", folder / "key.pem"
    moment = dt.datetime.fromtimestamp(now / 1000, dt.UTC)
    found = None if renew else _read(path)
    if (
        found is None
        or private.read(key_path, _LARGEST) is None
        or found.not_valid_after_utc - moment < _SOON
        or not set(names) <= set(_names(found))
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        found = _made(key, names, moment)
        private.remove(path)  # a key without its certificate is made again, the reverse is a trap
        private.write(key_path, _pem(key))
        private.write(path, found.public_bytes(serialization.Encoding.PEM))
    return described(path, key_path, found)


def read(path: Path, key_path: Path) -> Certificate:
    """One of somebody else's. Raises `Broken` for what is none."""
    found = _read(path)
    if found is None:
        raise Broken(f"there is no certificate {path}", code="bad_certificate")
    return described(path, key_path, found)


def described(path: Path, key_path: Path, found: x509.Certificate) -> Certificate:
    print_ = found.fingerprint(hashes.SHA256()).hex(":").upper()
    return Certificate(
        path=str(path),
        key_path=str(key_path),
        fingerprint=print_,
        names=tuple(_names(found)),
        expires_at=round(found.not_valid_after_utc.timestamp() * 1000),
    )


def _made(
    key: ec.EllipticCurvePrivateKey, names: Sequence[str], moment: dt.datetime
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Holdfast")])
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - _BEFORE)
        .not_valid_after(moment + _LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_name(one) for one in names]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _names(found: x509.Certificate) -> list[str]:
    try:
        extension = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [str(one.value) for one in extension.value]


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def _read(path: Path) -> x509.Certificate | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return x509.load_pem_x509_certificate(data)
    except ValueError as error:
        what = f"{path} is no certificate: {error}"
        hint = "it is PEM, the server's own first"
        raise Broken(what, code="bad_certificate", hint=hint) from None
