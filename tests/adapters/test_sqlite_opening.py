"""What happens when a database is opened: it is proved, brought up to date, or left as it is."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from holdfast.adapters.stores.connection import Connection, connect
from holdfast.adapters.stores.migrate import MIGRATIONS, Migration, steps
from holdfast.adapters.stores.sqlite import open_sqlite
from holdfast.adapters.stores.upkeep import restore
from holdfast.core.error import Broken, HoldfastError, Unavailable
from holdfast.testing.scribe import START, Scribe, name

NEXT = len(MIGRATIONS) + 1
NOTES = Migration(
    version=NEXT,
    name="notes",
    sql="CREATE TABLE note (text TEXT NOT NULL) STRICT; INSERT INTO note VALUES ('first');",
)
WRONG = Migration(version=NEXT + 1, name="wrong", sql="DROP TABLE event; CREATE TABLE task (x);")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def opened(path: Path, known: Sequence[Migration] = MIGRATIONS, *, submit: int = 0) -> None:
    async def run() -> None:
        with anyio.fail_after(20):
            async with open_sqlite(path, now=START, migrations=known) as journal:
                if submit:
                    await Scribe(journal).submit(submit)
                assert not (await journal.verify()).problems

    anyio.run(run)


def fails(path: Path, known: Sequence[Migration] = MIGRATIONS) -> HoldfastError:
    with pytest.raises(HoldfastError) as caught:
        opened(path, known)
    return caught.value


def change(path: Path, *statements: str) -> None:
    connection = Connection(str(path))
    for sql in statements:
        connection.run(sql)
    connection.close()


def prints(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def leave_behind(path: Path) -> None:
    """End as a killed process does: with a log beside the database."""
    child = os.fork()
    if not child:
        connection = connect(path)
        connection.run("UPDATE meta SET value = value + 1")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert path.with_name("journal.db-wal").stat().st_size > 0


def test_a_new_database_is_made_and_opens_again(path: Path):
    """Row OK-34."""
    opened(path, submit=1)
    opened(path, submit=2)
    assert [step.applied_at for step in steps(path)] == [START] * len(MIGRATIONS)


def test_a_newer_database_is_refused_and_left_as_it_is(path: Path):
    """Row GC-22."""
    opened(path, submit=1)
    change(
        path,
        "INSERT INTO migration VALUES (99, 'later', 'x', 0)",
        "PRAGMA user_version = 99",
    )
    before = prints(path.parent)
    error = fails(path)
    assert isinstance(error, Broken)
    assert error.code == "store_newer"
    assert "99" in str(error)
    assert str(MIGRATIONS[-1].version) in str(error)
    assert error.hint
    assert prints(path.parent) == before
    leave_behind(path)
    before = prints(path.parent)
    assert fails(path).code == "store_newer"
    after = prints(path.parent)
    for file in ("journal.db", "journal.db-wal"):
        assert after[file] == before[file]


def test_a_database_with_another_history_is_refused(path: Path):
    """Part of row GC-22."""
    opened(path)
    change(path, "UPDATE migration SET checksum = 'x'")
    before = prints(path.parent)
    assert fails(path).code == "store_changed"
    assert prints(path.parent) == before
    with pytest.raises(Broken, match="is not the one that was applied"):
        steps(path)


def test_a_migration_keeps_a_backup_and_can_be_taken_back_with_it(path: Path):
    """Rows OK-100, OK-145."""
    opened(path, submit=1)
    pending = steps(path, (*MIGRATIONS, NOTES))[-1]
    assert (pending.name, pending.applied_at) == ("notes", None)
    opened(path, (*MIGRATIONS, NOTES), submit=2)
    assert steps(path, (*MIGRATIONS, NOTES))[-1].applied_at == START
    backup = path.with_name(f"journal.db.before-v{NEXT}.bak")
    assert {p.name for p in path.parent.iterdir()} == {"journal.db", backup.name}
    assert fails(path).code == "store_newer"
    kept = restore(backup, path)
    assert steps(path)[-1].applied_at == START
    opened(path, submit=3)
    opened(path, (*MIGRATIONS, NOTES), submit=4)
    assert kept is not None
    for database, tasks in ((path, [1, 3, 4]), (kept, [1, 2])):
        connection = Connection(str(database))
        assert connection.value("SELECT text FROM note") == "first"
        found = [row[0] for row in connection.rows("SELECT id FROM task ORDER BY id")]
        connection.close()
        assert found == [name(number) for number in tasks]


def test_a_migration_that_fails_is_tried_on_a_copy_only(path: Path):
    """Part of row GC-22."""
    opened(path, submit=1)
    before = prints(path.parent)["journal.db"]
    error = fails(path, (*MIGRATIONS, NOTES, WRONG))
    assert error.code == "store_migration"
    assert "was not changed" in str(error)
    assert prints(path.parent)["journal.db"] == before
    kept = f"journal.db.before-v{NEXT + 1}.bak"
    assert {p.name for p in path.parent.iterdir()} == {"journal.db", kept}
    opened(path, submit=2)


def test_every_migration_is_numbered_in_order():
    assert [step.version for step in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))
    assert all(len(step.checksum) == 64 for step in MIGRATIONS)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path):
    error = fails(tmp_path / "nowhere" / "journal.db")
    assert (type(error), error.code) == (Unavailable, "store_no_directory")
    assert "nowhere" in str(error)


@pytest.mark.parametrize("content", [b"hello " * 2000, b"SQLite format 3\0" + b"\xff" * 9000])
def test_something_else_is_no_database(path: Path, content: bytes):
    path.write_bytes(content)
    error = fails(path)
    assert isinstance(error, Broken)
    assert error.code in {"store_not_database", "store_damaged"}
    assert path.read_bytes() == content


def test_a_directory_in_its_place_is_no_database(path: Path):
    path.mkdir()
    assert fails(path).code == "store_not_database"


def test_a_database_of_another_program_is_not_touched(path: Path):
    change(path, "CREATE TABLE theirs (x)")
    before = prints(path.parent)
    assert fails(path).code == "store_foreign"
    assert prints(path.parent) == before


def test_an_empty_file_becomes_a_database(path: Path):
    path.touch()
    opened(path, submit=1)


def test_after_an_unclean_end_what_was_committed_is_there(path: Path):
    opened(path, submit=1)
    leave_behind(path)
    opened(path, submit=2)
    connection = Connection(str(path))
    assert connection.value("SELECT value FROM meta WHERE name = 'failed_commits'") == 1
    connection.close()


def test_a_damaged_page_is_found_after_an_unclean_end(path: Path):
    async def fill() -> None:
        async with open_sqlite(path, now=START) as journal:
            scribe = Scribe(journal)
            for number in range(200):
                await scribe.submit(number)

    anyio.run(fill)
    leave_behind(path)
    with path.open("r+b") as file:
        for page in range(20, 60):
            file.seek(page * 4096)
            file.write(b"\xa5" * 512)
    error = fails(path)
    assert (type(error), error.code) == (Broken, "store_damaged")
    assert "restore" in error.hint


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM event WHERE seq = 1",
        "UPDATE event SET link = 'x'",
        "UPDATE task SET version = 2",
        "INSERT INTO event SELECT task, seq + 1, kind, at, body, link FROM event",
    ],
)
def test_a_row_that_does_not_fit_its_events_is_found_at_once(path: Path, sql: str):
    opened(path, submit=1)
    change(path, sql)
    error = fails(path)
    assert (type(error), error.code) == (Broken, "store_damaged")
    assert name(1) in str(error)


def test_a_place_that_cannot_be_written_is_named(path: Path, monkeypatch: pytest.MonkeyPatch):
    opened(path, submit=1)

    def access(place: Path, _mode: int) -> bool:
        return place != path

    monkeypatch.setattr(os, "access", access)  # Root may write anywhere.
    error = fails(path)
    assert (type(error), error.code) == (Unavailable, "store_read_only")
    assert str(path) in str(error)
