"""The routes about the door's own certificate."""

from __future__ import annotations

import anyio.to_thread
from msgspec import Struct
from pydantic import Field

from holdfast.core.error import Refused
from holdfast.core.ids import Instant

from .bodies import Body, NoQuery
from .route import Ask, Entry

_PATH = "/api/v1/certificate"


class ToRenew(Body):
    """Whether to make another one."""

    renew: bool = Field(default=False, description="Make a new one, whatever there is.")


class CertificateRow(Struct, frozen=True, kw_only=True):
    """The certificate that others see, and where it is. `fingerprint` is SHA-256 of it."""

    path: str
    fingerprint: str
    names: tuple[str, ...]
    expires_at: Instant
    tls: bool


async def certificate(ask: Ask[NoQuery, ToRenew]) -> CertificateRow:
    facts = ask.door.facts
    if facts.certificate is None:
        raise Refused("this daemon has no certificate", code="no_certificate")
    found = await anyio.to_thread.run_sync(facts.certificate, ask.body.renew)
    return CertificateRow(
        path=found.path,
        fingerprint=found.fingerprint,
        names=found.names,
        expires_at=found.expires_at,
        tls=any(one.startswith("https:") for one in ask.door.listening),
    )


CERTIFICATE_ROUTES: tuple[Entry, ...] = (
    Entry(
        "POST",
        _PATH,
        certificate,
        "The door's certificate; made where there is none, or when it is to be renewed.",
        CertificateRow,
        body=ToRenew,
        errors=(409, 503),
    ),
)
