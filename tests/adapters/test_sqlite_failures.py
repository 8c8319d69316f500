"""The disk fails at every moment there is; what was acknowledged stays, and nothing else comes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import apsw
import pytest
from msgspec.structs import replace

from holdfast.adapters.stores.connection import connect_reader
from holdfast.adapters.stores.sqlite import SqliteJournal, open_sqlite
from holdfast.core import view
from holdfast.core.command import Claim, HearReply, Say, Start
from holdfast.core.error import HoldfastError, Unavailable
from holdfast.core.ids import TaskId
from holdfast.core.message import Reply
from holdfast.core.task import Status
from holdfast.ports.journal import Cursor
from holdfast.testing.scribe import START, Scribe, name
from tests.adapters.failing_disk import FailingDisk

# What the disk does while SQLite closes a file, apsw can tell to nobody and prints.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.timeout(300),
]

MOST = 400
Acknowledged = dict[TaskId, Cursor]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def disk() -> Generator[FailingDisk, None, None]:
    with FailingDisk() as failing:
        yield failing


@asynccontextmanager
async def using(path: Path, *, vfs: str | None = None) -> AsyncGenerator[SqliteJournal, None]:
    with anyio.fail_after(20):
        async with open_sqlite(path, now=START, vfs=vfs) as journal:
            yield journal


def made(path: Path) -> Path:
    async def run() -> None:
        async with using(path):
            pass

    anyio.run(run)
    return path


async def work(journal: SqliteJournal, number: int, acknowledged: Acknowledged) -> None:
    """One task from beginning to end, going on after every failure of the store."""
    scribe, task = Scribe(journal), name(number)
    steps = [
        lambda: scribe.submit(number),
        lambda: scribe.tell(task, Claim(owner="a"), Start()),
        lambda: scribe.tell(task, Say(text="x" * 3000, by="me")),
        lambda: scribe.tell(task, HearReply(reply=Reply(text="done"), saw=2)),
    ]
    for step in steps:
        for _ in range(2):
            try:
                await step()
            except Unavailable:
                continue
            acknowledged[task] = scribe.tasks[task][1]
            break
        else:
            return


async def everything(journal: SqliteJournal, acknowledged: Acknowledged) -> None:
    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(work, journal, number, acknowledged)
    try:
        await journal.purge([name(0)], by="root", reason="test", at=START)
    except HoldfastError as error:
        assert isinstance(error, Unavailable) or error.code == "task_not_over"


async def survived(path: Path, acknowledged: Acknowledged, *, exactly: bool) -> None:
    async with using(path) as journal:
        health = await journal.verify()
        assert health.problems == ()
        for task, end in acknowledged.items():
            row = await journal.summary(task)
            assert row is not None
            if row.title == "[purged]":
                continue
            past = await journal.read(task)
            assert past[end.version - 1].link == end.head
            assert len(past) == end.version or not exactly
        assert health.streams == len(acknowledged) or not exactly


def each_failure(disk: FailingDisk, once: bool, run: Callable[[int], Awaitable[None]]) -> int:
    """Run with the first operation failing, then the second, until none is left to fail."""
    for at in range(1, MOST):
        disk.fail(at, once=once)
        anyio.run(run, at)
        if not disk.failed:
            return at
    raise AssertionError("there was always something left to fail")


@pytest.mark.parametrize("once", [True, False], ids=["once", "for good"])
def test_whichever_write_fails_what_was_acknowledged_is_there(
    tmp_path: Path, disk: FailingDisk, once: bool
):
    empty = made(tmp_path / "empty.db")

    async def run(at: int) -> None:
        path, acknowledged = tmp_path / f"{at}.db", Acknowledged()
        failing = disk.at
        disk.heal()
        shutil.copy(empty, path)
        async with using(path, vfs=disk.name) as journal:
            disk.fail(failing, once=once)
            await everything(journal, acknowledged)
            assert len(acknowledged) == 4 or not once
        disk.heal()
        await survived(path, acknowledged, exactly=once)

    assert each_failure(disk, once, run) > 20


def test_after_one_failed_write_and_a_crash_nothing_refused_comes_back(
    tmp_path: Path, disk: FailingDisk
):
    empty = made(tmp_path / "empty.db")

    async def run(at: int) -> None:
        path, copy = tmp_path / f"{at}.db", tmp_path / f"{at}-crashed.db"
        failing = disk.at
        disk.heal()
        shutil.copy(empty, path)
        async with using(path, vfs=disk.name) as journal:
            scribe = Scribe(journal)
            await scribe.submit(1)
            disk.fail(failing, once=True)
            try:
                await scribe.submit(2)
            except Unavailable as error:
                assert error.code == "store_io"
            # What a power cut now would leave; another process, as closing a file drops locks.
            for end in ("", "-wal"):
                subprocess.run(["cp", f"{path}{end}", f"{copy}{end}"], check=True)
            disk.heal()
        acknowledged = {task: end for task, (_, end) in scribe.tasks.items()}
        await survived(copy, acknowledged, exactly=True)

    assert each_failure(disk, True, run) > 3


@pytest.mark.parametrize("once", [True, False], ids=["once", "for good"])
def test_whichever_write_fails_at_the_first_opening_the_next_one_works(
    tmp_path: Path, disk: FailingDisk, once: bool
):
    async def run(at: int) -> None:
        path = tmp_path / f"{at}.db"
        try:
            async with using(path, vfs=disk.name):
                reader = connect_reader(path)
                assert reader.value("PRAGMA journal_mode") == "wal"
                reader.close()
        except Unavailable as error:
            assert error.code == "store_io"
        failed = disk.failed
        disk.heal()
        async with using(path) as journal:
            await Scribe(journal).submit(1)
            assert (await journal.verify()).problems == ()
        disk.failed = failed

    assert each_failure(disk, once, run) > 10


def test_a_full_disk_is_named_and_work_goes_on_when_there_is_room(path: Path):
    async def run() -> None:
        async with using(path, vfs=disk.name) as journal:
            scribe = Scribe(journal)
            task = await scribe.begin(1)
            disk.fail(1, once=False)
            with pytest.raises(Unavailable) as caught:
                await scribe.tell(task, Say(text="x", by="me"))
            assert caught.value.code == "store_full"
            assert len(await journal.read(task)) == 3
            disk.heal()
            await scribe.tell(task, Say(text="x", by="me"))
            assert (await journal.verify()).problems == ()

    with FailingDisk(apsw.FullError) as disk:
        anyio.run(run)


def test_one_bad_append_does_not_harm_those_beside_it(path: Path):
    async def run() -> None:
        async with using(path) as journal:
            scribe = Scribe(journal)
            await scribe.submit(1)
            state, end = scribe.tasks[name(1)]
            bad = replace(view.summary(state), status=Status.NEW)
            refused: list[str] = []

            async def poison() -> None:
                event = (await journal.read(name(1)))[0].event
                try:
                    await journal.append(name(1), end, (event,), bad, at=START)
                except HoldfastError as error:
                    refused.append(error.code)

            async with anyio.create_task_group() as group:
                group.start_soon(scribe.submit, 2)
                group.start_soon(poison)
                group.start_soon(scribe.submit, 3)
            assert refused == ["store_error"]
            assert (await journal.verify()).streams == 3

    anyio.run(run)


def test_when_the_writer_dies_nobody_waits_for_it(path: Path, monkeypatch: pytest.MonkeyPatch):
    class Bug(Exception):
        pass

    def fail(_connection: object) -> None:
        raise Bug

    def quiet(_args: object) -> None:
        pass

    monkeypatch.setattr("threading.excepthook", quiet)
    monkeypatch.setattr("holdfast.adapters.stores.upkeep.release", fail)

    async def run() -> None:
        async with using(path) as journal:
            with pytest.raises(Unavailable) as caught:
                await journal.release()
            assert caught.value.code == "store_gone"
            with pytest.raises(Unavailable):
                await Scribe(journal).submit(1)

    anyio.run(run)
