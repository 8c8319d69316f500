"""Who reached what, remembered as long as the test lasts."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.core.error import Unavailable
from holdfast.core.ids import Instant
from holdfast.ports.egress import Visit, VisitQuery


class FakeVisits:
    """`Visits` in memory. `full`: nothing more can be written, as on a full disk."""

    def __init__(self) -> None:
        self.all: dict[str, Visit] = {}
        self.full = False

    async def write(self, visit: Visit) -> None:
        if self.full:
            raise Unavailable("the disk is full", code="store_full")
        self.all[visit.id] = visit

    def ended(self, visit: Visit) -> None:
        self.all[visit.id] = visit

    async def query(self, query: VisitQuery) -> Sequence[Visit]:
        found = [
            one
            for one in sorted(self.all.values(), key=lambda one: one.id, reverse=True)
            if query.task in ("", one.task)
            and query.agent in ("", one.agent)
            and query.host in ("", one.host)
            and (one.code or not query.refused)
            and (one.id < query.before or not query.before)
        ]
        return tuple(found[: query.limit])

    async def used(self, task: str) -> tuple[int, int]:
        mine = [one for one in self.all.values() if one.task == task]
        return len(mine), sum(one.sent + one.received for one in mine)

    async def forget(self, before: Instant) -> int:
        old = [one.id for one in self.all.values() if one.at < before]
        for one in old:
            del self.all[one]
        return len(old)
