"""The shape of the database: forward only, each step rehearsed on a copy and backed up before."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import apsw
from msgspec import Struct

from holdfast.core.error import Broken
from holdfast.core.ids import Instant

from .connection import APPLICATION_ID, Connection, connect, connect_untouched, wal
from .trouble import trouble

_TABLE = """
    CREATE TABLE IF NOT EXISTS migration (
      version    INTEGER NOT NULL PRIMARY KEY,
      name       TEXT NOT NULL,
      checksum   TEXT NOT NULL,
      applied_at INTEGER NOT NULL
    ) STRICT"""


class Migration(Struct, frozen=True, kw_only=True):
    """One step forward. Once released, its text never changes."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def _shipped() -> tuple[Migration, ...]:
    folder = files(__package__ or "") / "migrations"
    named = sorted((file.name, file) for file in folder.iterdir() if file.name.endswith(".sql"))
    return tuple(
        Migration(version=int(name[:4]), name=name[5:-4], sql=file.read_text(encoding="utf-8"))
        for name, file in named
    )


MIGRATIONS = _shipped()


class Step(Struct, frozen=True, kw_only=True):
    """Where one migration stands: `applied_at` is None while it is pending."""

    version: int
    name: str
    applied_at: Instant | None


def steps(path: Path, known: Sequence[Migration] = MIGRATIONS) -> tuple[Step, ...]:
    """The migrations of a database that nobody has open. Changes nothing; raises `Broken`."""
    try:
        connection = connect_untouched(path)
        try:
            refuse_strange(connection, path, known)
            applied = dict[int, int]()
            if version_of(connection):
                applied.update(connection.rows("SELECT version, applied_at FROM migration"))
        finally:
            connection.close()
    except apsw.Error as error:
        raise trouble(error, path) from error
    return tuple(
        Step(version=step.version, name=step.name, applied_at=applied.get(step.version))
        for step in known
    )


def version_of(connection: Connection) -> int:
    return int(connection.value("PRAGMA user_version"))


def refuse_strange(connection: Connection, path: Path, known: Sequence[Migration]) -> None:
    """Raises `Broken` unless this version can work with the database. Changes nothing."""
    version, newest = version_of(connection), known[-1].version
    ours = connection.value("PRAGMA application_id") == APPLICATION_ID
    if not ours and connection.value("SELECT count(*) FROM sqlite_schema"):
        raise Broken(
            f"{path} is an SQLite database, but not one of Holdfast",
            code="store_foreign",
            hint="choose another home",
        )
    if version > newest:
        raise Broken(
            f"{path} has version {version}, newer than {newest}, the newest this Holdfast knows",
            code="store_newer",
            hint="upgrade Holdfast, or restore a backup made before the upgrade",
        )
    if not version:
        return
    stored = {row[0]: row[1] for row in connection.rows("SELECT version, checksum FROM migration")}
    for step in known[:version]:
        if stored.get(step.version) != step.checksum:
            raise Broken(
                f"{path}: migration {step.version} ({step.name}) is not the one that was applied",
                code="store_changed",
                hint="use the Holdfast that made this database, or restore a backup",
            )


def migrate(connection: Connection, path: Path, now: Instant, known: Sequence[Migration]) -> None:
    """Bring the database to the newest version. Raises `Broken` with nothing changed."""
    version = version_of(connection)
    pending = [step for step in known if step.version > version]
    if pending and version:
        copy_to(connection, path.with_name(f"{path.name}.before-v{pending[-1].version}.bak"))
        _rehearse(connection, path, now, pending)
    for step in pending:
        _apply(connection, step, now)


def _rehearse(
    connection: Connection, path: Path, now: Instant, pending: Sequence[Migration]
) -> None:
    place = path.with_name(f"{path.name}.rehearsal")
    try:
        copy_to(connection, place)
        copy = connect(place)
        try:
            for step in pending:
                _apply(copy, step, now)
            found = [str(row) for row in copy.rows("PRAGMA foreign_key_check")]
            found += [row[0] for row in copy.rows("PRAGMA quick_check(5)") if row[0] != "ok"]
        except apsw.SQLError as error:
            found = [str(error)]
        finally:
            copy.close()
    finally:
        remove(place)
    if found:
        raise Broken(
            f"{path} cannot be migrated, and was not changed: {'; '.join(found)}",
            code="store_migration",
            hint="report this; the Holdfast that made this database still works with it",
        )


def _apply(connection: Connection, step: Migration, now: Instant) -> None:
    with connection.transaction():
        connection.run(_TABLE)
        connection.run(step.sql)
        connection.run(
            "INSERT INTO migration VALUES (?, ?, ?, ?)",
            (step.version, step.name, step.checksum, now),
        )
        connection.run(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.run(f"PRAGMA user_version = {step.version}")


def copy_to(source: apsw.Connection, to: Path) -> None:
    """A consistent copy of the database in one file of its own, whole or not there at all."""
    part = to.with_name(f"{to.name}.part")
    remove(part)
    part.touch(mode=0o600)
    try:
        copy = Connection(str(part))
        try:
            with copy.backup("main", source, "main") as work:
                while not work.done:
                    work.step(-1)
            copy.run("PRAGMA journal_mode = DELETE")
        finally:
            copy.close()
        part.replace(to)
    finally:
        remove(part)


def remove(path: Path) -> None:
    """Delete a database that nobody has open, with what SQLite keeps beside it."""
    for file in (path, wal(path), path.with_name(f"{path.name}-shm")):
        file.unlink(missing_ok=True)
