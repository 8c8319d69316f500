"""Names for things: sortable ids, content hashes, and the chain that shows tampering."""

from __future__ import annotations

import hashlib
from typing import Any, NewType

import msgspec

TaskId = NewType("TaskId", str)
CallId = NewType("CallId", str)
SessionId = NewType("SessionId", str)

Instant = int
"""Milliseconds since 1970-01-01T00:00:00Z. Whole numbers, so that a refold is equal to the byte."""

GENESIS = "0" * 64
"""The chain value before the first event of a stream."""

_CANONICAL = msgspec.json.Encoder(order="deterministic")


def sortable(prefix: str, now: Instant, randomness: bytes) -> str:
    """A UUIDv7 (RFC 9562 §5.7) with a prefix: sorts by time, 74 random bits.

    `randomness` is at least 10 bytes; the caller brings it, so that tests can choose it.
    """
    bits = int.from_bytes(randomness[:10], "big")
    value = (now & 0xFFFFFFFFFFFF) << 80
    value |= 0x7 << 76 | (bits >> 68 & 0xFFF) << 64 | 0b10 << 62 | bits & 0x3FFFFFFFFFFFFFFF
    return f"{prefix}_{value:032x}"


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values have equal text."""
    return _CANONICAL.encode(value).decode()


def digest(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(_CANONICAL.encode(value)).hexdigest()


def link(previous: str, kind: str, at: Instant, body: bytes) -> str:
    """The chain value after one more event: SHA-256 over the last one, kind, time and body."""
    head = f"{previous}|{kind}|{at}|".encode()
    return hashlib.sha256(head + body).hexdigest()


def jitter(key: str, span: int) -> int:
    """A number in [0, span) that depends only on `key`: spread without chance. 0 if span < 1."""
    if span < 1:
        return 0
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % span
