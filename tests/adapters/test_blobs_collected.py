"""Files that nobody speaks of any more go, and never one that somebody does."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.adapters.blobs.files import FileBlobs
from holdfast.adapters.mentions import FolderMentions, named_in
from holdfast.adapters.stores.memory import MemoryJournal
from holdfast.adapters.stores.sqlite import open_sqlite
from holdfast.core.error import NotFound
from holdfast.core.message import File
from holdfast.runtime import upkeep
from holdfast.testing.fake_mentions import JournalMentions
from holdfast.testing.scribe import START, Scribe

DAY, HOUR, EVER = 86_400_000, 3_600_000, 1 << 42


@dataclass
class Place:
    """A store of blobs with who speaks of them, and a clock that a test moves."""

    blobs: FileBlobs
    journal: Any
    folder: Path
    clock: list[int]
    mentions: Sequence[Any] = ()

    async def collect(self) -> tuple[int, int]:
        house = SimpleNamespace(
            blobs=self.blobs,
            mentions=self.mentions,
            clock=SimpleNamespace(now=lambda: self.clock[0]),
        )
        return await upkeep.collect(cast("Any", house))

    async def has(self, name: str) -> bool:
        try:
            await self.blobs.get(name)
        except NotFound:
            return False
        return True


@asynccontextmanager
async def place(home: Path) -> AsyncGenerator[Place]:
    clock = [1_800_000_000_000]
    (folder := home / "undo").mkdir()
    async with open_sqlite(home / "holdfast.db", now=START) as journal:
        blobs = FileBlobs(home / "blobs", lambda: clock[0])
        yield Place(blobs, journal, folder, clock, (journal.mentions(), FolderMentions(folder)))


def shown(name: str) -> File:
    return File(name="x", media_type="text/plain", digest=name, size=1)


@pytest.mark.anyio
async def test_a_file_goes_with_the_last_task_that_shows_it(tmp_path: Path):
    async with place(tmp_path) as here:
        name = await here.blobs.put(b"a picture")
        scribe = Scribe(here.journal)
        await scribe.finish(1, files=(shown(name),))
        await scribe.finish(2, at=START + 10, files=(shown(name),))
        here.clock[0] += 2 * DAY
        assert await here.collect() == (0, 0)
        await here.journal.forget(START + 5)
        assert await here.collect() == (0, 0)
        await here.journal.forget(START + 50)
        assert await here.collect() == (1, len(b"a picture"))
        assert not await here.has(name)


@pytest.mark.anyio
async def test_a_file_of_a_purged_task_goes(tmp_path: Path):
    async with place(tmp_path) as here:
        name = await here.blobs.put(b"said in private")
        task = await Scribe(here.journal).finish(1, files=(shown(name),))
        await here.journal.purge([task], by="me", reason="asked to", at=START)
        here.clock[0] += 2 * DAY
        assert (await here.collect())[0] == 1


@pytest.mark.anyio
async def test_what_was_just_kept_stays_though_nobody_speaks_of_it_yet(tmp_path: Path):
    """A page was attached, or a file looked at before it is changed: the event is on its way."""
    async with place(tmp_path) as here:
        fresh, old = await here.blobs.put(b"fresh"), await here.blobs.put(b"old")
        here.clock[0] += DAY - HOUR
        assert await here.collect() == (0, 0)
        assert await here.blobs.put(b"fresh") == fresh
        here.clock[0] += 2 * HOUR
        assert (await here.collect())[0] == 1
        assert (await here.has(fresh), await here.has(old)) == (True, False)


@pytest.mark.anyio
async def test_what_undoing_needs_stays(tmp_path: Path):
    async with place(tmp_path) as here:
        name = await here.blobs.put(b"as it was")
        padding = "x" * ((1 << 20) - 40)  # the name lies across two pieces of the file
        (here.folder / "task_1").write_text(f'{padding}"digest":"{name}"')
        here.clock[0] += 2 * DAY
        assert await here.collect() == (0, 0)
        (here.folder / "task_1").unlink()
        assert (await here.collect())[0] == 1


def test_a_name_is_found_wherever_it_stands():
    name = "0123456789abcdef" * 4
    for text in (name, f'"{name}"', f"kept as blob {name}]", f"ff{name}", f"{name}00"):
        assert name in set(named_in(text.encode())), text
    assert not list(named_in(name[:-1].encode()))


NAMES = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(5)]
NUMBERS = st.integers(min_value=0, max_value=4)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("touch"), NUMBERS),
        st.tuples(st.just("tell"), NUMBERS),
        st.tuples(st.just("write"), NUMBERS),
        st.tuples(st.just("forget"), NUMBERS),
        st.tuples(st.just("wait"), st.sampled_from([1, 11, 30])),
        st.tuples(st.sampled_from(["ask", "drop"]), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(ACTIONS)
@example([("wait", 30), ("ask", 0), ("touch", 1), ("tell", 1), ("drop", 0)])
@example([("wait", 30), ("ask", 0), ("touch", 1), ("tell", 1), ("wait", 30), ("drop", 0)])
@example([("tell", 1), ("wait", 30), ("ask", 0), ("write", 1), ("drop", 0)])
def test_nothing_that_somebody_speaks_of_is_ever_deleted(actions: list[tuple[str, int]]):
    """In whatever order things are kept, told, forgotten and collected, a step at a time."""
    with TemporaryDirectory() as home:
        anyio.run(_lived, Path(home), actions)


async def _lived(home: Path, actions: list[tuple[str, int]]) -> None:
    life = Life(home)
    for number in range(5):
        await life.touch(number)
    for what, which in actions:
        await getattr(life, what)(which)
        for number in life.told | {int(path.name) for path in life.folder.iterdir()}:
            assert await life.blobs.get(NAMES[number]) == str(number).encode()


class Life:
    """Tasks that show files, undos that need some, and a collection one step at a time."""

    def __init__(self, home: Path) -> None:
        self.now = 1_800_000_000_000
        (folder := home / "undo").mkdir()
        self.folder, self.journal = folder, MemoryJournal()
        self.blobs = FileBlobs(home / "blobs", lambda: self.now)
        self.touched, self.told, self.count = dict[int, int](), set[int](), 0
        self.before = 0
        self.left = frozenset[str]()

    async def touch(self, which: int) -> None:
        await self.blobs.put(str(which).encode())
        self.touched[which] = self.now

    async def tell(self, which: int) -> None:
        if self.now - self.touched[which] < DAY:  # as it is with all who write one down
            self.count += 1
            await Scribe(self.journal).finish(self.count, at=1, files=(shown(NAMES[which]),))
            self.told.add(which)

    async def write(self, which: int) -> None:
        if self.now - self.touched[which] < DAY:
            (self.folder / str(which)).write_text(NAMES[which])

    async def forget(self, which: int) -> None:
        (self.folder / str(which)).unlink(missing_ok=True)
        await self.journal.forget(2)
        self.told.clear()

    async def wait(self, hours: int) -> None:
        self.now += hours * HOUR

    async def look(self, _: int) -> None:
        self.before = self.now - DAY
        self.left = await self.blobs.stale(self.before)

    async def ask(self, _: int) -> None:
        await self.look(0)
        for place in (JournalMentions(self.journal), FolderMentions(self.folder)):
            self.left = await place.unmentioned(self.left)

    async def drop(self, _: int) -> None:
        await self.blobs.drop(self.left, self.before)
        self.left = frozenset[str]()


COLLECTING = """
import sys, anyio
from pathlib import Path
from holdfast.adapters.blobs.files import FileBlobs
async def main():
    blobs = FileBlobs(Path(sys.argv[1]))
    names = await blobs.stale(1 << 42)
    wanted = set(Path(sys.argv[2]).read_text().split())
    print("begun", flush=True)
    await blobs.drop(names - wanted, 1 << 42)
anyio.run(main)
"""


@pytest.mark.anyio
async def test_a_collection_that_is_killed_has_deleted_nothing_that_is_wanted(tmp_path: Path):
    blobs = FileBlobs(tmp_path / "blobs")
    names = [await blobs.put(os.urandom(10)) for _ in range(200)]
    wanted = names[::2]
    (tmp_path / "wanted").write_text(" ".join(wanted))
    command = [sys.executable, "-c", COLLECTING, str(tmp_path / "blobs"), str(tmp_path / "wanted")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    for name in wanted:
        assert len(await blobs.get(name)) == 10
    assert (await blobs.drop(set(names) - set(wanted), EVER))[0] <= 100
    assert await blobs.stale(EVER) == set(wanted)
