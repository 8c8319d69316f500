"""What an ended task still owes: its result to whoever waits for it, a stop to its children."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import anyio

from holdfast.core.command import Cancel, ConfirmDelivery, SettleCall, StopChild
from holdfast.core.effect import Deliver, TellChild, pending
from holdfast.core.error import HoldfastError, Refused, Unavailable
from holdfast.core.gate.hearing import hearing
from holdfast.core.ids import TaskId
from holdfast.core.message import Failed, Outcome, Returned
from holdfast.core.task import Parent, Status, Task
from holdfast.core.view import summary
from holdfast.ports.channel import Channel
from holdfast.ports.clock import Clock

from .record import Recorder

_log = logging.getLogger("holdfast.engine")
_PAUSE = 1.0


class Finisher:
    """Pays what ended tasks owe, each debt once."""

    def __init__(self, recorder: Recorder, channels: Mapping[str, Channel], clock: Clock) -> None:
        self._recorder, self._channels, self._clock = recorder, channels, clock
        self._at_work: set[TaskId] = set()

    async def finish(self, task_id: TaskId) -> None:
        """Pay what is due now, however long the store is away; what a channel did not take is
        noted and becomes due again later."""
        if task_id in self._at_work:
            return
        self._at_work.add(task_id)
        try:
            while not await self._paid(task_id):  # noqa: ASYNC110 - nothing rings when it is back
                await anyio.sleep(_PAUSE)
        except Refused as refused:
            _log.info("not finished: %s", refused, extra={"task": task_id})
        finally:
            self._at_work.discard(task_id)

    async def _paid(self, task_id: TaskId) -> bool:
        try:
            task = await self._recorder.load(task_id)
            for effect in pending(task, self._clock.now()):
                match effect:
                    case TellChild():
                        await self._stop(task, effect.child)
                    case Deliver():
                        await self._deliver(task, effect)
                    case _:
                        pass
        except Unavailable as failure:
            _log.warning("not finished yet: %s", failure, extra={"task": task_id})
            return False
        return True

    async def _stop(self, task: Task, child: TaskId) -> None:
        try:
            await self._recorder.tell(child, Cancel(by="house", reason="its parent ended"))
        except Refused as refused:
            _log.debug("child already ended: %s", refused)
        await self._recorder.tell(task.id, StopChild(child=child))

    async def _deliver(self, task: Task, effect: Deliver) -> None:
        error = ""
        parent = task.request.parent
        if effect.channel == "parent" and parent is not None:
            await self._answer(parent, task)
        elif channel := self._channels.get(effect.channel):
            try:
                await channel.deliver(effect.id, summary(task))
            except (OSError, HoldfastError) as failure:
                error = str(failure) or type(failure).__name__
        else:
            error = f"there is no channel called {effect.channel}"
        confirm = ConfirmDelivery(channel=effect.channel, error=error)
        await self._recorder.tell(task.id, confirm)

    async def _answer(self, parent: Parent, task: Task) -> None:
        """Give the parent's call its one answer; a parent that no longer waits is not an error."""
        if task.status is Status.SUCCEEDED:
            outcome: Outcome = Returned(text=task.answer or "")
        else:
            why = f": {task.fault.message}" if task.fault else ""
            outcome = Failed(text=f"the task ended as {task.status}{why}", code="child_failed")
        try:
            sources = tuple(sorted(hearing(task).influences))
            settle = SettleCall(
                call_id=parent.call, outcome=outcome, spent=task.spent, sources=sources
            )
            await self._recorder.tell(parent.task, settle)
        except Refused as refused:
            _log.debug("parent no longer waits: %s", refused, extra={"task": parent.task})
