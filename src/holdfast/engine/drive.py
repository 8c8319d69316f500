"""Drives one task: does what is pending, records what came back, repeats, lets go."""

from __future__ import annotations

import logging

import anyio
from anyio.abc import TaskGroup

from holdfast.core.command import FailAttempt, Recover, Release
from holdfast.core.effect import Effect, pending
from holdfast.core.error import Conflict, Refused, Unavailable
from holdfast.core.task import Status, Task

from .perform import Performer
from .record import Recorder, Stream

_log = logging.getLogger("holdfast.engine")
_TIMEOUT = "TIMEOUT"
_PAUSE = 1.0


class Driver:
    """One try at one task. `drain` asks it to give the task back once nothing is in flight."""

    def __init__(self, stream: Stream, recorder: Recorder, performer: Performer) -> None:
        self._stream, self._recorder, self._performer = stream, recorder, performer
        self._fence = stream.task.fence
        self._in_flight: set[str] = set()
        self._draining = False

    async def run(self) -> None:
        """Until the task ends, waits for something outside, or belongs to someone else."""
        patience = self._stream.task.limits.attempt_seconds
        try:
            with anyio.move_on_after(patience) as limit:
                async with anyio.create_task_group() as group:
                    await self._turn(group)
                    group.cancel_scope.cancel()
            if limit.cancelled_caught:
                message = f"the try took longer than {patience} s"
                await self._tell(FailAttempt(code=_TIMEOUT, message=message))
        except* Conflict:
            pass  # another worker has it: this driver is thrown away

    def drain(self) -> None:
        self._draining = True
        self._stream.ring()

    async def _turn(self, group: TaskGroup) -> None:
        stream = self._stream
        while self._mine(stream.task):
            bell = stream.bell
            if self._draining and not self._in_flight:
                await self._tell(Recover(reason="the daemon stopped"))
                return
            while effect := self._next():
                group.start_soon(self._work_off, effect)
            if not self._in_flight and await self._let_go():
                return
            await bell.wait()

    def _next(self) -> Effect | None:
        """Something that is due and not in flight; it counts as in flight from now on."""
        if self._draining or not self._mine(self._stream.task):
            return None
        for effect in pending(self._stream.task, 0):
            if effect.key not in self._in_flight:
                self._in_flight.add(effect.key)
                return effect
        return None

    async def _work_off(self, effect: Effect | None) -> None:
        """Carry out an effect, then what it led to: an activity for each would cost far more."""
        while effect:
            await self._perform(effect)
            effect = self._next()

    async def _perform(self, effect: Effect) -> None:
        version = self._stream.cursor.version
        try:
            await self._performer.perform(self._stream, effect, self._fence)
            if self._stream.cursor.version == version and self._mine(self._stream.task):
                await anyio.sleep(_PAUSE)  # nothing came of it: do not spin
        finally:
            self._in_flight.discard(effect.key)
            self._stream.ring()

    async def _let_go(self) -> bool:
        """Release the task; False if something has become due in the meantime."""
        try:
            await self._tell(Release())
        except Refused as refused:
            if isinstance(refused, Conflict):
                raise
            return False
        return True

    def _mine(self, task: Task) -> bool:
        return task.fence == self._fence and task.status is Status.RUNNING

    async def _tell(self, command: FailAttempt | Recover | Release) -> None:
        """Tell it, however long the store is away: the task would be nobody's otherwise."""
        while True:
            try:
                await self._recorder.tell(self._stream.id, command, fence=self._fence)
            except Unavailable as failure:
                _log.warning("cannot record yet: %s", failure, extra={"task": self._stream.id})
                await anyio.sleep(_PAUSE)
            else:
                return
