"""One transaction for many appends: judged in Python, then written in as few statements as can be.

Every SQLite step gives up the interpreter lock, and taking it back may cost up to the switch
interval while the event loop is busy. So the number of statements, not of rows, is what counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import apsw

from holdfast.core.error import HoldfastError, NotAllowed
from holdfast.ports.journal import Cursor

from . import entry, leases
from .connection import Connection, Value
from .entry import COLUMNS, Entry, Note, Stored
from .trail import Trail

_KEPT = 20_000
_CHUNK = 256
_FIXED = {"id", "session", "agent", "parent", "by", "key", "submitted_at"}
_CHANGING = ", ".join(f'"{c}" = excluded."{c}"' for c in COLUMNS if c not in _FIXED)
_TASK_COLUMNS = ", ".join(f'"{c}"' for c in COLUMNS)
_STREAMS = """
    SELECT json_group_array(json_array(id, version, head, fence, purged))
    FROM task WHERE id IN (SELECT value FROM json_each(?))"""
_KEYS = """
    SELECT json_group_array(json_array("by", task.key)) FROM task
    JOIN json_each(?) AS wanted ON "by" = wanted.value ->> 0 AND task.key = wanted.value ->> 1
    WHERE task.key <> ''"""
_OWNERS = """
    SELECT json_group_array(json_array(value, (
      SELECT "by" FROM task
      WHERE rowid = (SELECT min(rowid) FROM task WHERE session = value AND session <> ''))))
    FROM json_each(?)"""
_GONE = "DELETE FROM charge WHERE id IN (SELECT value FROM json_each(?))"
_CHARGED = """ON CONFLICT (id) DO UPDATE SET
    state = excluded.state, cost = excluded.cost, input = excluded.input, output = excluded.output,
    cache_read = excluded.cache_read, cache_write = excluded.cache_write,
    reasoning = excluded.reasoning, saved = excluded.saved"""

Result = Cursor | HoldfastError | None


class Rows(NamedTuple):
    """What is written beside events: charges by their id, ids that are gone, thresholds told; and
    visits to the outside, by their id; and what the audit is told."""

    charges: Mapping[str, tuple[Value, ...]] = {}
    gone: tuple[str, ...] = ()
    warned: tuple[tuple[Value, ...], ...] = ()
    visits: Mapping[str, tuple[Value, ...]] = {}
    notes: tuple[Note, ...] = ()


class Ends:
    """What the writer knows about the ends of streams, so that most checks need no statement.

    Right as long as every change of the file goes through the writer, which `forget`s what others
    of its jobs have touched.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[str, Stored] = {}

    def forget(self) -> None:
        self._known.clear()

    def learn(self, entries: Iterable[Entry]) -> None:
        """These are durable now."""
        for made in entries:
            end = made.end
            self._known[made.task] = Stored(end.version, end.head, made.new_fence, purged=False)

    def judge(self, entries: Sequence[Entry]) -> tuple[list[Result], list[Entry]]:
        """For each append its cursor or its refusal; and the appends to write, in order."""
        self._look_up(entries)
        taken, sessions = self._taken(entries), self._sessions(entries)
        fresh: dict[str, Stored] = {}
        results, accepted = list[Result](), list[Entry]()
        left = leases.Left(self._connection)
        for made in entries:
            stored = fresh.get(made.task) or self._known.get(made.task)
            refusal = entry.refusal(made, stored)
            if refusal is None and made.uses:
                refusal = left.refusal(made.uses)
            if refusal is None and made.unique in taken:
                refusal = entry.duplicate(made)
            if refusal is None and made.speaks is not None:
                refusal = sessions.refusal(made, made.speaks)
            if refusal is not None:
                results.append(refusal)
                continue
            if made.unique is not None:
                taken.add(made.unique)
            fresh[made.task] = Stored(made.end.version, made.end.head, made.new_fence, purged=False)
            results.append(made.end)
            accepted.append(made)
        return results, accepted

    def _look_up(self, entries: Sequence[Entry]) -> None:
        if len(self._known) > _KEPT:
            self._known.clear()
        unknown = {made.task for made in entries if made.task not in self._known}
        if not unknown:
            return
        for task, version, head, fence, purged in self._ask(_STREAMS, sorted(unknown)):
            self._known[task] = Stored(version, head, fence, bool(purged))

    def _taken(self, entries: Sequence[Entry]) -> set[tuple[str, str]]:
        wanted = {made.unique for made in entries if made.unique is not None}
        return {(by, key) for by, key in self._ask(_KEYS, sorted(wanted))} if wanted else set()

    def _sessions(self, entries: Sequence[Entry]) -> Sessions:
        wanted = {made.speaks[0] for made in entries if made.alone and made.speaks}
        return Sessions(self._ask(_OWNERS, sorted(wanted)) if wanted else ())

    def _ask(self, sql: str, wanted: Sequence[object]) -> list[list[Any]]:
        return json.loads(self._connection.value(sql, (json.dumps(wanted),)))


