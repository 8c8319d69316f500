"""Proof, copies, retention and purge of the database."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from holdfast.adapters.stores.connection import Connection
from holdfast.adapters.stores.sqlite import SqliteJournal, open_sqlite
from holdfast.adapters.stores.upkeep import FORGET_AT_ONCE, backup, restore
from holdfast.core.command import Cancel, Say
from holdfast.core.error import Broken, Refused, Unavailable
from holdfast.ports.journal import Health
from holdfast.testing.scribe import MINUTE, START, Scribe, name

SECRET = "correct horse battery staple"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@asynccontextmanager
async def using(path: Path) -> AsyncGenerator[SqliteJournal, None]:
    with anyio.fail_after(20):
        async with open_sqlite(path, now=START) as journal:
            yield journal


def with_journal(path: Path, work: Callable[[SqliteJournal], Awaitable[None]]) -> None:
    async def run() -> None:
        async with using(path) as journal:
            await work(journal)

    anyio.run(run)


def health_of(path: Path) -> Health:
    async def run() -> Health:
        async with using(path) as journal:
            return await journal.verify()

    return anyio.run(run)


async def three_tasks(journal: SqliteJournal) -> None:
    scribe = Scribe(journal)
    for number in (1, 2, 3):
        await scribe.finish(number)
    # So many later tasks that opening does not look at the first ones.
    async with anyio.create_task_group() as group:
        for number in range(1000, 1201):
            group.start_soon(scribe.submit, number)


def change(path: Path, *statements: str) -> None:
    connection = Connection(str(path))
    for sql in statements:
        connection.run(sql)
    connection.close()


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        (
            "UPDATE event SET body = replace(body, 'do 2', 'do 9')",
            "event 1 (Submitted) was changed",
        ),
        ("UPDATE event SET at = at + 1 WHERE seq = 2", "event 2 (Claimed) was changed"),
        ("UPDATE event SET kind = 'Woken' WHERE seq = 2", "event 2 (Woken) was changed"),
        ("UPDATE event SET link = 'x' WHERE seq = 2", "event 2 (Claimed) was changed"),
        ("DELETE FROM event WHERE seq = 2", "events are missing"),
        ("UPDATE task SET version = 2", "its row says 2 events"),
        ("UPDATE task SET summary = replace(summary, 'do 2', 'do 9')", "its summary is not"),
        ("UPDATE task SET summary = CAST('{' AS BLOB)", "its summary is not"),
        ("UPDATE task SET status = 'QUEUED'", "the columns of its row"),
        ("UPDATE task SET rank = 0", "the columns of its row"),
        ("UPDATE task SET owner = 'x'", "the columns of its row"),
    ],
)
def test_whatever_is_changed_behind_its_back_is_named(path: Path, sql: str, said: str):
    with_journal(path, three_tasks)
    assert not health_of(path).problems
    sql = sql.replace("replace(body", "CAST(replace(CAST(body AS TEXT)").replace(
        "replace(summary", "CAST(replace(CAST(summary AS TEXT)"
    )
    sql = sql.replace("'do 9')", "'do 9') AS BLOB)")
    task = "id" if "task SET" in sql else "task"
    change(path, f"{sql} {'AND' if 'WHERE' in sql else 'WHERE'} {task} = '{name(2)}'")
    problems = health_of(path).problems
    assert len(problems) == 1
    assert problems[0].startswith(f"{name(2)}: ")
    assert said in problems[0]


def test_an_event_without_its_task_is_named(path: Path):
    with_journal(path, three_tasks)
    change(
        path,
        "PRAGMA foreign_keys = OFF",
        f"DELETE FROM task WHERE id = '{name(2)}'",
    )
    assert health_of(path).problems == (f"{name(2)}: it has events and no row",)


def test_a_damaged_page_is_a_problem_and_not_a_crash(path: Path):
    with_journal(path, three_tasks)
    with path.open("r+b") as file:
        for page in range(30, path.stat().st_size // 4096 - 20):
            file.seek(page * 4096 + 8)
            file.write(b"\xa5" * 64)

    async def run() -> Health:
        async with using(path) as journal:
            return await journal.verify()

    try:
        assert anyio.run(run).problems
    except Broken as error:
        assert error.code == "store_damaged"


def test_purging_leaves_no_trace_in_the_files(path: Path):
    """Row GC-26."""

    async def purge(journal: SqliteJournal) -> None:
        scribe = Scribe(journal)
        task = await scribe.submit(1, prompt=SECRET)
        for _ in range(40):
            await scribe.tell(task, Say(text=SECRET * 400, by="me"))
        await scribe.submit(2, prompt="something else")
        assert SECRET.encode() in everything(path)
        await scribe.finish(3, prompt=SECRET)
        assert await journal.purge([name(3)], by="root", reason="asked to", at=START + 1) == 1
        assert SECRET.encode() in everything(path)
        await cancel(scribe, 1)
        assert await journal.purge([name(1)], by="root", reason="asked to", at=START + 2) == 1
        assert SECRET.encode() not in everything(path)
        assert b"something else" in everything(path)
        assert (await journal.verify()).problems == ()

    with_journal(path, purge)
    assert SECRET.encode() not in everything(path)
    connection = Connection(str(path))
    rows = connection.rows('SELECT task, at, "by", reason FROM purge ORDER BY task')
    connection.close()
    assert rows == [
        (name(1), START + 2, "root", "asked to"),
        (name(3), START + 1, "root", "asked to"),
    ]


async def cancel(scribe: Scribe, number: int) -> None:
    await scribe.tell(name(number), Cancel(by="me"))


def everything(path: Path) -> bytes:
    """Every byte on the disk. Read by another process: closing the file here drops its locks."""
    files = [str(file) for file in path.parent.iterdir()]
    return subprocess.run(["cat", *files], check=True, capture_output=True).stdout


def test_retention_works_in_small_bites(path: Path):
    async def forget(journal: SqliteJournal) -> None:
        scribe = Scribe(journal)

        async def finish(number: int) -> None:
            await scribe.finish(number)

        async with anyio.create_task_group() as group:
            for number in range(FORGET_AT_ONCE * 2 + 5):
                group.start_soon(finish, number)
        assert await journal.forget(START + MINUTE) == FORGET_AT_ONCE * 2 + 5
        assert (await journal.verify()) == Health(streams=0, events=0)

    with_journal(path, forget)


def test_a_backup_made_under_load_restores_to_a_sound_database(path: Path):
    """Row GC-27."""
    copy = path.with_name("copy.db")

    async def load(journal: SqliteJournal) -> None:
        scribe = Scribe(journal)
        done = anyio.Event()
        sizes: list[int] = []

        async def write(number: int) -> None:
            task = await scribe.begin(number)
            while not done.is_set():
                await scribe.tell(task, Say(text="more " * 100, by="me"))

        async with anyio.create_task_group() as group:
            for number in range(16):
                group.start_soon(write, number)
            while len(sizes) < 16:
                await anyio.lowlevel.checkpoint()
                sizes = [1 for _, end in scribe.tasks.values() if end.version > 20]
            await journal.backup(copy)
            done.set()
        assert (await journal.verify()).problems == ()

    with_journal(path, load)
    kept = restore(copy, path)
    restored = health_of(path)
    assert (restored.streams, restored.problems) == (16, ())
    assert restored.events > 16 * 20
    assert kept is not None
    assert health_of(kept).events >= restored.events

    async def go_on(journal: SqliteJournal) -> None:
        await Scribe(journal).submit(99)

    with_journal(path, go_on)


def test_a_backup_is_one_file_that_only_its_owner_may_read(path: Path):
    with_journal(path, three_tasks)
    backup(path, path.with_name("copy.db"))
    assert sorted(p.name for p in path.parent.iterdir()) == ["copy.db", "journal.db"]
    assert path.with_name("copy.db").stat().st_mode & 0o777 == 0o600
    with pytest.raises(Refused, match="already there"):
        backup(path, path.with_name("copy.db"))
    with pytest.raises(Unavailable):
        backup(path, path.parent / "nowhere" / "copy.db")
    with pytest.raises(Unavailable, match="there is no database"):
        backup(path.with_name("nothing.db"), path.with_name("copy2.db"))
    assert sorted(p.name for p in path.parent.iterdir()) == ["copy.db", "journal.db"]


def test_restoring_twice_keeps_both_replaced_databases(path: Path):
    copy = path.with_name("copy.db")
    with_journal(path, three_tasks)
    backup(path, copy)
    assert restore(copy, path) == path.with_name("journal.db.replaced-1")
    assert restore(copy, path) == path.with_name("journal.db.replaced-2")
    assert restore(copy, path.with_name("new.db")) is None
    assert health_of(path.with_name("new.db")).problems == ()


def test_a_log_left_by_a_crash_goes_with_the_replaced_database(path: Path):
    copy = path.with_name("copy.db")
    with_journal(path, three_tasks)
    backup(path, copy)
    crash_after(path, 5000)
    kept = restore(copy, path)
    assert kept is not None
    assert health_of(path).streams == 204
    assert health_of(kept).streams == 205


def crash_after(path: Path, number: int) -> None:
    """Submit one more task in a process that is killed before it can close the database."""
    code = f"""
