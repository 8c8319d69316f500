"""What the world must now do for a task: derived from its state, never stored."""

from __future__ import annotations

from msgspec import Struct

from .habits import final_only
from .ids import Instant, TaskId
from .task import CallState, OpenCall, Status, Task


class AskModel(Struct, frozen=True, kw_only=True):
    """Ask the model for the next turn; without tools when only an answer is still wanted."""

    tools: bool = True

    @property
    def key(self) -> str:
        return "model"


class RunTool(Struct, frozen=True, kw_only=True):
    """Run an allowed call in its box."""

    open: OpenCall

    @property
    def key(self) -> str:
        return f"run {self.open.call.id}"


class CheckCall(Struct, frozen=True, kw_only=True):
    """Find out whether an interrupted call happened."""

    open: OpenCall

    @property
    def key(self) -> str:
        return f"check {self.open.call.id}"


class TellChild(Struct, frozen=True, kw_only=True):
    """Tell a child of an ended task to stop."""

    child: TaskId

    @property
    def key(self) -> str:
        return f"stop {self.child}"


class Deliver(Struct, frozen=True, kw_only=True):
    """Bring the result to a channel; `id` is the same at every try."""

    channel: str
    id: str

    @property
    def key(self) -> str:
        return f"deliver {self.channel}"


Effect = AskModel | RunTool | CheckCall | TellChild | Deliver


def pending(task: Task, now: Instant) -> tuple[Effect, ...]:
    """What is due at `now`, in order. Empty for a task that only something outside can move."""
    if task.ended:
        stops = tuple(TellChild(child=child) for child in task.children)
        sends = tuple(
            Deliver(channel=name, id=f"{task.id}/{task.ends}/{name}")
            for name, delivery in task.deliveries.items()
            if delivery.due <= now
        )
        return stops + sends
    if task.status is not Status.RUNNING:
        return ()
    return due(task)


def due(task: Task) -> tuple[Effect, ...]:
    """What a worker would have to do for an unended task."""
    if not task.calls:
        return (AskModel(tools=not final_only(task.habits)),)
    effects: list[Effect] = []
    for opened in task.calls.values():
        if opened.state is CallState.ALLOWED:
            effects.append(RunTool(open=opened))
        elif opened.state is CallState.DOUBTED:
            effects.append(CheckCall(open=opened))
    return tuple(effects)
