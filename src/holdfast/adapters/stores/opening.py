"""From a path to a database that can be trusted, or an error that says what to do."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import apsw

from holdfast.core.error import Broken, HoldfastError, Unavailable
from holdfast.core.ids import Instant

from .connection import Connection, connect, connect_reader, connect_untouched, wal
from .migrate import Migration, migrate, refuse_strange
from .trouble import trouble

_PATIENCE = 0.5
_RECENT = 200
_OPEN = 5_000
_MISFITS = """
    SELECT id FROM (
      SELECT id, version, head FROM (
        SELECT id, version, head FROM task
        WHERE status IN ('CLAIMED', 'RUNNING', 'WAITING', 'RETRY_WAIT') LIMIT :open)
      UNION SELECT id, version, head FROM (
        SELECT id, version, head FROM task WHERE status = 'QUEUED' ORDER BY rank, id LIMIT :recent)
      UNION SELECT id, version, head FROM (
        SELECT id, version, head FROM task ORDER BY id DESC LIMIT :recent)
    ) AS t
    WHERE head IS NOT (
      SELECT link FROM event WHERE task = t.id AND seq = t.version)
    OR EXISTS (SELECT 1 FROM event WHERE task = t.id AND seq > t.version)
    LIMIT 5"""


def open_database(
    path: Path,
    now: Instant,
    known: Sequence[Migration],
    readers: int,
    vfs: str | None = None,
) -> list[Connection]:
    """The database at `path`, made, checked and up to date: one writer, then the readers."""
    _refuse_bad_place(path)
    opened: list[Connection] = []
    try:
        clean = not wal(path).exists()
        if not path.exists():
            path.touch(mode=0o600)  # SQLite gives the files beside it the same mode
        elif path.stat().st_size:
            _look(path, known, vfs)
        writer = connect(path, vfs=vfs)
        opened.append(writer)
        _check(writer, path, clean)
        migrate(writer, path, now, known)
        _refuse_misfits(writer, path)
        for _ in range(readers):
            opened.append(connect_reader(path, vfs=vfs))  # noqa: PERF401 - closed if a later one fails
    except (apsw.Error, OSError, HoldfastError) as error:
        for connection in reversed(opened):
            connection.close()
        raise _in_our_words(error, path) from error
    return opened


def _in_our_words(error: apsw.Error | OSError | HoldfastError, path: Path) -> HoldfastError:
    match error:
        case apsw.Error():
            return trouble(error, path)
        case OSError():
            return Unavailable(f"{path} cannot be used: {error}", code="store_io")
        case _:
            return error


def _refuse_bad_place(path: Path) -> None:
    if not path.parent.is_dir():
        raise Unavailable(
            f"there is no directory {path.parent}", code="store_no_directory", hint="create it"
        )
    if path.is_dir():
        raise Broken(f"{path} is a directory, not a database", code="store_not_database")
    places = [path.parent] + [file for file in (path, wal(path)) if file.exists()]
    for place in places:
        if not os.access(place, os.R_OK | os.W_OK):
            raise Unavailable(
                f"{place} cannot be written",
                code="store_read_only",
                hint="give this user write access, or choose another home",
            )


def _look(path: Path, known: Sequence[Migration], vfs: str | None) -> None:
    """Refuse what is not ours to touch, before the first byte can change."""
    connection = connect_untouched(path, vfs=vfs)
    try:
        refuse_strange(connection, path, known)
    finally:
        connection.close()


def _check(connection: Connection, path: Path, clean: bool) -> None:
    """After an unclean end, look for damage, for a short while: the rest is `verify`'s work."""
    if clean:
        return
    stop = time.monotonic() + _PATIENCE
    connection.set_progress_handler(lambda: time.monotonic() > stop, 20_000)
    try:
        found = [str(row[0]) for row in connection.rows("PRAGMA quick_check(5)")]
    except apsw.InterruptError:
        return
    finally:
        connection.set_progress_handler(None)
    if found != ["ok"]:
        raise Broken(
            f"{path} is damaged: {'; '.join(found)}",
            code="store_damaged",
            hint="restore a backup with `holdfast restore`",
        )


def _refuse_misfits(connection: Connection, path: Path) -> None:
    found = [row[0] for row in connection.rows(_MISFITS, {"recent": _RECENT, "open": _OPEN})]
    if found:
        raise Broken(
            f"{path} is damaged: the events of {', '.join(found)} and their rows do not fit",
            code="store_damaged",
            hint="`holdfast task verify` says more; restore a backup with `holdfast restore`",
        )
