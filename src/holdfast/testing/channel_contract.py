"""What every channel must do: one function per promise, each given a channel and its other end.

The other end is a function that lists what has arrived, as decoded summaries.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from msgspec.structs import replace

from holdfast.core.ids import TaskId
from holdfast.core.task import Status
from holdfast.core.view import Summary
from holdfast.ports.channel import Channel

Arrived = Callable[[], Awaitable[Sequence[Summary]]]
Clause = Callable[[Channel, Arrived], Awaitable[None]]

_RESULT = Summary(id=TaskId("task_1"), status=Status.SUCCEEDED, title="é", answer="done")


async def a_result_arrives_whole(channel: Channel, arrived: Arrived) -> None:
    await channel.deliver("task_1/outbox", _RESULT)
    assert list(await arrived()) == [_RESULT]


async def the_same_delivery_arrives_once(channel: Channel, arrived: Arrived) -> None:
    for answer in ("done", "done", "something else"):
        await channel.deliver("d1", replace(_RESULT, answer=answer))
    assert list(await arrived()) == [_RESULT]


async def different_deliveries_are_not_confused(channel: Channel, arrived: Arrived) -> None:
    ids = ("a/b", "a_b", "a b", "../a", ".a", "", "a" * 300, "a" * 301, "é", "\ud800", "a\0b")
    for number, delivery in enumerate(ids):
        await channel.deliver(delivery, replace(_RESULT, priority=number))
    assert {each.priority for each in await arrived()} == set(range(len(ids)))


async def it_has_a_name(channel: Channel, _arrived: Arrived) -> None:
    assert channel.name


CLAUSES: tuple[Clause, ...] = (
    a_result_arrives_whole,
    the_same_delivery_arrives_once,
    different_deliveries_are_not_confused,
    it_has_a_name,
)
