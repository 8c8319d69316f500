"""The writing end of the audit: lives in the writer's thread, grows in the writer's transactions.

What it remembers of the end is right as long as every change goes through it; after any failure it
is told to `forget`, and reads the end again before it goes on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from holdfast.core.audit.chain import Chain, Checkpoint, claim, due, extended, leaf_of
from holdfast.core.error import Refused
from holdfast.core.ids import Instant
from holdfast.ports.audit import Signer

from .connection import Connection, Value
from .entry import Note

EVERY = 1_000
_AT_ONCE = 64
_HASH = 32
_ROW = "(?,?,?,?,?,?)"


class Found(NamedTuple):
    """The records of some tasks, looked for when there were `size` of them."""

    size: int
    seqs: Sequence[int]


class Trail:
    """Appends facts and signs, at the latest every `every` records. `size` may be read anywhere."""

    def __init__(self, signer: Signer | None = None, every: int = EVERY) -> None:
        self._signer, self._every = signer, every
        self._chain: Chain | None = None
        self._signed = 0
        self.size = 0

    def forget(self) -> None:
        """Something failed: what is remembered may never have been stored."""
        self._chain = None

    def begin(self, connection: Connection) -> None:
        """The database has just been opened."""
        self._chain = None
        self.load(connection)

    def empty(self, connection: Connection, task: str, found: Found) -> None:
        """In the open transaction: of what a task said only the hashes stay."""
        sql = """UPDATE audit SET body = NULL
            WHERE (seq > ? OR seq IN (SELECT value FROM json_each(?))) AND task = ?"""
        connection.run(sql, (found.size, json.dumps(found.seqs), task))

    def load(self, connection: Connection) -> Chain:
        """The end as it is stored."""
        if self._chain is None:
            self._signed, self._chain = _stored(connection)
            self.size = self._chain.size
        return self._chain

    def add(self, connection: Connection, notes: Sequence[Note]) -> None:
        """Part of the transaction that is open."""
        if not notes:
            return
        before = self.load(connection)
        leaves = [leaf_of(note.body) for note in notes]
        chain, hashes = extended(before, leaves)
        rows, seq = list[Value](), before.size
        for (at, task, body), leaf, own in zip(notes, leaves, hashes, strict=True):
            seq += 1
            rows += (seq, at, task, leaf, own, body)
        for begin in range(0, len(rows), 6 * _AT_ONCE):
            part = rows[begin : begin + 6 * _AT_ONCE]
            places = ",".join([_ROW] * (len(part) // 6))
            connection.run(f"INSERT INTO audit VALUES {places}", part)  # noqa: S608 - question marks
        self._chain, self.size = chain, chain.size
        if self._signer is not None and chain.size - self._signed >= self._every:
            self.sign(connection, notes[-1].at)

    def sign(self, connection: Connection, at: Instant) -> Checkpoint:
        """The checkpoint of the end, in the open transaction. Raises `Refused` without a key."""
        chain = self.load(connection)
        if chain.size and chain.size == self._signed:
            return checkpoints(connection, chain.size - 1, 1)[0]
        if self._signer is None:
            raise Refused("nobody signs this audit", code="audit_unsigned")
        made = due(chain, self._signed, self._signer.key, at)
        signature = self._signer.sign(claim(made))
        connection.run(
            "INSERT INTO checkpoint VALUES (?,?,?,?,?,?,?,?)",
            (
                *(made.size, made.previous, made.at, bytes.fromhex(made.root), chain.head),
                *(self._signer.key, signature, b"".join(chain.peaks)),
            ),
        )
        self._signed = chain.size
        return checkpoints(connection, chain.size - 1, 1)[0]


def find(connection: Connection, tasks: Sequence[str]) -> Found:
    """Where they are. Looks at every record: not for the writer, which goes on meanwhile."""
    size = connection.value("SELECT max(seq) FROM audit") or 0
    sql = """SELECT seq FROM audit WHERE seq <= ? AND task <> ''
        AND task IN (SELECT value FROM json_each(?))"""
    rows = connection.rows(sql, (size, json.dumps(tasks)))
    return Found(size, [row[0] for row in rows])


def checkpoints(connection: Connection, after: int, limit: int) -> tuple[Checkpoint, ...]:
    sql = """SELECT size, previous, at, root, head, key, signature FROM checkpoint
        WHERE size > ? ORDER BY size LIMIT ?"""
    return tuple(
        Checkpoint(
            size=size,
            previous=previous,
            at=at,
            root=root.hex(),
            head=head.hex(),
            key=key.hex(),
            signature=signature.hex(),
        )
        for size, previous, at, root, head, key, signature in connection.rows(sql, (after, limit))
    )


def _stored(connection: Connection) -> tuple[int, Chain]:
    """The size that was signed last, and the end: from there on only leaves are read."""
    chain = Chain()
    sql = "SELECT size, head, peaks FROM checkpoint ORDER BY size DESC LIMIT 1"
    for size, head, peaks in connection.rows(sql):
        parts = (peaks[at : at + _HASH] for at in range(0, len(peaks), _HASH))
        chain = Chain(size, head, tuple(parts))
    signed = chain.size
    sql = "SELECT leaf FROM audit WHERE seq > ? ORDER BY seq"
    return signed, extended(chain, [row[0] for row in connection.rows(sql, (signed,))])[0]
