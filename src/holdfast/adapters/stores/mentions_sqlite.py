"""Which blobs the events of a journal speak of."""

from __future__ import annotations

from functools import partial

from holdfast.adapters.mentions import left_over

from .connection import Connection
from .ledger_sqlite import Store

_PAGE = 2_000
_EVENTS = "SELECT rowid, body FROM event WHERE rowid > ? ORDER BY rowid LIMIT ?"

_Page = tuple[frozenset[str], int]


class SqliteMentions:
    """Implements `ports.Mentions`: every event is read, a page at a time.

    What is appended meanwhile may be missed: `ports.Blobs` says why that harms nobody.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def unmentioned(self, names: frozenset[str]) -> frozenset[str]:
        last = 0
        while names and last >= 0:
            names, last = await self._store.look(partial(_page, names, last))
        return names


def _page(names: frozenset[str], after: int, connection: Connection) -> _Page:
    """What is left of the names behind a page, and where the next begins: -1 where none does."""
    rows = connection.rows(_EVENTS, (after, _PAGE))
    left = left_over(names, (bytes(row[1]) for row in rows))
    return left, rows[-1][0] if len(rows) == _PAGE else -1
