"""Whoever keeps leases keeps every promise."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from holdfast.adapters.stores.memory import MemoryJournal
from holdfast.adapters.stores.sqlite import open_sqlite
from holdfast.core.error import Conflict
from holdfast.testing.leases_contract import CLAUSES, Clause, lease, used

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
async def test_leases_in_memory_keep_their_promise(clause: Clause):
    with anyio.fail_after(20):
        await clause(MemoryJournal())


@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
async def test_leases_in_the_journals_file_keep_their_promise(clause: Clause, tmp_path: Path):
    with anyio.fail_after(20):
        async with open_sqlite(tmp_path / "holdfast.db", now=1) as journal:
            await clause(journal)


async def test_many_at_once_use_a_lease_no_more_often_than_it_was_given(tmp_path: Path):
    """They share one commit, and each sees what those before it took."""
    refused: list[str] = []
    async with open_sqlite(tmp_path / "holdfast.db", now=1) as journal:
        await journal.leases().write(lease(uses=5))

        async def one(name: str) -> None:
            try:
                await used(journal, name, "lease_1")
            except Conflict:
                refused.append(name)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                for number in range(20):
                    group.start_soon(one, f"task_{number}")
        (left,) = await journal.leases().all()
    assert (left.used, len(refused)) == (5, 15)
    async with open_sqlite(tmp_path / "holdfast.db", now=1) as journal:
        (left,) = await journal.leases().all()
        assert left.used == 5
        with pytest.raises(Conflict):
            await used(journal, "task_more", "lease_1")
