"""A task for somebody who waits: what happens is heard, and who leaves takes it along."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing, suppress

import anyio
from msgspec import Struct

from holdfast.core.error import Refused
from holdfast.core.event import CallSettled, Replied
from holdfast.core.gate.policy import Ask
from holdfast.core.ids import CallId, TaskId
from holdfast.core.message import Outcome, ToolCall, Usage
from holdfast.core.view import Summary
from holdfast.engine.live import Happened
from holdfast.ports.model import Delta

from . import tasks
from .house import House


class Spoke(Struct, frozen=True, kw_only=True):
    """One turn of the model as it was kept. A person is asked about the calls in `asked`."""

    text: str
    calls: tuple[ToolCall, ...]
    usage: Usage
    asked: frozenset[CallId] = frozenset()


class Settled(Struct, frozen=True, kw_only=True):
    """A call has its answer."""

    call: CallId
    outcome: Outcome


Heard = Delta | Spoke | Settled


async def attend(
    house: House, task: TaskId, hear: Callable[[Heard], None], *, by: str, keep: bool = False
) -> Summary:
    """The summary of the task once it has ended; until then everything that happens to it.

    Broken off, the task is cancelled, unless it is to be kept.
    """
    try:
        async with aclosing(tasks.watch(house, task)) as items:
            async for item in items:
                if (heard := _heard(item)) is not None:
                    hear(heard)
        return await tasks.show(house, task)
    except anyio.get_cancelled_exc_class():
        if not keep:
            with anyio.CancelScope(shield=True), suppress(Refused):
                await tasks.cancel(house, task, by=by, reason="whoever waited for it has left")
        raise


async def story(house: House, task: TaskId) -> list[Heard]:
    """What has happened to a task so far, from the journal."""
    told: list[Heard] = []
    after = 0
    while recorded := await tasks.events(house, task, after=after):
        after = recorded[-1].seq
        told += [heard for one in recorded if (heard := _of_event(one.event)) is not None]
    return told


def _heard(item: Happened | Delta) -> Heard | None:
    return item if isinstance(item, Delta) else _of_event(item.event)


def _of_event(event: object) -> Heard | None:
    match event:
        case Replied():
            calls = tuple(one.call for one in event.judged)
            asked = frozenset(one.call.id for one in event.judged if isinstance(one.verdict, Ask))
            return Spoke(text=event.said.text, calls=calls, usage=event.usage, asked=asked)
        case CallSettled():
            return Settled(call=event.call_id, outcome=event.outcome)
        case _:
            return None
