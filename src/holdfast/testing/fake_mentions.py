"""Which blobs the events of any journal speak of, read as everybody reads them."""

from __future__ import annotations

from holdfast.adapters.mentions import left_over
from holdfast.core import event as e
from holdfast.core.error import Refused
from holdfast.ports.journal import Journal, Query

_ALL = 1_000_000


class JournalMentions:
    """Implements `ports.Mentions` for a journal with little in it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def unmentioned(self, names: frozenset[str]) -> frozenset[str]:
        for row in await self._journal.query(Query(limit=_ALL)):
            try:
                said = await self._journal.read(row.id)
            except Refused:
                continue  # purged: it says nothing any more
            names = left_over(names, (e.encode(one.event) for one in said))
        return names
