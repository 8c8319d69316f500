"""The hashes that hold the audit together, and its lines as they are exported and mirrored.

Two structures over the same records. A chain: each record's hash is made of the one before it, so
that a change is found at the record. And the Merkle tree of RFC 6962 (leaves and nodes have
prefixes of their own), whose root a checkpoint signs. Both are made of a record's leaf hash alone:
one whose content is gone leaves that behind, and everything still verifies.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from msgspec import Struct

from holdfast.core.ids import GENESIS, Instant

_LEAF, _NODE, _LINK = b"\x00", b"\x01", b"\x02"
GONE = b"null"
"""What a line says in place of a record that is gone."""


class Chain(NamedTuple):
    """The end of the audit: how many records, the last one's hash, the tree's full parts."""

    size: int = 0
    head: bytes = bytes.fromhex(GENESIS)
    peaks: tuple[bytes, ...] = ()


class Kept(NamedTuple):
    """One record: its number (from 1), leaf and hash, and its content unless that is gone."""

    seq: int
    leaf: bytes
    hash: bytes
    body: bytes | None


class Checkpoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody with the key says: so many records, this root, this last hash. All hexadecimal.

    `previous` is the size at the checkpoint before, so that none can be taken out unseen.
    """

    size: int
    previous: int
    at: Instant
    root: str
    head: str
    key: str
    signature: str = ""


def leaf_of(body: bytes) -> bytes:
    return sha256(_LEAF + body).digest()


def link_of(chain: Chain, leaf: bytes) -> bytes:
    """The hash of the record with this leaf, if it is the next."""
    return sha256(_LINK + chain.size.to_bytes(8, "big") + chain.head + leaf).digest()


def grown(chain: Chain, leaf: bytes) -> Chain:
    """One record more."""
    return extended(chain, (leaf,))[0]


def extended(chain: Chain, leaves: Sequence[bytes]) -> tuple[Chain, list[bytes]]:
    """So many records more; and the hash of each. Ten thousand a second are nothing: one loop."""
    size, head, peaks = chain.size, chain.head, list(chain.peaks)
    hashes = list[bytes]()
    for leaf in leaves:
        head = sha256(_LINK + size.to_bytes(8, "big") + head + leaf).digest()
        hashes.append(head)
        node, full = leaf, size
        while full & 1:
            node, full = sha256(_NODE + peaks.pop() + node).digest(), full >> 1
        peaks.append(node)
        size += 1
    return Chain(size, head, tuple(peaks)), hashes


def root(chain: Chain) -> bytes:
    """The root of the tree over all records (RFC 6962 §2.1)."""
    if not chain.peaks:
        return sha256().digest()
    *before, node = chain.peaks
    for peak in reversed(before):
        node = sha256(_NODE + peak + node).digest()
    return node


def line(record: Kept) -> bytes:
    """One line of an export or a mirror: wholly determined by the record."""
    seq, leaf, own, body = record
    head = f'{{"seq":{seq},"leaf":"{leaf.hex()}","hash":"{own.hex()}","body":'
    return b"%b%b}\n" % (head.encode(), GONE if body is None else body)


def claim(checkpoint: Checkpoint) -> bytes:
    """What is signed."""
    said: Sequence[object] = (
        *("holdfast audit checkpoint 1", checkpoint.size, checkpoint.previous, checkpoint.at),
        *(checkpoint.root, checkpoint.head, checkpoint.key),
    )
    return "\n".join(map(str, said)).encode()


def due(chain: Chain, previous: int, key: bytes, at: Instant) -> Checkpoint:
    """The checkpoint of this end, to be signed."""
    return Checkpoint(
        size=chain.size,
        previous=previous,
        at=at,
        root=root(chain).hex(),
        head=chain.head.hex(),
        key=key.hex(),
    )
