"""Every store keeps every promise of the journal."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from holdfast.adapters.stores.memory import MemoryJournal
from holdfast.adapters.stores.sqlite import open_sqlite
from holdfast.ports.journal import Journal
from holdfast.testing import journal_contract as contract
from holdfast.testing.journal_contract import CLAUSES, Clause
from holdfast.testing.scribe import START

NAMED = {
    contract.each_task_is_claimed_by_one_of_many,
    contract.a_stale_owner_writes_nothing,
    contract.the_queue_is_ordered_by_priority_and_age,
    contract.retention_deletes_what_is_over_and_old_and_may_run_twice,
}


@asynccontextmanager
async def _memory(_place: Path) -> AsyncGenerator[Journal, None]:
    yield MemoryJournal()


def _sqlite(place: Path) -> AbstractAsyncContextManager[Journal]:
    return open_sqlite(place / "journal.db", now=START)


STORES = {"memory": _memory, "sqlite": _sqlite}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    return request.param


def keep(clause: Clause, store: str, place: Path) -> None:
    async def kept() -> None:
        with anyio.fail_after(30):
            async with STORES[store](place) as journal:
                await clause(journal)

    anyio.run(kept)


@pytest.mark.parametrize(
    "clause", [c for c in CLAUSES if c not in NAMED], ids=lambda clause: clause.__name__
)
def test_a_store_keeps_its_promise(clause: Clause, store: str, tmp_path: Path):
    keep(clause, store, tmp_path)


def test_each_task_is_claimed_by_exactly_one_of_twenty_workers(store: str, tmp_path: Path):
    """Row GC-05."""
    keep(contract.each_task_is_claimed_by_one_of_many, store, tmp_path)


def test_a_worker_whose_lease_was_taken_over_cannot_complete_the_task(store: str, tmp_path: Path):
    """Row GC-08."""
    keep(contract.a_stale_owner_writes_nothing, store, tmp_path)


def test_a_low_priority_waits_longer_but_not_for_ever(store: str, tmp_path: Path):
    """Row GC-14."""
    keep(contract.the_queue_is_ordered_by_priority_and_age, store, tmp_path)


def test_retention_run_twice_deletes_once_and_keeps_the_newer(store: str, tmp_path: Path):
    """Part of row GC-25."""
    keep(contract.retention_deletes_what_is_over_and_old_and_may_run_twice, store, tmp_path)