import anyio, os
from pathlib import Path
from holdfast.adapters.stores.sqlite import open_sqlite
from holdfast.testing.scribe import START, Scribe
async def run():
    async with open_sqlite(Path({str(path)!r}), now=START) as journal:
        await Scribe(journal).submit({number})
        os._exit(9)
anyio.run(run)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == 9
    assert path.with_name(f"{path.name}-wal").exists()


@pytest.mark.parametrize("harm", ["nothing there", "not a database", "changed", "newer", "empty"])
def test_an_unsound_backup_is_refused_and_nothing_is_changed(path: Path, harm: str):
    copy = path.with_name("copy.db")
    with_journal(path, three_tasks)
    backup(path, copy)
    match harm:
        case "nothing there":
            copy.unlink()
        case "not a database":
            copy.write_bytes(b"hello" * 1000)
        case "changed":
            change(copy, f"UPDATE event SET at = 0 WHERE task = '{name(2)}'")
        case "newer":
            change(copy, "PRAGMA user_version = 99")
        case _:
            copy.write_bytes(b"")
    before = path.read_bytes()
    with pytest.raises((Broken, Unavailable)) as caught:
        restore(copy, path)
    assert str(copy) in str(caught.value)
    assert path.read_bytes() == before
    assert {p.name for p in path.parent.iterdir()} <= {"journal.db", "copy.db"}


def test_closing_does_not_wait_for_a_long_check(path: Path):
    async def check(journal: SqliteJournal) -> None:
        await three_tasks(journal)
        stopped: list[str] = []

        async def verify() -> None:
            try:
                while True:
                    await journal.verify()
            except Unavailable as error:
                stopped.append(error.code)

        async with anyio.create_task_group() as group:
            group.start_soon(verify)
            group.start_soon(verify)
            await anyio.lowlevel.checkpoint()
            await journal.close()
        assert stopped == ["store_closed", "store_closed"]

    with_journal(path, check)
