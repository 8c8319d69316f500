"""Who reached what, in the journal's file, written by its one writer in its commits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from holdfast.core.audit.fact import Fact
from holdfast.core.ids import Instant, digest
from holdfast.ports.egress import Visit, VisitQuery

from .batch import Rows
from .connection import Connection, Value
from .entry import noted
from .ledger_sqlite import Store

_AT_ONCE = 2_000
_FIELDS = Visit.__struct_fields__
_COLUMNS = ", ".join(_FIELDS)


class SqliteVisits:
    """Implements `Visits` in the file of a journal."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def write(self, visit: Visit) -> None:
        rows = Rows(visits={visit.id: _row(visit)}, notes=noted(_fact(visit)))
        await self._store.write(rows)

    def ended(self, visit: Visit) -> None:
        self._store.later(Rows(visits={visit.id: _row(visit)}))

    async def query(self, query: VisitQuery) -> Sequence[Visit]:
        await self._store.write(Rows())
        where, values = ["1"], list[Value]()
        for name in ("task", "agent", "host"):
            if wanted := getattr(query, name):
                where.append(f"{name} = ?")
                values.append(wanted)
        if query.before:
            where.append("id < ?")
            values.append(query.before)
        if query.refused:
            where.append("code <> ''")
        sql = f"""SELECT {_COLUMNS} FROM visit WHERE {" AND ".join(where)}
            ORDER BY id DESC LIMIT ?"""  # noqa: S608 - our own column names
        rows = await self._store.look(lambda c: c.rows(sql, (*values, query.limit)))
        return tuple(map(_visit, rows))

    async def used(self, task: str) -> tuple[int, int]:
        await self._store.write(Rows())
        sql = "SELECT count(*), coalesce(sum(sent + received), 0) FROM visit WHERE task = ?"
        ((requests, size),) = await self._store.look(lambda c: c.rows(sql, (task,)))
        return requests, size

    async def forget(self, before: Instant) -> int:
        total = 0
        while gone := await self._store.work(partial(_forget, before)):
            total += gone
        return total


def _forget(before: Instant, connection: Connection) -> int:
    """Some of the old ones: commits of others go on between."""
    sql = "DELETE FROM visit WHERE id IN (SELECT id FROM visit WHERE at < ? LIMIT ?)"
    connection.run(sql, (before, _AT_ONCE))
    return connection.changes()


def _row(visit: Visit) -> tuple[Value, ...]:
    values = [getattr(visit, name) for name in _FIELDS]
    values[_FIELDS.index("secrets")] = " ".join(visit.secrets)
    return tuple(values)


def _fact(visit: Visit) -> Fact:
    """That somebody went out, or was not let out. Where to is in the visit, and here its hash."""
    return Fact(
        kind="egress.denied" if visit.code else "egress.allowed",
        at=visit.at,
        task=visit.task,
        agent=visit.agent,
        tool=visit.tool,
        subject=visit.id,
        digest=digest([visit.method, visit.host, visit.port]),
        secret=" ".join(visit.secrets),
        code=visit.code,
    )


def _visit(row: Sequence[Any]) -> Visit:
    values: dict[str, Any] = dict(zip(_FIELDS, row, strict=True))
    values["secrets"] = tuple(values["secrets"].split())
    return Visit(**values)
