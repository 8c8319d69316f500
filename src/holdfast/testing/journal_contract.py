"""What every journal must do: one function per promise, each given an empty journal."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio
from msgspec.structs import replace

from holdfast.core import view
from holdfast.core.command import Cancel, Claim, HearReply, Recover, Release, Say, Start
from holdfast.core.error import (
    Conflict,
    HoldfastError,
    Invalid,
    NotAllowed,
    NotFound,
    Refused,
    Unavailable,
)
from holdfast.core.event import Nudged, Submitted, encode
from holdfast.core.ids import GENESIS, TaskId, link
from holdfast.core.message import Reply
from holdfast.core.task import Parent, Request, Status, Task
from holdfast.ports.journal import Cursor, Journal, Query

from .scribe import MINUTE, START, Scribe, name

LEASE = 30_000
_NUDGE = Nudged(text="go on")

Clause = Callable[[Journal], Awaitable[None]]


async def events_come_back_as_they_were_stored(journal: Journal) -> None:
    scribe = Scribe(journal)
    task = await scribe.submit(1)
    await scribe.tell(task, Claim(owner="a"), Start(), at=START + 5)
    _, end = scribe.tasks[task]
    rows = await journal.read(task)
    assert [(r.seq, type(r.event).__name__, r.at) for r in rows] == [
        (1, "Submitted", START),
        (2, "Claimed", START + 5),
        (3, "Started", START + 5),
    ]
    chain = GENESIS
    for row in rows:
        chain = link(chain, type(row.event).__name__, row.at, encode(row.event))
        assert row.link == chain
    assert end == Cursor(version=3, head=chain)


async def a_long_stream_can_be_read_in_parts(journal: Journal) -> None:
    scribe = Scribe(journal)
    task = await scribe.begin(1)
    for number in range(100):
        await scribe.tell(task, Say(text=f"word {number}", by="me"))
    every = await journal.read(task)
    assert [r.seq for r in every] == list(range(1, 104))
    for after, limit in [(0, 1), (0, 32), (0, 33), (0, 50), (40, 0), (40, 10), (101, 9), (103, 5)]:
        end = after + limit if limit else None
        assert list(await journal.read(task, after, limit)) == list(every[after:end])


async def a_task_that_is_not_there_is_not_found(journal: Journal) -> None:
    assert await journal.summary(name(9)) is None
    await _fails(NotFound, journal.read, name(9))


async def what_an_append_returned_is_seen_by_every_read(journal: Journal) -> None:
    scribe = Scribe(journal)
    for number in range(20):
        task = await scribe.submit(number, at=START + number)
        row = await journal.summary(task)
        assert row is not None
        assert row.status is Status.QUEUED
        assert view.encode(row) == view.encode(view.summary(scribe.tasks[task][0]))


async def an_append_after_another_end_is_a_conflict_and_stores_nothing(journal: Journal) -> None:
    scribe = Scribe(journal)
    task = await scribe.submit(1)
    row = view.summary(scribe.tasks[task][0])
    before = await journal.read(task)
    for end in (Cursor(), Cursor(version=2, head=before[0].link), Cursor(version=1, head="0" * 64)):
        await _fails(Conflict, journal.append, task, end, (_NUDGE,), row, at=START)
    fresh = name(2), Cursor(version=3, head="a" * 64)
    await _fails(Conflict, journal.append, *fresh, (_NUDGE,), replace(row, id=name(2)), at=START)
    assert await journal.read(task) == before
    assert await journal.summary(name(2)) is None


async def of_many_appends_after_the_same_end_one_is_stored(journal: Journal) -> None:
    scribe = Scribe(journal)
    task = await scribe.submit(1)
    row, end = view.summary(scribe.tasks[task][0]), scribe.tasks[task][1]
    stored: list[Cursor] = []

    async def attempt(number: int) -> None:
        try:
            nudge = Nudged(text=str(number))
            stored.append(await journal.append(task, end, (nudge,), row, at=START))
        except Conflict:
            pass

    await _at_once(10, attempt)
    assert len(stored) == 1
    assert len(await journal.read(task)) == 2


async def many_tasks_at_once_are_all_stored(journal: Journal) -> None:
    scribe = Scribe(journal)

    async def work(number: int) -> None:
        task = await scribe.begin(number)
        for _ in range(10):
            await scribe.tell(task, Say(text="more", by="me"))
        await scribe.tell(task, HearReply(reply=Reply(text="done"), saw=11))

    await _at_once(64, work)
    assert await journal.count() == {Status.SUCCEEDED: 64}
    health = await journal.verify()
    assert (health.streams, health.problems) == (64, ())
    assert health.events == sum(cursor.version for _, cursor in scribe.tasks.values())


async def each_task_is_claimed_by_one_of_many(journal: Journal) -> None:
    owner = Scribe(journal)
    for number in range(200):
        await owner.submit(number)
    won: list[TaskId] = []

    async def claim(number: int) -> None:
        scribe = Scribe(journal)
        while rows := await journal.ready(20):
            for row in rows[number % len(rows) :]:
                try:
                    await scribe.load(row.id)
                    await scribe.tell(row.id, Claim(owner=f"worker {number}"))
                    won.append(row.id)
                except Refused:
                    continue

    await _at_once(20, claim)
    assert len(won) == 200
    assert set(won) == {name(number) for number in range(200)}
    assert await journal.count() == {Status.CLAIMED: 200}


async def a_stale_owner_writes_nothing(journal: Journal) -> None:
    first = Scribe(journal)
    task = await first.begin(1, owner="a")
    late = START + LEASE + 1
    assert await journal.lost(late, 10) == (task,)
    second = Scribe(journal)
    await second.load(task)
    await second.tell(task, Recover(reason="lease ended"), Claim(owner="b"), Start(), at=late)
    answer = HearReply(reply=Reply(text="too late"), saw=1)
    await _fails(Conflict, first.tell, task, answer, at=late, fence=1)
    third = Scribe(journal)
    await third.load(task)
    await _fails(Conflict, third.tell, task, answer, at=late, fence=1)
    await second.tell(task, HearReply(reply=Reply(text="in time"), saw=1), at=late, fence=2)
    kinds = [type(r.event).__name__ for r in await journal.read(task)]
    assert kinds.count("Finished") == 1
    row = await journal.summary(task)
    assert row is not None
    assert row.answer == "in time"


async def a_key_counts_once_for_each_person(journal: Journal) -> None:
    scribe = Scribe(journal)
    await scribe.submit(1, by="me", key="k")
    assert (await _fails(Conflict, scribe.submit, 2, by="me", key="k")).code == "duplicate_key"
    await scribe.submit(3, by="you", key="k")
    await scribe.submit(4, by="me", key="")
    await scribe.submit(5, by="me", key="")
    won: list[int] = []

    async def submit(number: int) -> None:
        try:
            await scribe.submit(number + 100, by="me", key="same")
            won.append(number)
        except Conflict as conflict:
            assert conflict.code == "duplicate_key"

    await _at_once(10, submit)
    assert len(won) == 1
    assert [r.id for r in await journal.query(Query(by="me", key="k"))] == [name(1)]


async def a_session_of_ones_own_is_of_who_began_it_whoever_speaks_there_later(
    journal: Journal,
) -> None:
    scribe = Scribe(journal)
    alone: dict[str, Any] = {"session": "talk", "own_session": True}
    await scribe.submit(1, by="me", **alone)
    refused = await _fails(NotAllowed, scribe.submit, 2, by="you", **alone)
    assert refused.code == "not_your_session"
    assert await journal.summary(name(2)) is None
    await scribe.submit(3, by="me", **alone)
    await scribe.submit(0, by="you", session="talk")  # its number is smaller; it came later
    await scribe.submit(5, by="me", **alone)
    await _fails(NotAllowed, scribe.submit, 7, by="you", **alone)
    await scribe.submit(6, by="you", session="", own_session=True)
    won: list[str] = []

    async def begin(number: int) -> None:
        by = f"person {number % 3}"
        try:
            await scribe.submit(number + 100, by=by, session="new", own_session=True)
            won.append(by)
        except NotAllowed as refused:
            assert refused.code == "not_your_session"

    await _at_once(12, begin)
    assert won == won[:1] * 4


async def what_cannot_be_stored_is_refused_at_once(journal: Journal) -> None:
    scribe = Scribe(journal)
    task = await scribe.submit(1)
    row, end = view.summary(scribe.tasks[task][0]), scribe.tasks[task][1]
    huge = Nudged(text="x" * (64 << 20))
    for events, bad in [
        ((), row),
        ((huge,), row),
        ((_NUDGE,), replace(row, rank=1 << 70)),
        ((_NUDGE,), replace(row, owner="a\0b")),
        ((Nudged(text="\ud800"),), row),
    ]:
        await _fails(Invalid, journal.append, task, end, events, bad, at=START)
    await journal.append(task, end, (_NUDGE,), row, at=START)


async def a_cancelled_append_is_stored_or_not_and_harms_nobody(journal: Journal) -> None:
    scribe = Scribe(journal)
    task = await scribe.submit(1)
    row, end = view.summary(scribe.tasks[task][0]), scribe.tasks[task][1]
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: journal.append(task, end, (_NUDGE,), row, at=START))
        await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    await scribe.submit(2)
    past = await journal.read(task)
    assert len(past) in {1, 2}
    end = Cursor(version=len(past), head=past[-1].link)
    await journal.append(task, end, (_NUDGE,), row, at=START)


async def the_queue_is_ordered_by_priority_and_age(journal: Journal) -> None:
    scribe = Scribe(journal)
    low = await scribe.submit(1, priority=0, at=START)
    first = [await scribe.submit(10 + n, priority=5, at=START + n * MINUTE) for n in range(3)]
    later = [await scribe.submit(20 + n, priority=5, at=START + n * MINUTE) for n in (3, 4)]
    urgent = await scribe.submit(30, priority=10, at=START + 60 * MINUTE)
    top = await scribe.submit(31, priority=11, at=START + 60 * MINUTE)
    ready = [row.id for row in await journal.ready(100)]
    # Five steps of priority are worth two and a half minutes of waiting.
    assert ready == [top, urgent, *first, low, *later]
    assert [row.id for row in await journal.ready(2)] == [top, urgent]


async def the_queue_leaves_out_agents_that_are_full(journal: Journal) -> None:
    scribe = Scribe(journal)
    full = await scribe.submit(1, agent="full")
    free = await scribe.submit(2, agent="free")
    assert [row.id for row in await journal.ready(9)] == [full, free]
    assert [row.id for row in await journal.ready(9, skip_agents=["full"])] == [free]


async def a_session_works_on_one_message_at_a_time(journal: Journal) -> None:
    scribe = Scribe(journal)
    ids = [await scribe.submit(n, session="chat", priority=n) for n in (1, 2, 3)]
    other = await scribe.submit(4, session="other")
    for task in ids:
        assert {row.id for row in await journal.ready(9)} == {task, other}
        await scribe.tell(task, Claim(owner="a"), Start())
        assert [row.id for row in await journal.ready(9)] == [other]
        await scribe.tell(task, HearReply(reply=Reply(text="done"), saw=1))
    assert [row.id for row in await journal.ready(9)] == [other]


async def a_waiting_message_holds_back_its_session(journal: Journal) -> None:
    scribe = Scribe(journal)
    asked = await scribe.ask(1, session="chat")
    await scribe.tell(asked, Release())
    behind = await scribe.submit(2, session="chat")
    assert await journal.ready(9) == ()
    await scribe.tell(asked, Cancel(by="me"))
    assert [row.id for row in await journal.ready(9)] == [behind]


async def what_time_will_move_is_due_in_order(journal: Journal) -> None:
    scribe = Scribe(journal)
    assert await journal.next_due() is None
    late = await scribe.pause(1, at=START + MINUTE)
    soon = await scribe.pause(2, at=START)
    await scribe.submit(3)
    times = [view.wake_at(scribe.tasks[task][0]) or 0 for task in (soon, late)]
    assert await journal.next_due() == times[0]
    assert await journal.due(times[0] - 1, 9) == ()
    assert await journal.due(times[0], 9) == (soon,)
    assert await journal.due(times[1], 9) == (soon, late)
    assert await journal.due(times[1], 1) == (soon,)
    await scribe.tell(soon, Cancel(by="me"))
    assert await journal.next_due() == times[1]


async def a_lease_ends_unless_it_is_renewed(journal: Journal) -> None:
    scribe = Scribe(journal)
    one = await scribe.begin(1, owner="a", at=START)
    two = await scribe.begin(2, owner="b", at=START + 1)
    await scribe.finish(3)
    await scribe.submit(4)
    assert await journal.lost(START + LEASE, 9) == ()
    assert await journal.lost(START + LEASE + 1, 9) == (one,)
    assert await journal.lost(START, 9, owner="b") == (two,)
    await journal.renew("a", START + 5 * MINUTE)
    assert await journal.lost(START + MINUTE, 9) == (two,)
    await scribe.tell(two, Say(text="still here", by="me"), at=START + MINUTE)
    assert await journal.lost(START + MINUTE, 9) == ()
    await journal.release()
    assert await journal.lost(START, 9) == (one, two)
    assert await journal.lost(START, 1) == (one,)


async def summaries_are_listed_newest_first_by_any_condition(journal: Journal) -> None:
    scribe = Scribe(journal)
    mine = await scribe.submit(1, by="me", session="chat", agent="coder", key="k")
    done = await scribe.finish(2, by="me")
    parent = Parent(task=mine, call="c")  # pyright: ignore[reportArgumentType]
    child = await scribe.submit(3, by="you", parent=parent)
    asks = await scribe.ask(4, by="you", session="chat")
    for query, expected in [
        (Query(), [asks, child, done, mine]),
        (Query(status=(Status.QUEUED,)), [child, mine]),
        (Query(status=(Status.QUEUED, Status.SUCCEEDED)), [child, done, mine]),
        (Query(session=view.SessionId("chat")), [asks, mine]),
        (Query(session=view.SessionId("")), [child, done]),
        (Query(parent=mine), [child]),
        (Query(agent="coder"), [mine]),
        (Query(by="you"), [asks, child]),
        (Query(by="me", key="k"), [mine]),
        (Query(key="k"), [mine]),
        (Query(asked=True), [asks]),
        (Query(asked=True, by="me"), []),
        (Query(limit=2), [asks, child]),
        (Query(limit=2, before=child), [done, mine]),
    ]:
        assert [row.id for row in await journal.query(query)] == expected, query
    assert await journal.count() == {Status.QUEUED: 2, Status.SUCCEEDED: 1, Status.RUNNING: 1}


async def a_task_is_found_by_either_end_of_its_id(journal: Journal) -> None:
    scribe = Scribe(journal)
    for number in range(0x10, 0x30):
        await scribe.submit(number)
    assert list(await journal.find(name(0x1F))) == [name(0x1F)]
    assert list(await journal.find("01f")) == [name(0x1F)]
    assert list(await journal.find("task_0000")) == [name(n) for n in range(0x10, 0x1A)]
    assert list(await journal.find("_")) == list(await journal.find("%")) == []
    assert list(await journal.find("")) == list(await journal.find("nothing")) == []


async def purging_leaves_that_a_task_was_there_and_nothing_it_said(journal: Journal) -> None:
    scribe = Scribe(journal)
    secret = await scribe.finish(1, prompt="the secret", by="me")
    kept = await scribe.finish(2)
    running = await scribe.begin(3)
    why = {"by": "root", "reason": "asked to"}
    refused = await _fails(Refused, journal.purge, [secret, running], **why, at=START)
    assert refused.code == "task_not_over"
    assert await journal.purge([secret, secret, name(99)], **why, at=START) == 1
    assert await journal.purge([secret], **why, at=START) == 0
    assert (await _fails(Refused, journal.read, secret)).code == "purged"
    row = await journal.summary(secret)
    assert row is not None
    assert b"secret" not in view.encode(row)
    assert (row.status, row.by, row.submitted_at) == (Status.SUCCEEDED, "me", START)
    end = scribe.tasks[secret][1]
    refused = await _fails(Refused, journal.append, secret, end, (_NUDGE,), row, at=START)
    assert refused.code == "purged"
    assert len(await journal.read(kept)) == len(await journal.read(running)) + 2
    assert (await journal.verify()).problems == ()


async def retention_deletes_what_is_over_and_old_and_may_run_twice(journal: Journal) -> None:
    scribe = Scribe(journal)
    old = [await scribe.finish(n, key=f"k{n}", by="me") for n in range(1, 4)]
    young = await scribe.finish(4, at=START + 2 * MINUTE)
    running = await scribe.begin(5)
    owing = await scribe.finish(6, deliver=("mail",))
    assert await journal.forget(START + MINUTE) == 3
    assert await journal.forget(START + MINUTE) == 0
    left = [row.id for row in await journal.query(Query())]
    assert left == [owing, running, young]
    for task in old:
        await _fails(NotFound, journal.read, task)
    assert (await journal.verify()).problems == ()
    await Scribe(journal).submit(7, key="k1", by="me")


async def what_ended_first_is_the_oldest_and_forgetting_it_frees_room(journal: Journal) -> None:
    scribe = Scribe(journal)
    late = await scribe.finish(1, at=START + 9 * MINUTE)
    early = await scribe.finish(2, at=START + MINUTE)
    await scribe.begin(3)
    await scribe.finish(4, deliver=("mail",))
    assert [row.id for row in await journal.oldest(9)] == [early, late]
    assert [row.id for row in await journal.oldest(1)] == [early]
    for number in range(5, 60):
        await scribe.finish(number, at=START + 2 * MINUTE)
    before = await journal.used()
    assert await journal.forget(START + 3 * MINUTE) == 56
    assert await journal.used() < before
    assert [row.id for row in await journal.oldest(9)] == [late]


async def a_backup_is_a_new_file(journal: Journal) -> None:
    await Scribe(journal).finish(1)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        await journal.backup(copy)
        size = copy.stat().st_size
        assert size > 0
        assert (await _fails(Refused, journal.backup, copy)).code == "backup_exists"


async def closing_twice_is_fine_and_afterwards_nothing_is_taken(journal: Journal) -> None:
    scribe = Scribe(journal)
    task = Task()
    await journal.close()
    await journal.close()
    submitted = Submitted(id=name(1), request=Request(prompt="x"), at=START)
    row = replace(view.summary(task), id=name(1), status=Status.QUEUED)
    await _fails(Unavailable, journal.append, name(1), Cursor(), (submitted,), row, at=START)
    await _fails(Unavailable, scribe.submit, 2)


async def _fails(
    kind: type[HoldfastError],
    action: Callable[..., Awaitable[object]],
    *args: object,
    **more: object,
) -> HoldfastError:
    try:
        await action(*args, **more)
    except kind as error:
        assert str(error)
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


async def _at_once(number: int, work: Callable[[int], Coroutine[None, None, None]]) -> None:
    async with anyio.create_task_group() as group:
        for index in range(number):
            group.start_soon(work, index)


CLAUSES: tuple[Clause, ...] = (
    events_come_back_as_they_were_stored,
    a_long_stream_can_be_read_in_parts,
    a_task_that_is_not_there_is_not_found,
    what_an_append_returned_is_seen_by_every_read,
    an_append_after_another_end_is_a_conflict_and_stores_nothing,
    of_many_appends_after_the_same_end_one_is_stored,
    many_tasks_at_once_are_all_stored,
    each_task_is_claimed_by_one_of_many,
    a_stale_owner_writes_nothing,
    a_key_counts_once_for_each_person,
    a_session_of_ones_own_is_of_who_began_it_whoever_speaks_there_later,
    what_cannot_be_stored_is_refused_at_once,
    a_cancelled_append_is_stored_or_not_and_harms_nobody,
    the_queue_is_ordered_by_priority_and_age,
    the_queue_leaves_out_agents_that_are_full,
    a_session_works_on_one_message_at_a_time,
    a_waiting_message_holds_back_its_session,
    what_time_will_move_is_due_in_order,
    a_lease_ends_unless_it_is_renewed,
    summaries_are_listed_newest_first_by_any_condition,
    a_task_is_found_by_either_end_of_its_id,
    purging_leaves_that_a_task_was_there_and_nothing_it_said,
    retention_deletes_what_is_over_and_old_and_may_run_twice,
    what_ended_first_is_the_oldest_and_forgetting_it_frees_room,
    a_backup_is_a_new_file,
    closing_twice_is_fine_and_afterwards_nothing_is_taken,
)
"""Every promise. A store is a journal when all of them hold for it."""
