"""What every keeper of leases must do, with its journal: one function per promise."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import pytest
from msgspec.structs import replace

from holdfast.core.error import Conflict
from holdfast.core.event import CallApproved, Claimed, Event, Replied, Started, Submitted
from holdfast.core.evolve import fold
from holdfast.core.gate.policy import Allow, Lease, Rule, Say
from holdfast.core.ids import CallId, TaskId
from holdfast.core.message import ModelSaid, ToolCall
from holdfast.core.task import JudgedCall, Request
from holdfast.core.view import summary
from holdfast.ports.journal import Cursor, Journal
from holdfast.ports.leases import Leases


class Leasing(Journal, Protocol):
    """A journal that keeps leases."""

    def leases(self) -> Leases: ...


Clause = Callable[[Leasing], Awaitable[None]]


def lease(name: str = "lease_1", uses: int = 2) -> Lease:
    rule = Rule(say=Say.ALLOW, tools=("exec",), command=(("make", "*"),))
    return Lease(id=name, rule=rule, scope="agent", of="ann", uses=uses, until=9, by="me", at=1)


async def used(journal: Leasing, task: str, *names: str) -> None:
    """A task whose model proposes a call under each of these leases."""
    judged = tuple(
        JudgedCall(
            call=ToolCall(id=CallId(f"c{place}"), tool="exec", arguments={}),
            verdict=Allow(rule=name, lease=name),
        )
        for place, name in enumerate(names)
    )
    calls = tuple(one.call for one in judged)
    await written(journal, task, Replied(said=ModelSaid(calls=calls), judged=judged))


async def written(journal: Leasing, task: str, *more: Event) -> None:
    name = TaskId(task)
    begin: Sequence[Event] = (
        Submitted(id=name, request=Request(prompt="x"), at=1),
        Claimed(owner="w", fence=1),
        Started(attempt=1, at=1),
        *more,
    )
    await journal.append(name, Cursor(), begin, summary(fold(begin)), at=1)


async def what_is_kept_is_found_again(journal: Leasing) -> None:
    leases = journal.leases()
    assert list(await leases.all()) == []
    await leases.write(lease("lease_2"))
    await leases.write(lease("lease_1"))
    assert list(await leases.all()) == [lease("lease_1"), lease("lease_2")]
    with pytest.raises(Conflict):
        await leases.write(lease("lease_1"))


async def a_use_is_counted_with_the_verdict(journal: Leasing) -> None:
    await journal.leases().write(lease())
    await used(journal, "task_1", "lease_1")
    assert list(await journal.leases().all()) == [replace(lease(), used=1)]


async def no_lease_is_used_more_often_than_it_was_given(journal: Leasing) -> None:
    await journal.leases().write(lease())
    await journal.leases().write(lease("lease_any", uses=0))
    with pytest.raises(Conflict, match="used up"):
        await used(journal, "task_1", "lease_1", "lease_1", "lease_1")
    assert await journal.summary(TaskId("task_1")) is None
    await used(journal, "task_2", "lease_1", "lease_any", "lease_1")
    with pytest.raises(Conflict, match="used up"):
        await used(journal, "task_3", "lease_1")
    assert [one.used for one in await journal.leases().all()] == [2, 1]


async def what_is_revoked_or_unknown_is_not_used(journal: Leasing) -> None:
    leases = journal.leases()
    await leases.write(lease())
    assert await leases.revoke("lease_1")
    assert not await leases.revoke("lease_none")
    assert list(await leases.all()) == []
    for name in ("lease_1", "lease_none"):
        with pytest.raises(Conflict, match="used up"):
            await used(journal, "task_1", name)


async def an_approval_brings_its_lease_along(journal: Leasing) -> None:
    call = ToolCall(id=CallId("c0"), tool="exec", arguments={})
    judged = (JudgedCall(call=call, verdict=Allow(rule="x")),)
    replied = Replied(said=ModelSaid(calls=(call,)), judged=judged)
    approved = CallApproved(call_id=call.id, by="me", digest=call.key, lease=lease())
    await written(journal, "task_1", replied, approved)
    assert list(await journal.leases().all()) == [lease()]


CLAUSES: tuple[Clause, ...] = (
    what_is_kept_is_found_again,
    a_use_is_counted_with_the_verdict,
    no_lease_is_used_more_often_than_it_was_given,
    what_is_revoked_or_unknown_is_not_used,
    an_approval_brings_its_lease_along,
)
