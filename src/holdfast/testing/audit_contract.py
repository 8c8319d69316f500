"""What every audit must do, beside its journal: one function per promise, given empty books."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import anyio
import anyio.lowlevel

from holdfast.adapters.audit.signing import FileSigner
from holdfast.core.audit.fact import Fact, decode
from holdfast.core.command import Approve, Refuse
from holdfast.core.error import Conflict, HoldfastError
from holdfast.core.ids import CallId, digest
from holdfast.core.task import bound
from holdfast.core.view import summary
from holdfast.ports.audit import Audit, AuditQuery
from holdfast.ports.journal import Cursor, Journal
from holdfast.runtime.audit import exported
from holdfast.runtime.proof import Proof, prove

from .scribe import START, Scribe

SIGNER = FileSigner(b"k" * 32)


class Books(NamedTuple):
    """A journal, and the audit that is kept with it and signed by `SIGNER`."""

    journal: Journal
    audit: Audit


Clause = Callable[[Books], Awaitable[None]]


async def told(audit: Audit) -> list[Fact]:
    """All that it says, in order."""
    rows = await audit.read(0, 1 << 20)
    assert [row.seq for row in rows] == list(range(1, audit.size + 1))
    return [decode(row.body) for row in rows if row.body is not None]


async def proof(audit: Audit) -> Proof:
    data = b"".join([piece async for piece in exported(audit, SIGNER, START)])
    return prove(data.splitlines(keepends=True), SIGNER.check)[0]


async def what_events_say_comes_with_them(books: Books) -> None:
    scribe = Scribe(books.journal)
    task = await scribe.ask(1, by="ann")
    asked = scribe.tasks[task][0]
    call = (opened := asked.calls[CallId("c")]).call
    await scribe.tell(task, Approve(call_id=call.id, by="bob", digest=bound(asked, opened)))
    submitted, started, judged, approved = await told(books.audit)
    assert (submitted.kind, submitted.by, submitted.task) == ("task.submitted", "ann", task)
    assert (started.kind, started.count) == ("task.started", 1)
    assert (judged.kind, judged.tool, judged.verdict) == ("call.judged", "write", "ask")
    assert judged.rule == "preset ask: changing and executing asks"
    assert (approved.kind, approved.by, approved.digest) == ("call.approved", "bob", call.key)
    past = await books.journal.read(task)
    for fact in (submitted, started, judged, approved):
        assert (past[fact.event - 1].link, past[fact.event - 1].at) == (fact.link, fact.at)


async def a_no_is_kept_with_who_said_it(books: Books) -> None:
    scribe = Scribe(books.journal)
    task = await scribe.ask(1)
    await scribe.tell(task, Refuse(call_id=CallId("c"), by="bob", reason="in private"))
    fact = (await told(books.audit))[-1]
    assert (fact.kind, fact.by, fact.rule) == ("call.refused", "bob", "human")


async def what_was_not_stored_is_not_told(books: Books) -> None:
    scribe = Scribe(books.journal)
    task = await scribe.ask(1)
    state, _ = scribe.tasks[task]
    before = books.audit.size
    past = await books.journal.read(task)
    try:
        await books.journal.append(
            task, Cursor(), [past[0].event], summary(state), at=START, fence=None
        )
    except Conflict:
        assert books.audit.size == before
        return
    raise AssertionError("a second beginning was stored")


async def nothing_that_was_said_is_in_it(books: Books) -> None:
    scribe = Scribe(books.journal)
    task = await scribe.ask(1, prompt="canary-in-the-prompt")
    await scribe.tell(task, Refuse(call_id=CallId("c"), by="bob", reason="canary-in-the-reason"))
    await scribe.finish(2, prompt="canary-in-the-answer")
    for row in await books.audit.read(0, 1 << 20):
        assert b"canary" not in (row.body or b"")


async def a_purged_task_leaves_its_hashes_and_who_purged_it(books: Books) -> None:
    scribe = Scribe(books.journal)
    task, other = await scribe.finish(1), await scribe.finish(2)
    count, before = books.audit.size, await books.audit.read(0, 100)
    assert await books.journal.purge([task], by="ann", reason="asked", at=START + 1) == 1
    after = await books.audit.read(0, 100)
    assert [row[:3] for row in after[:count]] == [row[:3] for row in before]
    left = [decode(row.body) for row in after if row.body is not None]
    assert {fact.task for fact in left[:-1]} == {other}
    assert (left[-1].kind, left[-1].task, left[-1].by) == ("task.purged", task, "ann")
    assert left[-1].digest == digest("asked")
    assert next(r.seq for r in await books.audit.query(AuditQuery(task=task))) == count + 1
    assert (await proof(books.audit)).ok


async def what_is_forgotten_says_so(books: Books) -> None:
    task = await Scribe(books.journal).finish(1)
    assert await books.journal.forget(START + 1) == 1
    fact = (await told(books.audit))[-1]
    assert (fact.kind, fact.task) == ("task.forgotten", task)


async def old_records_leave_their_hashes(books: Books) -> None:
    for number in range(3):
        await books.audit.append(Fact(kind="house.started", at=START + number))
    assert await books.audit.forget(START + 2, at=START + 9) == 2
    assert await books.audit.forget(START + 2, at=START + 9) == 0
    kept = await told(books.audit)
    assert [fact.kind for fact in kept] == ["house.started", "audit.forgotten"]
    assert (kept[1].count, kept[1].at) == (2, START + 9)
    found = await proof(books.audit)
    assert (found.ok, found.size, found.gone) == (True, 4, 2)


async def records_are_found_by_what_they_say(books: Books) -> None:
    name = "github"
    fact = Fact(kind="secret.used", at=START, task="t", agent="a", secret=name)
    await books.audit.append(Fact(kind="call.judged", at=START - 1, rule="r", task="u"))
    await books.audit.append(fact, Fact(kind="call.approved", at=START + 1))
    for query, found in (
        (AuditQuery(), [3, 2, 1]),
        (AuditQuery(kind="secret.used"), [2]),
        (AuditQuery(kind="call"), [3, 1]),
        (AuditQuery(kind="cal"), []),
        (AuditQuery(task="t"), [2]),
        (AuditQuery(agent="a", secret=name), [2]),
        (AuditQuery(rule="r"), [1]),
        (AuditQuery(since=START), [3, 2]),
        (AuditQuery(before=3, limit=1), [2]),
    ):
        assert [row.seq for row in await books.audit.query(query)] == found, query


async def a_checkpoint_is_signed_once_for_each_end(books: Books) -> None:
    await books.audit.append(Fact(kind="house.started", at=START))
    first = await books.audit.checkpoint(START)
    assert await books.audit.checkpoint(START + 5) == first
    await books.audit.append(Fact(kind="house.stopped", at=START))
    second = await books.audit.checkpoint(START + 6)
    assert (first.size, first.previous, second.size, second.previous) == (1, 0, 2, 1)
    assert list(await books.audit.checkpoints(0, 9)) == [first, second]
    assert list(await books.audit.checkpoints(1, 9)) == [second]


async def many_at_once_leave_no_gap(books: Books) -> None:
    scribe = Scribe(books.journal)
    async with anyio.create_task_group() as group:
        for number in range(60):
            group.start_soon(scribe.ask, number)
            group.start_soon(books.audit.append, Fact(kind="house.started", at=START))
    assert len(await told(books.audit)) == 60 * 4
    assert (await proof(books.audit)).ok


async def who_waits_for_more_is_woken(books: Books) -> None:
    seen: list[int] = []

    async def wait() -> None:
        await books.audit.more(books.audit.size)
        seen.append(books.audit.size)

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.lowlevel.checkpoint()
        await Scribe(books.journal).submit(1)
    assert seen == [1]
    await books.audit.more(0)


async def what_cannot_be_stored_is_refused_alone(books: Books) -> None:
    try:
        await books.audit.append(Fact(kind="house.started", at=START, by="\ud800"))
    except HoldfastError:
        await books.audit.append(Fact(kind="house.started", at=START))
        assert len(await told(books.audit)) == 1
        return
    raise AssertionError("what is not Unicode was stored")


CLAUSES: tuple[Clause, ...] = (
    what_events_say_comes_with_them,
    a_no_is_kept_with_who_said_it,
    what_was_not_stored_is_not_told,
    nothing_that_was_said_is_in_it,
    a_purged_task_leaves_its_hashes_and_who_purged_it,
    what_is_forgotten_says_so,
    old_records_leave_their_hashes,
    records_are_found_by_what_they_say,
    a_checkpoint_is_signed_once_for_each_end,
    many_at_once_leave_no_gap,
    who_waits_for_more_is_woken,
    what_cannot_be_stored_is_refused_alone,
)
