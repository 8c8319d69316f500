"""An exported audit: one line for each record, checkpoints where they were signed, sealed.

Every line is wholly determined by what it says and by the lines before it, so that a change of any
byte is found in its line. The first line says what follows, the last one seals it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from holdfast.core.audit.chain import (
    GONE,
    Chain,
    Checkpoint,
    Kept,
    claim,
    grown,
    leaf_of,
    line,
    link_of,
    root,
)
from holdfast.core.ids import Instant

Check = Callable[[bytes, bytes, bytes], bool]
"""Did whoever has this public key sign that, with this signature?"""

T = TypeVar("T")
_HEX = 64
_SEQ, _LEAF, _OWN, _BODY = map(len, ('{"seq":', ',"leaf":"', '","hash":"', '","body":'))


class Header(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line."""

    audit: Literal["holdfast"] = "holdfast"
    version: Literal[1] = 1
    size: int
    at: Instant
    key: str


class Seal(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The last line: `header` is the hash of the first one, the rest is as in a checkpoint.

    `gone` says of how many records only the hashes were left, so that no more are emptied later.
    """

    size: int
    at: Instant
    header: str
    root: str
    head: str
    key: str
    gone: int = 0
    signature: str = ""


class Signed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line with a checkpoint."""

    checkpoint: Checkpoint


class Sealed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The line with the seal."""

    end: Seal


class State(NamedTuple):
    """What is known after so many lines. Without a `header` the lines are of a live audit."""

    header: Header | None = None
    digest: str = ""
    chain: Chain = Chain()
    gone: int = 0
    signed: int = 0
    checkpoints: int = 0
    keys: tuple[str, ...] = ()
    ended: bool = False


def written(said: Struct) -> bytes:
    """A line that is no record."""
    return msgspec.json.encode(said) + b"\n"


def read(text: bytes, kind: type[T]) -> T | None:
    """What such a line says; None unless it is written exactly as `written` does."""
    try:
        said = msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return said if msgspec.json.encode(said) + b"\n" == text else None


def sealing(seal: Seal) -> bytes:
    """What is signed of the last line."""
    said = (seal.size, seal.at, seal.header, seal.root, seal.head, seal.key)
    said += (seal.gone,) if seal.gone else ()
    return "\n".join(map(str, ("holdfast audit export 1", *said))).encode()


def begun(text: bytes) -> State | None:
    """After the first line."""
    header = read(text, Header)
    return header and State(header=header, digest=hashlib.sha256(text).hexdigest())


def followed(state: State, text: bytes, check: Check) -> State | None:
    """After one line more; None if it is not what must follow."""
    if state.ended:
        return None
    if text.startswith(b'{"seq":'):
        return _record(state, text)
    if (signed := read(text, Signed)) is not None:
        return _checkpoint(state, signed.checkpoint, check)
    if (sealed := read(text, Sealed)) is not None:
        right = whole(state, sealed.end, check)
        return state._replace(ended=True, keys=_with(state, sealed.end.key)) if right else None
    return None


def _record(state: State, text: bytes) -> State | None:
    seq = state.chain.size + 1
    start = _SEQ + len(str(seq)) + _LEAF
    body = text[start + 2 * _HEX + _OWN + _BODY : -2]
    if body == GONE:
        leaf, said = unhexed(text[start : start + _HEX]), None
    else:
        leaf, said = leaf_of(body), body
    if line(Kept(seq, leaf, link_of(state.chain, leaf), said)) != text:
        return None
    return state._replace(chain=grown(state.chain, leaf), gone=state.gone + (said is None))


def _checkpoint(state: State, said: Checkpoint, check: Check) -> State | None:
    fits = (said.size, said.previous) == (state.chain.size, state.signed)
    if not (fits and agrees(state, said) and by_key(said, check)):
        return None
    count, keys = state.checkpoints + 1, _with(state, said.key)
    return state._replace(signed=said.size, checkpoints=count, keys=keys)


def is_gone(text: bytes) -> bool:
    """Is this the line of a record of which only the hashes are left?"""
    return text.endswith(b'","body":%b}\n' % GONE)


def _with(state: State, key: str) -> tuple[str, ...]:
    return state.keys if key in state.keys else (*state.keys, key)


def agrees(state: State, said: Checkpoint | Seal) -> bool:
    """Is this the root and the last hash of the records so far?"""
    chain = state.chain
    return (said.root, said.head) == (root(chain).hex(), chain.head.hex())


def by_key(said: Checkpoint | Seal, check: Check) -> bool:
    """Is it signed by the key that it names?"""
    told = claim(said) if isinstance(said, Checkpoint) else sealing(said)
    return check(unhexed(said.key.encode()), told, unhexed(said.signature.encode()))


def whole(state: State, seal: Seal, check: Check) -> bool:
    header, size = state.header, state.chain.size
    return (
        header is not None
        and header.size == seal.size == size == state.signed
        and (seal.header, seal.key, seal.gone) == (state.digest, header.key, state.gone)
        and agrees(state, seal)
        and by_key(seal, check)
    )


def unhexed(text: bytes) -> bytes:
    """The bytes; none at all for what is not hexadecimal as we write it: one spelling for each."""
    try:
        found = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        return b""
    return found if found.hex().encode() == text else b""


def fingerprint(key: str) -> str:
    """How people compare public keys."""
    return f"SHA256:{hashlib.sha256(unhexed(key.encode())).hexdigest()}"
