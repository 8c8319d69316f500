"""Care of the database: proof, copies, retention and forgetting for good."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import apsw

from holdfast.core import view
from holdfast.core.audit.fact import Fact
from holdfast.core.error import Broken, Refused, Unavailable
from holdfast.core.ids import Instant, TaskId, digest
from holdfast.ports.journal import Cursor, Health

from . import audit, beside, entry, reading
from .audit_check import Told
from .beside import Beside
from .connection import Connection, connect, connect_untouched, wal
from .migrate import MIGRATIONS, copy_to, refuse_strange, remove, version_of
from .trail import Found, Trail
from .trouble import trouble

FORGET_AT_ONCE = 200
_MANY = 20


def verify(connection: Connection) -> Health:
    """Look at everything. Each stream is read at one moment; appends go on meanwhile."""
    found: list[str] = []
    streams = events = 0
    try:
        found += _structure(connection)
        told = Told(connection)
        found += told.walk()
        for stream in _streams(connection):
            streams, events = streams + 1, events + stream.version
            wrong = audit.problems(stream) or _other_row(connection, stream)
            found += wrong
            if not wrong:
                agent = "SELECT agent FROM task WHERE id = ?"
                told.look(stream, connection.value(agent, (stream.task,)))
        found += told.missing()
    except apsw.CorruptError as error:
        found.append(f"the database file is damaged: {error}")
    return Health(streams=streams, events=events, problems=tuple(found))


def _structure(connection: Connection) -> list[str]:
    found = [str(row[0]) for row in connection.rows(f"PRAGMA quick_check({_MANY})")]
    orphans = "SELECT DISTINCT task FROM event WHERE task NOT IN (SELECT id FROM task) LIMIT 5"
    lone = [f"{row[0]}: it has events and no row" for row in connection.rows(orphans)]
    return [text for text in found if text != "ok"] + lone


def _streams(connection: Connection) -> Iterator[audit.Stream]:
    ids = [row[0] for row in connection.rows("SELECT id FROM task ORDER BY id")]
    for task in ids:
        connection.run("BEGIN")
        try:
            # Still in the transaction while the stream is looked at: its row cannot move.
            yield from _stream(connection, task)
        finally:
            connection.run("COMMIT")


def _stream(connection: Connection, task: str) -> Iterator[audit.Stream]:
    heads = connection.rows(
        "SELECT id, version, head, purged, summary FROM task WHERE id = ?", (task,)
    )
    rows = connection.rows(
        "SELECT seq, kind, at, body, link FROM event WHERE task = ? ORDER BY seq", (task,)
    )
    for name, version, head, purged, text in heads:
        yield audit.Stream(name, version, head, bool(purged), text, cast("list[audit.Row]", rows))


def _other_row(connection: Connection, stream: audit.Stream) -> tuple[str, ...]:
    """The columns beside the summary must say the same as the summary."""
    summary = reading.summary(connection, stream.task)
    if summary is None or stream.purged:
        return ()
    end = Cursor(version=stream.version, head=stream.head)
    names = [name for name in entry.COLUMNS if name != "lease_until"]
    columns = ", ".join(f'"{name}"' for name in names)
    sql = f"SELECT {columns} FROM task WHERE id = ?"  # noqa: S608 - our own column names
    (stored,) = connection.rows(sql, (stream.task,))
    told = dict(zip(entry.COLUMNS, entry.task_row(end, summary, stream.summary, 0), strict=True))
    if stored == tuple(told[name] for name in names):
        return ()
    return (f"{stream.task}: the columns of its row are not what its summary says",)


def release(connection: Connection) -> None:
    connection.run("UPDATE task SET lease_until = 0 WHERE status IN ('CLAIMED', 'RUNNING')")


def renew(connection: Connection, owner: str, until: Instant) -> None:
    sql = "UPDATE task SET lease_until = ? WHERE status IN ('CLAIMED', 'RUNNING') AND owner = ?"
    connection.run(sql, (until, owner))


def forget(connection: Connection, tasks: Sequence[TaskId], before: Instant, trail: Trail) -> int:
    """Delete those of `tasks` that are still over; how many. The audit keeps that they were."""
    with connection.transaction():
        over = reading.still_over(connection, tasks, before)
        told = json.dumps(over)
        connection.run("DELETE FROM event WHERE task IN (SELECT value FROM json_each(?))", (told,))
        connection.run("DELETE FROM task WHERE id IN (SELECT value FROM json_each(?))", (told,))
        at = time.time_ns() // 1_000_000
        gone = [Fact(kind="task.forgotten", at=at, task=task) for task in over]
        trail.add(connection, entry.noted(*gone))
        return len(over)


class Purge(NamedTuple):
    """What somebody wants gone, and why; `said` is what the tasks said to the audit."""

    tasks: Sequence[TaskId]
    by: str
    reason: str
    at: Instant
    said: Found


def purge(connection: Connection, wanted: Purge, trail: Trail) -> int:
    """Overwrite them in the database and in its log, and write down who wanted it.

    What they said to the audit goes too; its hashes stay, and a record says who took it away.
    """
    tasks, by, reason, at, said = wanted
    with connection.transaction():
        chosen = [task for task in dict.fromkeys(tasks) if _purgeable(connection, task)]
        for task in chosen:
            row = reading.summary(connection, task)
            if row is None:
                continue
            connection.run("UPDATE event SET body = x'' WHERE task = ?", (task,))
            connection.run(
                "UPDATE task SET purged = 1, asked = 0, summary = ? WHERE id = ?",
                (view.encode(audit.overwritten(row)), task),
            )
            connection.run("UPDATE visit SET path = '' WHERE task = ?", (task,))
            connection.run("INSERT INTO purge VALUES (?, ?, ?, ?)", (task, at, by, reason))
            trail.empty(connection, task, said)
            told = Fact(kind="task.purged", at=at, task=task, by=by, digest=digest(reason))
            trail.add(connection, entry.noted(told))
    if connection.rows("PRAGMA wal_checkpoint(TRUNCATE)")[0][0]:
        raise Unavailable(
            "purged, but a long read keeps the old pages in the log",
            code="store_busy",
            hint="purge the same tasks again when the backup or check that is running has ended",
        )
    return len(chosen)


def _purgeable(connection: Connection, task: TaskId) -> bool:
    row = reading.summary(connection, task)
    if row is None or connection.value("SELECT purged FROM task WHERE id = ?", (task,)):
        return False
    if refusal := entry.still_needed(row):
        raise refusal
    return True


def backup(path: Path, to: Path, files: Beside | None = None) -> None:
    """A consistent copy of the database at `path`, in use or not, in the new file `to`; with what
    lies beside it, copied after it, so that all that it speaks of is there."""
    if to.exists():
        raise Refused(f"{to} is already there", code="backup_exists", hint="choose another name")
    if not path.exists():
        raise Unavailable(f"there is no database {path}", code="store_missing")
    try:
        source = Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            source.set_busy_timeout(5_000)
            _copy_with(source, to, files)
        finally:
            source.close()
        _sync(to.parent)
    except apsw.Error as error:
        raise trouble(error, to) from error
    except OSError as error:
        raise Unavailable(f"{to} cannot be written: {error}", code="store_io") from error


def _copy_with(source: apsw.Connection, to: Path, files: Beside | None) -> None:
    """Whole, or not there at all."""
    part = to.with_name(f"{to.name}.packing")
    try:
        copy_to(source, part)
        if files is not None:
            copy = connect(part)
            try:
                beside.pack(copy, files)
                copy.run("PRAGMA journal_mode = DELETE")
            finally:
                copy.close()
        part.replace(to)
    finally:
        remove(part)


def restore(source: Path, to: Path, files: Beside | None = None) -> Path | None:
    """Put the backup `source` in the place of the database `to`, which nobody may have open.

    The backup is proved sound first, and to hold none but `files` besides. Returns where the
    replaced database is kept, if there was one. Raises `Broken` for an unsound backup; then nothing
    was changed.
    """
    if not source.is_file():
        raise Unavailable(f"there is no backup {source}", code="store_missing")
    place = to.with_name(f"{to.name}.restoring")
    try:
        try:
            _copy_sound(source, place)
            if files is not None:
                beside.check(source, files)
            kept = _keep(to)
            for left in (wal(to), to.with_name(f"{to.name}-shm")):
                left.unlink(missing_ok=True)
            place.replace(to)
            _sync(to.parent)
        finally:
            remove(place)
    except apsw.NotADBError as error:
        raise Broken(
            f"{source} is not a database: {error}",
            code="store_not_database",
            hint="name a file that `holdfast backup` wrote",
        ) from error
    except apsw.Error as error:
        raise trouble(error, source) from error
    except OSError as error:
        raise Unavailable(f"{to} cannot be restored: {error}", code="store_io") from error
    return kept


def _copy_sound(source: Path, place: Path) -> None:
    backed_up = connect_untouched(source)
    try:
        refuse_strange(backed_up, source, MIGRATIONS)
        if not version_of(backed_up):
            raise Broken(f"{source} is empty: not a backup", code="store_damaged")
        copy_to(backed_up, place)
    finally:
        backed_up.close()
    copy = connect(place)
    try:
        beside.drop(copy)
        copy.run("PRAGMA journal_mode = DELETE")
    finally:
        copy.close()
    copy = connect_untouched(place)
    try:
        found = verify(copy).problems
    finally:
        copy.close()
    if found:
        raise Broken(
            f"{source} is damaged: {'; '.join(found[:5])}",
            code="store_damaged",
            hint="restore an older backup",
        )


def _keep(database: Path) -> Path | None:
    """Keep the old database under a new name, beside its log; the old name stays until replaced."""
    if not database.exists():
        return None
    names = (database.with_name(f"{database.name}.replaced-{n}") for n in itertools.count(1))
    kept = next(name for name in names if not name.exists())
    for old, new in ((wal(database), wal(kept)), (database, kept)):
        if not old.exists():
            continue
        try:
            os.link(old, new)
        except OSError:  # A file system without links.
            shutil.copy2(old, new)
    _sync(database.parent)
    return kept


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
