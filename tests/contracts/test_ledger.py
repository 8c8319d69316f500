"""Every store keeps every promise of the ledger."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from holdfast.adapters.stores.ledger import StoredLedger, open_ledger
from holdfast.adapters.stores.ledger_memory import MemoryPages
from holdfast.adapters.stores.sqlite import open_sqlite
from holdfast.ports.ledger import Ledger
from holdfast.testing.fake_clock import FakeClock
from holdfast.testing.ledger_contract import CLAUSES, Clause, Place


class Memory:
    """A ledger in memory, in a process that may end."""

    def __init__(self, _folder: Path) -> None:
        self.clock, self._pages = FakeClock(), MemoryPages()

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Ledger]:
        async with open_ledger(self._pages, self.clock.now) as ledger:
            yield ledger

    @asynccontextmanager
    async def killed(self) -> AsyncGenerator[Ledger]:
        await self._pages.reopen()
        yield StoredLedger(self._pages, self.clock.now)


class Sqlite:
    """A ledger in the journal's file. `killed`: nothing more is written once it is left."""

    def __init__(self, folder: Path) -> None:
        self.clock, self._path = FakeClock(), folder / "holdfast.db"

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Ledger]:
        async with (
            open_sqlite(self._path, now=self.clock.now()) as journal,
            open_ledger(journal.pages(), self.clock.now) as ledger,
        ):
            yield ledger

    @asynccontextmanager
    async def killed(self) -> AsyncGenerator[Ledger]:
        async with open_sqlite(self._path, now=self.clock.now()) as journal:
            await journal.pages().reopen()
            yield StoredLedger(journal.pages(), self.clock.now)


PLACES = {"memory": Memory, "sqlite": Sqlite}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
def test_a_ledger_keeps_its_promise(clause: Clause, place: str, tmp_path: Path):
    async def kept() -> None:
        with anyio.fail_after(30):
            where: Place = PLACES[place](tmp_path)
            await clause(where)

    anyio.run(kept)
