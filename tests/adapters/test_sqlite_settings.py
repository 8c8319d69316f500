"""How the database is set up, and what it costs when nothing happens."""

from __future__ import annotations

import stat
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import apsw
import pytest

from holdfast.adapters.stores import reading
from holdfast.adapters.stores.connection import connect, connect_reader
from holdfast.adapters.stores.sqlite import SqliteJournal, open_sqlite
from holdfast.core.task import Status
from holdfast.testing.scribe import START, Scribe


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def with_journal(path: Path, work: Callable[[SqliteJournal], Awaitable[None]]) -> None:
    async def run() -> None:
        with anyio.fail_after(20):
            async with open_sqlite(path, now=START) as journal:
                await work(journal)

    anyio.run(run)


async def nothing(_journal: SqliteJournal) -> None:
    pass


def test_a_commit_is_on_the_disk_and_what_is_deleted_is_gone(path: Path):
    """Row GC-21."""
    with_journal(path, nothing)
    connection = connect(path)
    settings = {
        name: connection.value(f"PRAGMA {name}")
        for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "busy_timeout")
    }
    connection.close()
    assert settings == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "secure_delete": 1,
        "busy_timeout": 5000,
    }


def test_the_database_takes_no_status_but_the_nine(path: Path):
    """Row GC-01."""

    async def submit(journal: SqliteJournal) -> None:
        await Scribe(journal).submit(1)

    with_journal(path, submit)
    connection = connect(path)
    legal = set(Status) - {Status.NEW}
    for status in (*legal, "BOGUS", "NEW", "queued", ""):
        try:
            connection.run("UPDATE task SET status = ?", (status,))
            taken = True
        except apsw.ConstraintError:
            taken = False
        assert taken == (status in legal)
    copy = "INSERT INTO task SELECT 'x', version, head, 'BOGUS', {} FROM task"
    others = [row[1] for row in connection.rows("PRAGMA table_info(task)")][4:]
    with pytest.raises(apsw.ConstraintError):
        connection.run(copy.format(", ".join(f'"{name}"' for name in others)))
    connection.close()


def test_only_the_owner_may_read_the_database(path: Path):
    async def look(journal: SqliteJournal) -> None:
        await Scribe(journal).submit(1)
        for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
            assert stat.S_IMODE(path.with_name(name).stat().st_mode) == 0o600

    with_journal(path, look)


def test_a_clean_end_leaves_one_file_and_no_thread(path: Path):
    async def submit(journal: SqliteJournal) -> None:
        await Scribe(journal).submit(1)
        assert "holdfast-journal" in {thread.name for thread in threading.enumerate()}

    with_journal(path, submit)
    assert "holdfast-journal" not in {thread.name for thread in threading.enumerate()}
    assert [file.name for file in path.parent.iterdir()] == ["journal.db"]


def test_an_idle_journal_runs_no_statement(path: Path):
    async def idle(journal: SqliteJournal) -> None:
        await Scribe(journal).submit(1)
        before = journal.statements
        assert before > 0
        for _ in range(1000):
            await anyio.lowlevel.checkpoint()
        assert journal.statements == before

    with_journal(path, idle)


def test_sixty_four_appends_at_once_share_one_commit(path: Path):
    async def burst(journal: SqliteJournal) -> None:
        scribe = Scribe(journal)
        before = journal.statements
        async with anyio.create_task_group() as group:
            for number in range(64):
                group.start_soon(scribe.submit, number)
        # Ask which are there, begin, tasks, events, what they say to the audit, commit.
        assert journal.statements - before == 6

    with_journal(path, burst)


@pytest.mark.parametrize(
    ("sql", "index"),
    [
        (reading.READY, "task_ready"),
        (reading.READY, "task_open"),
        (reading.DUE, "task_due"),
        (reading.NEXT_DUE, "task_due"),
        (reading.LOST, "task_held"),
        ("SELECT summary FROM task WHERE asked = 1 ORDER BY id DESC", "task_asked"),
        ("SELECT summary FROM task WHERE parent = ? ORDER BY id DESC", "task_parent"),
        ("SELECT 1 FROM task WHERE session = ? AND session <> '' ORDER BY id DESC", "task_session"),
        ("SELECT status, count(*) FROM task GROUP BY status", "task_status"),
    ],
)
def test_what_is_asked_often_is_answered_from_an_index(path: Path, sql: str, index: str):
    with_journal(path, nothing)
    connection = connect_reader(path)
    values = (1,) * sql.count("?")
    plan = " ".join(row[3] for row in connection.rows(f"EXPLAIN QUERY PLAN {sql}", values))
    connection.close()
    assert f"INDEX {index}" in plan, plan
    assert "TEMP B-TREE" not in plan