class Sessions:
    """Whose task came first into which session, while appends are judged one after the other."""

    def __init__(self, begun: Iterable[Sequence[str | None]]) -> None:
        self._owners = {str(session): by for session, by in begun if by is not None}

    def refusal(self, made: Entry, speaks: tuple[str, str]) -> NotAllowed | None:
        """Why a task may not come into its session; otherwise it is there."""
        session, by = speaks
        owner = self._owners.setdefault(session, by)
        return entry.overheard(made) if made.alone and owner != by else None


def write(
    connection: Connection, trail: Trail, entries: Sequence[Entry], pages: Sequence[Rows] = ()
) -> None:
    """Store them all in one durable transaction, or raise `apsw.Error` with nothing stored."""
    rows = {made.task: made.row for made in entries}
    with_events = [row for made in entries for row in made.rows]
    charges: dict[str, tuple[Value, ...]] = {}
    visits: dict[str, tuple[Value, ...]] = {}
    for page in pages:
        charges.update(page.charges)
        visits.update(page.visits)
        for gone in page.gone:
            charges.pop(gone, None)
    gone = [one for page in pages for one in page.gone]
    warned = [row for page in pages for row in page.warned]
    notes = [note for order in (*entries, *pages) for note in order.notes]
    if not (rows or charges or gone or warned or visits or notes):
        return
    with connection.transaction():
        _insert(connection, "task", tuple(rows.values()))
        _insert(connection, "event", with_events)
        _insert(connection, "charge", tuple(charges.values()))
        _insert(connection, "warned", warned)
        _insert(connection, "visit", tuple(visits.values()))
        for made in entries:
            leases.write(connection, map(leases.row, made.leases), made.uses)
        if gone:
            connection.run(_GONE, (json.dumps(gone),))
        trail.add(connection, notes)


def cover(connection: Connection) -> None:
    """Make sure of a failed transaction that it stays undone.

    If only the last sync failed, the transaction is complete in the write-ahead log and would be
    found there after a crash, though its callers were told that it was not stored. The next
    transaction overwrites it there: this small one, if the disk lets it.
    """
    try:
        connection.run("UPDATE meta SET value = value + 1 WHERE name = 'failed_commits'")
    except apsw.Error:
        return


def _insert(connection: Connection, table: str, rows: Sequence[tuple[Value, ...]]) -> None:
    """Many rows a statement, in powers of two: few texts, so prepared statements are reused."""
    done = 0
    while done < len(rows):
        size = min(_CHUNK, 1 << (len(rows) - done).bit_length() - 1)
        chunk = rows[done : done + size]
        connection.run(_STATEMENTS[table, size], list(chain.from_iterable(chunk)))
        done += size


def _statement(table: str, size: int) -> str:
    match table:
        case "event":
            return f"INSERT INTO event VALUES {_places(6, size)}"  # noqa: S608 - question marks
        case "charge":
            return f"INSERT INTO charge VALUES {_places(19, size)} {_CHARGED}"  # noqa: S608 - as above
        case "warned":
            return f"INSERT OR IGNORE INTO warned VALUES {_places(6, size)}"  # noqa: S608 - as above
        case "visit":
            return f"INSERT OR REPLACE INTO visit VALUES {_places(17, size)}"  # noqa: S608 - as above
        case _:
            return (  # our own column names
                f"INSERT INTO task ({_TASK_COLUMNS}) VALUES {_places(len(COLUMNS), size)}"  # noqa: S608
                f" ON CONFLICT (id) DO UPDATE SET {_CHANGING}"
            )


def _places(columns: int, rows: int) -> str:
    return ",".join(["(" + ",".join("?" * columns) + ")"] * rows)


_SIZES = [1 << power for power in range(_CHUNK.bit_length())]
_TABLES = ("task", "event", "charge", "warned", "visit")
_STATEMENTS = {(table, size): _statement(table, size) for table in _TABLES for size in _SIZES}
