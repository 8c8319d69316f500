"""What everything that writes down visits must do: one function per promise, given an empty one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from msgspec.structs import replace

from holdfast.ports.egress import Visit, VisitQuery, Visits

Clause = Callable[[Visits], Awaitable[None]]


def visit(number: int = 1, **more: Any) -> Visit:
    """A request by its number; the fields of `more` are otherwise."""
    usual = Visit(
        id=f"visit_{number:04}",
        at=1_000 * number,
        task="task_1",
        agent="ann",
        tool="http",
        kind="fetch",
        method="GET",
        host="api.example.com",
        port=443,
        path="/v1/a",
        address="93.184.216.34",
    )
    return replace(usual, **more)


async def what_is_written_is_found_again(visits: Visits) -> None:
    told = visit(secrets=("api/key", "other"), code="egress_host", status=0)
    await visits.write(told)
    assert list(await visits.query(VisitQuery())) == [told]


async def an_end_takes_the_place_of_the_beginning(visits: Visits) -> None:
    await visits.write(visit())
    ended = visit(status=200, sent=10, received=2_000_000_000_000, ended_at=5_000)
    visits.ended(ended)
    assert list(await visits.query(VisitQuery())) == [ended]


async def the_newest_come_first_page_by_page(visits: Visits) -> None:
    for number in (2, 1, 4, 3):
        await visits.write(visit(number))
    first = await visits.query(VisitQuery(limit=3))
    assert [one.id[-1] for one in first] == ["4", "3", "2"]
    rest = await visits.query(VisitQuery(limit=3, before=first[-1].id))
    assert [one.id[-1] for one in rest] == ["1"]


async def one_is_found_by_who_and_where_and_whether_it_was_refused(visits: Visits) -> None:
    await visits.write(visit(1))
    await visits.write(visit(2, task="task_2", agent="bob", host="b.example", code="egress_path"))
    for query in (
        VisitQuery(task="task_2"),
        VisitQuery(agent="bob"),
        VisitQuery(host="b.example"),
        VisitQuery(refused=True),
    ):
        assert [one.id[-1] for one in await visits.query(query)] == ["2"]
    assert not await visits.query(VisitQuery(task="task_1", agent="bob"))


async def what_a_task_used_is_counted(visits: Visits) -> None:
    assert await visits.used("task_1") == (0, 0)
    await visits.write(visit(1))
    visits.ended(visit(1, sent=5, received=7, ended_at=1))
    await visits.write(visit(2, code="egress_host"))
    await visits.write(visit(3, task="task_2"))
    assert await visits.used("task_1") == (2, 12)


async def the_old_is_forgotten(visits: Visits) -> None:
    for number in (1, 2, 3):
        await visits.write(visit(number))
    assert await visits.forget(3_000) == 2
    assert [one.id[-1] for one in await visits.query(VisitQuery())] == ["3"]


async def many_at_once_are_all_written(visits: Visits) -> None:
    async with anyio.create_task_group() as group:
        for number in range(700):
            group.start_soon(visits.write, visit(number))
    assert await visits.used("task_1") == (700, 0)


CLAUSES: tuple[Clause, ...] = (
    what_is_written_is_found_again,
    an_end_takes_the_place_of_the_beginning,
    the_newest_come_first_page_by_page,
    one_is_found_by_who_and_where_and_whether_it_was_refused,
    what_a_task_used_is_counted,
    the_old_is_forgotten,
    many_at_once_are_all_written,
)
