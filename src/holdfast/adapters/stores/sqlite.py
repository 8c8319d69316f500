"""The journal in one SQLite file.

Small questions (a row, the queue, what is due, the beginning of a stream) are answered on the
event loop: each is one indexed statement of 5 to 60 µs, and a hop to a thread alone costs 50.
Whatever may be long (the rest of a stream, lists, counts, proofs, copies) goes to a worker thread
with its own connection.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
import apsw

from holdfast.core.error import Unavailable
from holdfast.core.event import Event
from holdfast.core.ids import Instant, TaskId
from holdfast.core.task import Status
from holdfast.core.view import Summary
from holdfast.ports.journal import Cursor, Health, Query, Recorded

from . import entry, reading, upkeep
from .audit_sqlite import SqliteAudit
from .batch import Rows
from .beside import Beside
from .connection import Connection
from .leases_sqlite import SqliteLeases
from .ledger_sqlite import SqlitePages
from .mentions_sqlite import SqliteMentions
from .migrate import MIGRATIONS, Migration
from .opening import open_database
from .trail import Trail, find
from .trouble import trouble
from .visits_sqlite import SqliteVisits
from .writer import Writer

_READERS = 2
_INLINE = 32

T = TypeVar("T")


@asynccontextmanager
async def open_sqlite(
    path: Path,
    *,
    now: Instant,
    migrations: Sequence[Migration] = MIGRATIONS,
    vfs: str | None = None,
    trail: Trail | None = None,
) -> AsyncGenerator[SqliteJournal, None]:
    """The journal in the file `path`, made if it is not there; closed on leaving.

    `trail` says who signs its audit, and how often.

    Only one process may have it open: the caller holds the lock of the home. Raises `Broken` for
    a damaged, strange or newer database (left as it is), `Unavailable` when it cannot be used.
    """
    trail = trail or Trail()

    def opened() -> list[Connection]:
        connections = open_database(path, now, migrations, 1 + _READERS, vfs)
        trail.begin(connections[0])
        return connections

    journal = SqliteJournal(path, await anyio.to_thread.run_sync(opened), trail)
    try:
        yield journal
    finally:
        await journal.close()


class SqliteJournal:
    """A `Journal` in a file. Made by `open_sqlite`."""

    def __init__(self, path: Path, connections: Sequence[Connection], trail: Trail) -> None:
        self._path, self._connections = path, connections
        self.trail, self._audit = trail, SqliteAudit(self, trail)
        writing, self._here, *idle = connections
        self._idle, self._busy = idle, set[Connection]()
        self._threads = anyio.CapacityLimiter(len(idle))
        self._writer = Writer(writing, path, trail, self._audit.ring)
        self._closed = False
        self.beside: Beside | None = None
        """What a backup holds besides."""

    @property
    def statements(self) -> int:
        """How many statements were run since it was opened. An idle house runs none."""
        return sum(connection.statements for connection in self._connections)

    async def append(
        self,
        task: TaskId,
        after: Cursor,
        events: Sequence[Event],
        summary: Summary,
        *,
        at: Instant,
        fence: int | None = None,
    ) -> Cursor:
        made = entry.make(task, after, events, summary, at, fence)
        return await self._writer.append(made)

    async def read(self, task: TaskId, after: int = 0, limit: int = 0) -> Sequence[Recorded]:
        first = min(limit, _INLINE) if limit > 0 else _INLINE
        rows = self._now(lambda c: reading.read(c, task, after, first))
        if len(rows) < first or first == limit:
            return rows
        left = limit - first if limit > 0 else -1
        rest = await self._in_thread(lambda c: reading.read(c, task, after + first, left))
        return rows + rest

    async def summary(self, task: TaskId) -> Summary | None:
        return self._now(lambda c: reading.summary(c, task))

    async def find(self, text: str) -> Sequence[TaskId]:
        return await self._in_thread(lambda c: reading.find(c, text))

    async def query(self, query: Query) -> Sequence[Summary]:
        return await self._in_thread(lambda c: reading.query(c, query))

    async def count(self) -> Mapping[Status, int]:
        return await self._in_thread(reading.count)

    async def ready(self, limit: int, *, skip_agents: Sequence[str] = ()) -> Sequence[Summary]:
        return self._now(lambda c: reading.ready(c, limit, skip_agents))

    async def due(self, now: Instant, limit: int) -> Sequence[TaskId]:
        return self._now(lambda c: reading.due(c, now, limit))

    async def next_due(self) -> Instant | None:
        return self._now(reading.next_due)

    async def lost(self, now: Instant, limit: int, *, owner: str = "") -> Sequence[TaskId]:
        return self._now(lambda c: reading.lost(c, now, limit, owner))

    async def renew(self, owner: str, until: Instant) -> None:
        await self._writer.run(lambda c: upkeep.renew(c, owner, until))

    async def release(self) -> None:
        await self._writer.run(upkeep.release)

    async def verify(self) -> Health:
        return await self._in_thread(upkeep.verify)

    async def backup(self, to: Path) -> None:
        await self._writer.write(Rows())  # with what was to be written with the next commit
        await anyio.to_thread.run_sync(upkeep.backup, self._path, to, self.beside)

    async def forget(self, before: Instant) -> int:
        total, last = 0, ""
        while found := await self._in_thread(partial(_over, before, last)):
            forgotten = partial(upkeep.forget, tasks=found, before=before, trail=self.trail)
            total += await self._writer.run(forgotten)
            last = found[-1]
        return total

    async def used(self) -> int:
        return await self._in_thread(reading.used)

    async def oldest(self, limit: int) -> Sequence[Summary]:
        return await self._in_thread(lambda c: reading.oldest(c, limit))

    async def purge(self, tasks: Sequence[TaskId], *, by: str, reason: str, at: Instant) -> int:
        said = await self._in_thread(lambda c: find(c, tasks))
        wanted = upkeep.Purge(tasks, by, reason, at, said)
        return await self._writer.run(lambda c: upkeep.purge(c, wanted, self.trail))

    def pages(self) -> SqlitePages:
        """Where a ledger is kept: in the same file and the same commits."""
        return SqlitePages(self)

    def visits(self) -> SqliteVisits:
        """Where is written down who reached what: in the same file and the same commits."""
        return SqliteVisits(self)

    def leases(self) -> SqliteLeases:
        """Where leave given beforehand is kept and counted."""
        return SqliteLeases(self)

    def mentions(self) -> SqliteMentions:
        """Which blobs events speak of."""
        return SqliteMentions(self)

    def audit(self) -> SqliteAudit:
        """What must be provable later: in the same file and the same commits."""
        return self._audit

    async def write(self, rows: Rows) -> None:
        await self._writer.write(rows)

    def later(self, rows: Rows) -> None:
        self._writer.later(rows)

    async def work(self, job: Callable[[Connection], T]) -> T:
        return await self._writer.run(job)

    async def look(self, ask: Callable[[Connection], T]) -> T:
        return await self._in_thread(ask)

    async def close(self) -> None:
        with anyio.CancelScope(shield=True):
            if not self._closed:
                self._closed = True
                readers = [self._here, *self._idle, *self._busy]
                for connection in readers:
                    connection.stop()
                for borrower in self._idle + list(self._busy):
                    await self._threads.acquire_on_behalf_of(borrower)
                for connection in readers:
                    connection.close()
            # Last, so that its connection is the last to close: that one empties the log.
            await self._writer.close()

    def _now(self, ask: Callable[[Connection], T]) -> T:
        self._refuse_if_closed()
        try:
            return ask(self._here)
        except apsw.Error as error:
            raise trouble(error, self._path) from error

    async def _in_thread(self, ask: Callable[[Connection], T]) -> T:
        self._refuse_if_closed()
        async with self._threads:
            self._refuse_if_closed()
            connection = self._idle.pop()
            self._busy.add(connection)
            try:
                return await anyio.to_thread.run_sync(ask, connection)
            except apsw.Error as error:
                raise trouble(error, self._path) from error
            finally:
                self._busy.discard(connection)
                self._idle.append(connection)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise Unavailable(f"{self._path} is closed", code="store_closed")


def _over(before: Instant, after: str, connection: Connection) -> Sequence[TaskId]:
    return reading.over(connection, before, after, upkeep.FORGET_AT_ONCE)
