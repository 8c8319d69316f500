"""Leases as a store keeps them: what an append does to them, and when it must be refused."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from holdfast.core.error import Conflict
from holdfast.core.gate.policy import Lease

from .connection import Connection, Value

_LEFT = """
    SELECT id, CASE WHEN revoked THEN 0 WHEN uses = 0 THEN -1 ELSE uses - used END
    FROM lease WHERE id IN (SELECT value FROM json_each(?))"""
ADD = "INSERT INTO lease VALUES (?, ?, ?, 0, ?)"
_COUNT = "UPDATE lease SET used = used + ? WHERE id = ?"
_ENCODER = msgspec.json.Encoder(order="deterministic")


class Left:
    """How often leases may still be used, while appends are judged one after the other."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._taken: Counter[str] = Counter()

    def refusal(self, uses: Mapping[str, int]) -> Conflict | None:
        """Why an append that uses these leases cannot be made; otherwise they count as used."""
        found = dict(self._connection.rows(_LEFT, (json.dumps(list(uses)),)))
        for lease, times in uses.items():
            left = found.get(lease, 0)
            if 0 <= left < self._taken[lease] + times:
                return used_up(lease)
        self._taken.update(uses)
        return None


def used_up(lease: str) -> Conflict:
    return Conflict(f"{lease} is used up, revoked or unknown", code="lease_used_up")


def row(lease: Lease) -> tuple[Value, ...]:
    return (lease.id, lease.uses, lease.used, _ENCODER.encode(lease).decode())


def write(
    connection: Connection, given: Iterable[tuple[Value, ...]], uses: Mapping[str, int]
) -> None:
    """Within the transaction of the appends."""
    for values in given:
        connection.run(ADD, values)
    for lease, times in uses.items():
        connection.run(_COUNT, (times, lease))


class MemoryLeases:
    """Implements `Leases` for a journal in memory."""

    def __init__(self) -> None:
        self._kept: dict[str, Lease] = {}
        self._revoked: set[str] = set()

    async def write(self, lease: Lease) -> None:
        if lease.id in self._kept:
            raise Conflict(f"there is a lease {lease.id} already", code="lease_exists")
        self._kept[lease.id] = lease

    async def revoke(self, lease: str) -> bool:
        self._revoked.add(lease)
        return lease in self._kept

    async def all(self) -> Sequence[Lease]:
        return tuple(one for key, one in sorted(self._kept.items()) if key not in self._revoked)

    def refusal(self, uses: Mapping[str, int]) -> Conflict | None:
        for name, times in uses.items():
            one = self._kept.get(name)
            if one is None or name in self._revoked or (one.uses and one.used + times > one.uses):
                return used_up(name)
        return None

    def count(self, given: Iterable[Lease], uses: Mapping[str, int]) -> None:
        self._kept.update({one.id: one for one in given})
        for name, times in uses.items():
            self._kept[name] = replace(self._kept[name], used=self._kept[name].used + times)
