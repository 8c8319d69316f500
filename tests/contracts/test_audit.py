"""Whoever keeps an audit keeps every promise; and what only the file has to keep."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from holdfast.adapters.stores import upkeep
from holdfast.adapters.stores.connection import connect
from holdfast.adapters.stores.ledger_book import Spot, Table
from holdfast.adapters.stores.memory import MemoryJournal
from holdfast.adapters.stores.sqlite import open_sqlite
from holdfast.adapters.stores.trail import Trail
from holdfast.core.audit.fact import Fact
from holdfast.core.error import Unavailable
from holdfast.core.ids import digest
from holdfast.ports.audit import Audit
from holdfast.ports.ledger import Used
from holdfast.testing.audit_contract import CLAUSES, SIGNER, Books, Clause, proof, told
from holdfast.testing.scribe import START, Scribe
from holdfast.testing.visits_contract import visit
from tests.adapters.failing_disk import FailingDisk

# What the disk does while SQLite closes a file, apsw can tell to nobody and prints.
quiet = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
pytestmark = [pytest.mark.anyio, quiet]


@asynccontextmanager
async def in_memory(_place: Path) -> AsyncGenerator[Books]:
    journal = MemoryJournal()
    journal.audit().signer = SIGNER
    yield Books(journal, journal.audit())


@asynccontextmanager
async def in_a_file(place: Path, every: int = 1_000) -> AsyncGenerator[Books]:
    async with open_sqlite(place / "j.db", now=START, trail=Trail(SIGNER, every)) as journal:
        yield Books(journal, journal.audit())


KINDS = {"memory": in_memory, "sqlite": in_a_file}


@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
@pytest.mark.parametrize("kind", KINDS)
async def test_an_audit_keeps_its_promise(clause: Clause, kind: str, tmp_path: Path):
    """Part of row GC-89g; part of row OC-94."""
    with anyio.fail_after(20):
        async with KINDS[kind](tmp_path) as books:
            await clause(books)


async def test_it_goes_on_where_it_was_over_a_restart_with_and_without_checkpoints(tmp_path: Path):
    with anyio.fail_after(20):
        for life in range(5):
            async with in_a_file(tmp_path) as books:
                await Scribe(books.journal).ask(life)
                if life % 2:
                    await books.audit.checkpoint(START)
        async with in_a_file(tmp_path) as books:
            assert books.audit.size == 15
            assert (await proof(books.audit)).ok


async def test_a_checkpoint_is_signed_after_so_many_records_without_being_asked(tmp_path: Path):
    with anyio.fail_after(20):
        async with in_a_file(tmp_path, every=4) as books:
            for number in range(5):
                await Scribe(books.journal).ask(number)
            assert [one.size for one in await books.audit.checkpoints(0, 9)] == [4, 9, 13]
            assert (await proof(books.audit)).checkpoints == 4


async def test_after_any_failure_of_the_disk_the_numbers_go_on_without_a_gap(tmp_path: Path):
    """Whatever operation fails: what was refused is not there, and all else is."""
    path, failed = tmp_path / "j.db", 0
    with anyio.fail_after(40), FailingDisk() as disk:
        async with open_sqlite(path, now=START):
            pass
        for at in range(1, 40):
            trail = Trail(SIGNER, 2)
            async with open_sqlite(path, now=START, trail=trail, vfs=disk.name) as journal:
                audit, before = journal.audit(), journal.audit().size
                disk.fail(at, once=True)
                stored = [await _stored(audit, number) for number in range(3)]
                failed += stored.count(False)
                disk.heal()
                stored.append(await _stored(audit, 3))
                assert audit.size == before + sum(stored)
                assert (await proof(audit)).ok
                assert not (await journal.verify()).problems
    assert failed > 2


async def _stored(audit: Audit, number: int) -> bool:
    try:
        await audit.append(Fact(kind="house.started", at=START + number))
    except Unavailable:
        return False
    return True


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("DELETE FROM audit WHERE seq = 2", "record 2 is gone"),
        ("UPDATE audit SET body = x'7b7d' WHERE seq = 2", "record 2 was changed"),
        ("UPDATE audit SET hash = zeroblob(32) WHERE seq = 3", "record 3 was changed"),
        ("DELETE FROM audit WHERE seq > 4", "6 records are signed, and 4 are there"),
        ("UPDATE checkpoint SET root = zeroblob(32)", "what the checkpoint of 6"),
        ("DELETE FROM audit WHERE seq = 7", "event 1 of"),
    ],
)
async def test_what_somebody_did_to_the_database_is_found(sql: str, said: str, tmp_path: Path):
    with anyio.fail_after(20):
        async with in_a_file(tmp_path) as books:
            scribe = Scribe(books.journal)
            await scribe.ask(1)
            await scribe.ask(2)
            await books.audit.checkpoint(START)
            await scribe.submit(3, at=START + 1)
        editor = connect(tmp_path / "j.db")
        editor.run(sql)
        editor.close()
        async with in_a_file(tmp_path) as books:
            assert said in (await books.journal.verify()).problems[0]


async def test_a_verdict_shares_the_commit_of_its_event(tmp_path: Path):
    """One statement more for each commit, however many records: nothing to lose between two."""
    with anyio.fail_after(20):
        async with open_sqlite(tmp_path / "j.db", now=START) as journal:
            scribe = Scribe(journal)
            await scribe.submit(0)
            before = journal.statements
            await scribe.submit(1)
            assert journal.statements - before <= 7


async def test_a_backup_from_before_the_audit_is_restored_and_begins_one(tmp_path: Path):
    with anyio.fail_after(20):
        async with in_a_file(tmp_path) as books:
            await Scribe(books.journal).finish(1)
        older = connect(tmp_path / "j.db")
        older.run("DROP TABLE audit; DROP TABLE checkpoint; PRAGMA user_version = 4")
        older.run("DELETE FROM migration WHERE version = 5")
        older.close()
        assert upkeep.restore(tmp_path / "j.db", tmp_path / "there.db") is None
        async with open_sqlite(tmp_path / "there.db", now=START + 9) as journal:
            assert journal.audit().size == 0
            await journal.audit().append(Fact(kind="house.started", at=START + 9))
            await Scribe(journal).finish(2, at=START + 10)
            assert not (await journal.verify()).problems


async def test_a_raised_budget_is_one_record_however_often_it_is_said(tmp_path: Path):
    with anyio.fail_after(20):
        async with open_sqlite(tmp_path / "j.db", now=START) as journal:
            spot = Spot(Table("installation", "month", "2026-11"), "*")
            for _ in range(2):
                more = Used(cost=5_000_000)
                await journal.pages().top_up(spot, more, by="ann", once="once", at=START)
            (fact,) = await told(journal.audit())
            assert (fact.kind, fact.by) == ("budget.raised", "ann")
            assert (fact.subject, '"cost":5000000' in fact.after) == (spot.key, True)


async def test_a_request_to_the_outside_is_a_record_with_the_hash_of_where_to(tmp_path: Path):
    with anyio.fail_after(20):
        async with open_sqlite(tmp_path / "j.db", now=START) as journal:
            await journal.visits().write(visit(1, secrets=("api/key",)))
            await journal.visits().write(visit(2, code="egress_host", host="a.example"))
            journal.visits().ended(visit(1, status=200, ended_at=START))
            allowed, denied = await told(journal.audit())
            assert (allowed.kind, allowed.subject) == ("egress.allowed", "visit_0001")
            assert allowed.secret == "api/key"
            assert (denied.kind, denied.code) == ("egress.denied", "egress_host")
            assert denied.digest == digest(["GET", "a.example", 443])
            assert all(
                b"example" not in (row.body or b"") for row in await journal.audit().read(0, 9)
            )
