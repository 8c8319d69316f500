"""The audit in the journal's file, written by its one writer in its commits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial

import anyio

from holdfast.core.audit.chain import Checkpoint, Kept
from holdfast.core.audit.fact import Fact
from holdfast.core.ids import Instant
from holdfast.ports.audit import AuditQuery

from . import trail
from .batch import Rows
from .connection import Connection, Value
from .entry import Note, noted
from .ledger_sqlite import Store
from .trail import Trail

_COLUMNS = "seq, leaf, hash, body"
_KIND = "CAST(body AS TEXT) ->> '$.kind'"
_AT_ONCE = 2_000


class SqliteAudit:
    """Implements `Audit` in the file of a journal."""

    def __init__(self, store: Store, written: Trail) -> None:
        self._store, self._trail = store, written
        self._seen = written.size
        self._bell = anyio.Event()

    @property
    def size(self) -> int:
        return self._trail.size

    def ring(self) -> None:
        """A commit has ended: whoever waits for more looks again. On the event loop."""
        if self._trail.size != self._seen:
            self._seen = self._trail.size
            bell, self._bell = self._bell, anyio.Event()
            bell.set()

    async def append(self, *facts: Fact) -> None:
        await self._store.write(Rows(notes=noted(*facts)))

    async def query(self, query: AuditQuery) -> Sequence[Kept]:
        return await self._store.look(partial(_query, query))

    async def read(self, after: int, limit: int) -> Sequence[Kept]:
        sql = f"SELECT {_COLUMNS} FROM audit WHERE seq > ? ORDER BY seq LIMIT ?"  # noqa: S608 - our own column names
        return await self._store.look(lambda c: _kept(c, sql, (after, limit)))

    async def checkpoint(self, at: Instant) -> Checkpoint:
        return await self._store.work(partial(_sign, self._trail, at))

    async def checkpoints(self, after: int, limit: int) -> Sequence[Checkpoint]:
        return await self._store.look(lambda c: trail.checkpoints(c, after, limit))

    async def forget(self, before: Instant, *, at: Instant) -> int:
        total = last = 0
        while found := await self._store.look(partial(_old, before, last)):
            last = found[-1]
            told = Fact(kind="audit.forgotten", at=at, count=len(found))
            emptied = partial(_empty, self._trail, found, noted(told))
            total += await self._store.work(emptied)
        return total

    async def more(self, than: int) -> None:
        while self._trail.size <= than:
            await self._bell.wait()


def _sign(written: Trail, at: Instant, connection: Connection) -> Checkpoint:
    with connection.transaction():
        return written.sign(connection, at)


def _query(query: AuditQuery, connection: Connection) -> tuple[Kept, ...]:
    where, values = ["1"], list[Value]()
    if query.before:
        where.append("seq < ?")
        values.append(query.before)
    if query.since:
        where.append("at >= ?")
        values.append(query.since)
    if query.task:
        where.append("task = ?")
        values.append(query.task)
    if query.kind:
        where.append(f"({_KIND} = ? OR {_KIND} LIKE ? || '.%')")
        values += (query.kind, query.kind)
    for name in ("agent", "secret", "rule"):
        if wanted := getattr(query, name):
            where.append(f"CAST(body AS TEXT) ->> '$.{name}' = ?")
            values.append(wanted)
    sql = f"""SELECT {_COLUMNS} FROM audit WHERE {" AND ".join(where)}
        ORDER BY seq DESC LIMIT ?"""  # noqa: S608 - our own column names
    return _kept(connection, sql, (*values, query.limit))


def _kept(connection: Connection, sql: str, values: Sequence[Value]) -> tuple[Kept, ...]:
    return tuple(Kept(*row) for row in connection.rows(sql, values))


def _old(before: Instant, after: int, connection: Connection) -> tuple[int, ...]:
    sql = """SELECT seq FROM audit WHERE seq > ? AND at < ? AND body IS NOT NULL
        ORDER BY seq LIMIT ?"""
    return tuple(row[0] for row in connection.rows(sql, (after, before, _AT_ONCE)))


def _empty(
    written: Trail, which: Sequence[int], notes: Sequence[Note], connection: Connection
) -> int:
    sql = "UPDATE audit SET body = NULL WHERE seq IN (SELECT value FROM json_each(?))"
    with connection.transaction():
        connection.run(sql, (json.dumps(which),))
        written.add(connection, notes)
    return len(which)
