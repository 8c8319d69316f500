"""Who asks for an operation, and which tasks are theirs."""

from __future__ import annotations

from msgspec import Struct

from holdfast.core import task as t
from holdfast.core.error import NotFound, Refused
from holdfast.core.ids import TaskId
from holdfast.runtime.house import House

from . import words as w
from .faults import TaskNotFound


class Asking(Struct, frozen=True, kw_only=True):
    """Who asks, where, and what the asker understands.

    `base` is the address of this door; `approves`: their key is for that, too.
    """

    house: House
    by: str
    base: str
    approves: bool = True
    extensions: frozenset[str] = frozenset()

    @property
    def once(self) -> bool:
        return w.EXTENSION_ONCE in self.extensions


async def mine(ask: Asking, task_id: str) -> t.Task:
    """A task of this principal: others are not there."""
    if await ask.house.journal.summary(TaskId(task_id)) is None:
        raise _unknown(task_id)
    try:
        task = await ask.house.recorder.load(TaskId(task_id))
    except (NotFound, Refused) as gone:
        raise _unknown(task_id) from gone
    if task.request.by != ask.by:
        raise _unknown(task_id)
    return task


def _unknown(task_id: str) -> TaskNotFound:
    return TaskNotFound(f"there is no task {task_id[:200]}", hint="ListTasks has all of yours")
