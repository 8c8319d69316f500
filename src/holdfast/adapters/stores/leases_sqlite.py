"""Leases in the journal's file, counted by its one writer in its commits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import apsw
import msgspec
from msgspec.structs import replace

from holdfast.core.error import Conflict
from holdfast.core.gate.policy import Lease

from .connection import Connection
from .leases import ADD, row
from .ledger_sqlite import Store


class SqliteLeases:
    """Implements `Leases` in the file of a journal."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def write(self, lease: Lease) -> None:
        await self._store.work(partial(_add, lease))

    async def revoke(self, lease: str) -> bool:
        return await self._store.work(partial(_revoke, lease))

    async def all(self) -> Sequence[Lease]:
        return await self._store.work(_all)


def _add(lease: Lease, connection: Connection) -> None:
    try:
        connection.run(ADD, row(lease))
    except apsw.ConstraintError:
        raise Conflict(f"there is a lease {lease.id} already", code="lease_exists") from None


def _revoke(lease: str, connection: Connection) -> bool:
    connection.run("UPDATE lease SET revoked = 1 WHERE id = ?", (lease,))
    return bool(connection.changes())


def _all(connection: Connection) -> Sequence[Lease]:
    rows = connection.rows("SELECT used, lease FROM lease WHERE NOT revoked ORDER BY id")
    return tuple(replace(msgspec.json.decode(text, type=Lease), used=used) for used, text in rows)
