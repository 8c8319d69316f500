"""Whatever fails on its way to the disk, once or for a while: nothing is lost or done twice."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import apsw
import pytest
from msgspec import Struct

from holdfast.adapters.stores.sqlite import open_sqlite
from holdfast.core.error import Unavailable
from holdfast.core.event import Event
from holdfast.core.ids import Instant, TaskId
from holdfast.core.view import Summary
from holdfast.ports.journal import Cursor, Journal
from holdfast.testing.crash import Crash, Proof, Story, survive
from holdfast.testing.faulty_disk import Disk

SMALL = Story(names=("one", "two"), script=(("pay", "put"),))
EVERYTHING = Story(
    names=("work",),
    script=(("read", "pay", "put"), ("book", "ask"), ("delegate", "fail")),
)
AT_ONCE = 24


class Mode(Struct, frozen=True, kw_only=True):
    """What is wrong with the disk, and what people do: after `patience` failed appends the process
    is killed and the disk mended; with `mends` it is mended under the running process."""

    error: type[apsw.Error] = apsw.IOError
    lasting: bool = False
    torn: bool = False
    patience: int = 1 << 30
    mends: bool = False

    def disk(self, at: int) -> Disk:
        return Disk(at, error=self.error, lasting=self.lasting, torn=self.torn)


MODES = {
    "fails once": Mode(),
    "is full once": Mode(error=apsw.FullError),
    "is full until there is room": Mode(error=apsw.FullError, lasting=True, patience=2, mends=True),
    "is gone until a restart": Mode(lasting=True, patience=2),
    "dies in the middle of a write": Mode(lasting=True, torn=True, patience=1),
}


class Witness:
    """A journal as the engine sees it on a failing disk. `counts`: it is the appends that fail."""

    def __init__(self, inner: Journal, disk: Disk, mode: Mode, *, counts: bool) -> None:
        self._inner, self._disk, self._mode, self._counts = inner, disk, mode, counts
        self._patience = mode.patience

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def append(
        self,
        task: TaskId,
        after: Cursor,
        events: Sequence[Event],
        summary: Summary,
        *,
        at: Instant,
        fence: int | None = None,
    ) -> Cursor:
        try:
            if self._counts:
                self._disk.touch()
            return await self._inner.append(task, after, events, summary, at=at, fence=fence)
        except (Unavailable, apsw.Error) as failure:
            self._patience -= 1
            if self._patience <= 0 and not self._mode.mends:
                raise Crash from failure
            if self._patience <= 0:
                self._disk.mend()
            raise Unavailable(str(failure)) from failure


class Loop:
    """One story told again and again, each time with another operation failing."""

    def __init__(self, story: Story, mode: Mode, template: Path, *, appends: bool = False) -> None:
        self._story, self._mode, self._template = story, mode, template
        self._appends = appends
        self._lanes = anyio.Semaphore(AT_ONCE)
        self.over = False
        self.failed = 0

    async def run(self, stride: int) -> None:
        """Operation 1, 1 + stride, … until a run meets no failure; many runs side by side."""
        at = 1
        async with anyio.create_task_group() as group:
            while not self.over:
                await self._lanes.acquire()
                group.start_soon(self._one, at)
                at += stride

    async def _one(self, number: int) -> None:
        try:
            disk = self._mode.disk(number)
            proof = await self._survived(disk)
            assert proof.holds, (number, proof)
            self.failed += disk.hit
            self.over = self.over or not disk.hit
        finally:
            self._lanes.release()

    async def _survived(self, disk: Disk) -> Proof:
        with tempfile.TemporaryDirectory() as folder, disk.plugged_in() as vfs:
            path = Path(folder) / "holdfast.db"
            if self._template.exists():
                shutil.copyfile(self._template, path)
            restarts = itertools.count()

            @asynccontextmanager
            async def opened() -> AsyncGenerator[Journal]:
                if next(restarts):
                    disk.mend()
                try:
                    async with open_sqlite(
                        path, now=1, vfs=None if self._appends else vfs
                    ) as journal:
                        seen: Any = Witness(journal, disk, self._mode, counts=self._appends)
                        yield seen
                except Unavailable as failure:
                    raise Crash from failure

            return await survive(opened, self._story)


def _every_failure(loop: Loop, stride: int) -> int:
    anyio.run(loop.run, stride)
    return loop.failed


# A disk written in Python makes closing the database tell of writes that SQLite itself forgives.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception in thread holdfast-journal:pytest.PytestUnhandledThreadExceptionWarning",
    "ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning",
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty, complete database: its making is not what most of these tests are about."""
    path = tmp_path_factory.mktemp("template") / "holdfast.db"

    async def make() -> None:
        async with open_sqlite(path, now=1):
            pass

    anyio.run(make)
    return path


@pytest.mark.parametrize(
    "mode", ["fails once", "is full until there is room", "is gone until a restart"]
)
def test_an_append_that_fails_loses_and_repeats_nothing(mode: str, template: Path) -> None:
    failed = _every_failure(Loop(EVERYTHING, MODES[mode], template, appends=True), stride=1)
    assert failed >= 20


@pytest.mark.parametrize("mode", MODES)
def test_a_disk_that_fails_at_some_operation_loses_and_repeats_nothing(
    mode: str, template: Path
) -> None:
    assert _every_failure(Loop(SMALL, MODES[mode], template), stride=7) >= 20


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", MODES)
def test_a_disk_that_fails_at_any_operation_loses_and_repeats_nothing(
    mode: str, template: Path
) -> None:
    assert _every_failure(Loop(SMALL, MODES[mode], template), stride=1) >= 150


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", MODES)
def test_so_does_one_that_fails_while_the_database_is_made(mode: str, tmp_path: Path) -> None:
    assert _every_failure(Loop(EVERYTHING, MODES[mode], tmp_path / "none"), stride=3) >= 100
