"""One task as it moves: what it is now, then each thing that happens to it, until it has ended."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from msgspec import Struct

from holdfast.core.error import NotFound
from holdfast.core.event import Event
from holdfast.core.evolve import evolve, fold
from holdfast.core.ids import Instant, TaskId
from holdfast.core.task import CallState, Human, OpenCall, Status, Task
from holdfast.ports.model import Delta

from . import tasks
from .house import House


class Moment(Struct, frozen=True, kw_only=True):
    """The task after `seq` events. `event` made it so, or `heard` is of a reply on its way.

    The first of all has neither.
    """

    task: Task
    seq: int
    at: Instant
    event: Event | None = None
    heard: Delta | None = None


async def follow(house: House, task_id: TaskId, *, after: int = 0) -> AsyncGenerator[Moment, None]:
    """The task as it is once it has `after` events (0: as it is now), then what happens.

    Events are complete and in order, from the disk where a reader was slow; deltas may be lost.
    Raises `NotFound`, and `Refused` for a purged task.
    """
    past = await house.journal.read(task_id)
    if not past:
        raise NotFound(f"there is no task {task_id}", code="task_not_found")
    past = past[:after] if after else past
    task = fold((one.event for one in past), Task())
    moment = Moment(task=task, seq=past[-1].seq, at=past[-1].at)
    yield moment
    async with aclosing(tasks.watch(house, task_id, after=moment.seq)) as items:
        async for item in items:
            if isinstance(item, Delta):
                yield Moment(task=task, seq=moment.seq, at=moment.at, heard=item)
                continue
            task = evolve(task, item.event)
            moment = Moment(task=task, seq=item.seq, at=item.at, event=item.event)
            yield moment


async def settled(house: House, task_id: TaskId) -> Moment:
    """As it is once it has ended or waits for a person."""
    async with aclosing(follow(house, task_id)) as moments:
        async for moment in moments:
            if moment.heard is None and (moment.task.ended or awaits(moment.task)):
                return moment
    raise NotFound(f"there is no task {task_id} any more", code="task_not_found")


def awaits(task: Task) -> bool:
    """It waits for a person: for a yes, or for words."""
    return task.status is Status.WAITING and any(map(_for_a_person, task.calls.values()))


def _for_a_person(opened: OpenCall) -> bool:
    return opened.state is CallState.ASKED or isinstance(opened.wait, Human)
