"""A disk that fails under the ledger: a hold counts or is refused, and what was paid is known."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import apsw
import pytest

from holdfast.adapters.stores.ledger import open_ledger
from holdfast.adapters.stores.sqlite import open_sqlite
from holdfast.core.budget import Reservation
from holdfast.core.error import Broken, Unavailable
from holdfast.core.message import Usage
from holdfast.ports.ledger import Budget, Hold, Ledger, Payer
from holdfast.testing.faulty_disk import Disk

NOW = 1_800_000_000_000
BUDGET = Budget(scope="installation", per="total", cost=1_000)
MOST, REAL = 50, 20

# A disk written in Python makes closing the database tell of writes that SQLite itself forgives.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception in thread holdfast-journal:pytest.PytestUnhandledThreadExceptionWarning",
    "ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning",
)


def hold(name: str) -> Hold:
    return Hold(id=name, payer=Payer(agent="a"), model="m", most=Reservation(cost=MOST), at=NOW)


async def use(ledger: Ledger, paid: dict[str, int]) -> None:
    """Three calls at once, three times: `paid` is what the provider knows of them."""
    numbers = itertools.count()

    async def call(way: str) -> None:
        name = f"h{next(numbers)}"
        try:
            await ledger.hold(hold(name))
        except Unavailable:
            return
        if way == "settle":
            paid[name] = REAL
            await ledger.settle(name, Usage(cost=REAL))
        elif way == "lose":
            paid[name] = MOST
            await ledger.lose(name)
        else:
            await ledger.release(name)

    for _ in range(3):
        async with anyio.create_task_group() as group:
            for way in ("settle", "lose", "release"):
                group.start_soon(call, way)


async def once(folder: Path, disk: Disk) -> None:
    path, paid = folder / "holdfast.db", dict[str, int]()
    with disk.plugged_in() as vfs, suppress(Unavailable):
        async with opened(path, vfs) as ledger:
            await use(ledger, paid)
            (known,) = await ledger.standings()
            assert known.spent.cost == sum(paid.values())
            assert known.held.cost == 0
    async with opened(path) as ledger:
        (found,) = await ledger.standings()
        # Never less than what was paid; what is above it is in doubt, and can be settled.
        assert found.spent.cost >= sum(paid.values())
        for doubt in await ledger.doubtful():
            await ledger.settle(doubt.id, Usage(cost=paid.get(doubt.id, 0)))
        (found,) = await ledger.standings()
        assert found.spent.cost == sum(paid.values())


@asynccontextmanager
async def opened(path: Path, vfs: str | None = None) -> AsyncGenerator[Ledger]:
    async with (
        open_sqlite(path, now=NOW, vfs=vfs) as journal,
        open_ledger(journal.pages(), lambda: NOW) as ledger,
    ):
        ledger.budgets([BUDGET])
        yield ledger


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("error", [apsw.IOError, apsw.FullError])
def test_whatever_write_fails_no_paid_call_is_forgotten(
    error: type[apsw.Error], lasting: bool, tmp_path: Path
):
    template = tmp_path / "template"
    template.mkdir()

    async def make() -> None:
        async with open_sqlite(template / "holdfast.db", now=NOW):
            pass

    anyio.run(make)
    for at in range(1, 400, 2):
        folder = tmp_path / str(at)
        shutil.copytree(template, folder)
        disk = Disk(at, error=error, lasting=lasting)

        async def tried(folder: Path = folder, disk: Disk = disk) -> None:
            with anyio.fail_after(20):
                await once(folder, disk)

        anyio.run(tried)
        if not disk.hit:
            assert at > 10
            return
    raise AssertionError("it never came to an end")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "wrong", [Usage(cost=1, input=1 << 70), Usage(cost=1 << 70)], ids=["tokens", "cost"]
)
async def test_what_the_store_cannot_keep_is_refused_alone_and_the_store_goes_on(
    tmp_path: Path, wrong: Usage
):
    async with open_sqlite(tmp_path / "holdfast.db", now=NOW) as journal:
        async with open_ledger(journal.pages(), lambda: NOW) as ledger:
            await ledger.hold(hold("bad"))
            with pytest.raises(Broken, match="cannot keep that"):
                await ledger.settle("bad", wrong)
            await ledger.hold(hold("good"))
            await ledger.settle("good", Usage(cost=REAL))
        async with open_ledger(journal.pages(), lambda: NOW) as ledger:
            assert [one.id for one in await ledger.doubtful()] == ["bad"]
