"""Connections to the one database file, each with the same settings and a count of statements."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw

APPLICATION_ID = 0x486F6C64
"""Marks an SQLite file as ours: `Hold`."""

_SETTINGS = """
    PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = ON;
    PRAGMA secure_delete = ON;
    PRAGMA journal_size_limit = 67108864;
    PRAGMA cache_size = -8192;
    PRAGMA trusted_schema = OFF;"""
_BUSY_MS = 5_000


Value = str | int | bytes | None
Bindings = Sequence[Value] | Mapping[str, Value]


class Connection(apsw.Connection):
    """A connection that knows how many statements it was asked to run."""

    statements = 0
    stopped = False

    def count(self, _cursor: object, _sql: str, _bindings: object) -> bool:
        self.statements += 1
        return not self.stopped

    def run(self, sql: str, values: Bindings = ()) -> None:
        # To the end: what follows a statement that returns a row runs only when that row is read.
        self.execute(sql, values).fetchall()  # pyright: ignore[reportUnknownMemberType]

    def rows(self, sql: str, values: Bindings = ()) -> list[tuple[Any, ...]]:
        return self.execute(sql, values).fetchall()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

    def value(self, sql: str, values: Bindings = ()) -> Any:
        """The first column of the first row, or None."""
        return self.execute(sql, values).get  # pyright: ignore[reportUnknownMemberType]

    @contextmanager
    def transaction(self) -> Generator[None, None, None]:
        """All or nothing; durable at the end."""
        self.run("BEGIN IMMEDIATE")
        try:
            yield
            self.run("COMMIT")
        finally:
            if self.in_transaction:
                self.run("ROLLBACK")

    def close(self, force: bool = False) -> None:
        """What the disk refuses now stays in the log, and is there at the next opening."""
        with suppress(apsw.Error):
            super().close(force)

    def stop(self) -> None:
        """End what it is doing and refuse anything more. May be called from another thread."""
        self.stopped = True
        self.interrupt()


def connect(path: Path, *, vfs: str | None = None) -> Connection:
    """A connection that may write. Creates the file, for its owner's eyes only."""
    if not path.exists():
        path.touch(mode=0o600)
    connection = _prepared(path, vfs, _SETTINGS)
    if not _has_log(connection):
        # SQLite says nothing when a disk error keeps it from changing the mode, and believes then
        # what the file does not say. So the change is believed when another connection sees it.
        try:
            connection.run("PRAGMA journal_mode = WAL")
        finally:
            connection.close()
        connection = _prepared(path, vfs, _SETTINGS)
        if not _has_log(connection):
            connection.close()
            raise apsw.CantOpenError("it cannot have a write-ahead log here")
    return connection


def _has_log(connection: Connection) -> bool:
    return connection.value("PRAGMA journal_mode") == "wal"


def connect_reader(path: Path, *, vfs: str | None = None) -> Connection:
    """A connection that only reads, beside the writer."""
    return _prepared(path, vfs, "PRAGMA query_only = ON", "PRAGMA cache_size = -8192")


def _prepared(path: Path, vfs: str | None, *settings: str) -> Connection:
    connection = _opened(str(path), apsw.SQLITE_OPEN_READWRITE, vfs)
    try:
        for sql in settings:
            connection.run(sql)
    except apsw.Error:
        connection.close()
        raise
    return connection


def connect_untouched(path: Path, *, vfs: str | None = None) -> Connection:
    """A look at a database that nobody has open, leaving every byte of it as it is."""
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    mode = "mode=ro" if wal(path).exists() else "mode=ro&immutable=1"
    return _opened(f"file:{quote(str(path.absolute()))}?{mode}", flags, vfs)


def wal(path: Path) -> Path:
    """The write-ahead log beside the database. SQLite removes it at a clean end."""
    return path.with_name(path.name + "-wal")


def _opened(name: str, flags: int, vfs: str | None) -> Connection:
    connection = Connection(name, flags=flags, vfs=vfs)
    connection.set_busy_timeout(_BUSY_MS)
    connection.exec_trace = connection.count
    return connection
