"""What the gate is told of a task: who wants what on whose behalf, and what was granted in it."""

from __future__ import annotations

from holdfast.core.ids import Instant
from holdfast.core.task import Task

from .judge import Standing
from .matter import Asking


def standing_of(task: Task, now: Instant) -> Standing:
    """What the gate is told of a task."""
    request = task.request
    asking = Asking(
        agent=request.agent.name,
        principal=request.by,
        task=task.id,
        session=request.session,
        at=now,
    )
    return Standing(leave=request.leave, grants=task.grants, asking=asking)
