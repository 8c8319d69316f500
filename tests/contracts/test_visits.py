"""Whoever writes down visits keeps every promise."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from holdfast.adapters.stores.sqlite import open_sqlite
from holdfast.ports.egress import VisitQuery
from holdfast.testing.fake_visits import FakeVisits
from holdfast.testing.scribe import START, Scribe
from holdfast.testing.visits_contract import CLAUSES, Clause, visit

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
async def test_visits_in_memory_keep_their_promise(clause: Clause):
    with anyio.fail_after(20):
        await clause(FakeVisits())


@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
async def test_visits_in_the_journals_file_keep_their_promise(clause: Clause, tmp_path: Path):
    with anyio.fail_after(20):
        async with open_sqlite(tmp_path / "holdfast.db", now=1) as journal:
            await clause(journal.visits())


async def test_a_beginning_survives_and_an_end_is_written_on_closing(tmp_path: Path):
    path = tmp_path / "holdfast.db"
    with anyio.fail_after(20):
        async with open_sqlite(path, now=1) as journal:
            await journal.visits().write(visit(1))
            await journal.visits().write(visit(2))
            journal.visits().ended(visit(2, status=200, ended_at=9))
        async with open_sqlite(path, now=1) as journal:
            second, first = await journal.visits().query(VisitQuery())
    assert (first.ended_at, second.ended_at, second.status) == (None, 9, 200)


async def test_many_in_flight_share_a_commit(tmp_path: Path):
    with anyio.fail_after(20):
        async with open_sqlite(tmp_path / "holdfast.db", now=1) as journal:
            visits = journal.visits()
            await visits.write(visit(0))
            before = journal.statements
            async with anyio.create_task_group() as group:
                for number in range(100):
                    group.start_soon(visits.write, visit(number))
            assert journal.statements - before < 30


async def test_what_a_purged_task_reached_loses_its_paths(tmp_path: Path):
    with anyio.fail_after(20):
        async with open_sqlite(tmp_path / "holdfast.db", now=START) as journal:
            task = await Scribe(journal).finish(1)
            await journal.visits().write(visit(1, task=task, path="/said/in/private"))
            await journal.visits().write(visit(2, task="task_2", path="/else"))
            assert await journal.purge([task], by="me", reason="asked", at=START) == 1
            second, first = await journal.visits().query(VisitQuery())
            assert (first.path, first.host, second.path) == ("", "api.example.com", "/else")
