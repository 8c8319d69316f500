"""What is told while a task moves: its state when that changes, its answer as it grows."""

from __future__ import annotations

from holdfast.core import task as t
from holdfast.runtime.following import Moment

from . import shown
from .words import Artifact, ArtifactUpdate, Part, State, StatusUpdate, Told


class Teller:
    """Turns moments of one task into what is told of them, in order."""

    def __init__(self, first: Moment) -> None:
        task = first.task
        self._ids = (task.id, shown.context(task.id, task.request.session))
        self._state = shown.state(task)
        self._asked = tuple(task.calls)
        self._grows = False

    async def of(self, moment: Moment) -> list[Told]:
        """Nothing for what does not show."""
        if moment.heard is not None:
            return self._piece(moment)
        self._grows = False
        told: list[Told] = []
        if self._moved(moment.task):
            if self._state is State.COMPLETED:
                made = await shown.artifacts(moment.task)
                told += [self._artifact(one, append=False, last=True) for one in made]
            told.append(self._status(moment))
        return told

    def _moved(self, task: t.Task) -> bool:
        """A second question while it waits is news as well."""
        before, asked = (self._state, self._asked), tuple(task.calls)
        self._state = shown.state(task)
        self._asked = asked if task.calls else ()
        waits = self._state in (State.INPUT_REQUIRED, State.AUTH_REQUIRED)
        return before[0] is not self._state or (waits and before[1] != self._asked)

    def _piece(self, moment: Moment) -> list[Told]:
        """The answer as far as it is heard; what is said before a call is told and replaced."""
        heard = moment.heard
        if heard is None or heard.reset:
            self._grows = False
        if heard is None or not heard.text:
            return []
        append, self._grows = self._grows, True
        piece = Artifact(artifact_id=shown.ANSWER, name="answer", parts=(Part(text=heard.text),))
        return [self._artifact(piece, append=append, last=False)]

    def _artifact(self, made: Artifact, *, append: bool, last: bool) -> Told:
        task, context = self._ids
        update = ArtifactUpdate(
            task_id=task, context_id=context, artifact=made, append=append, last_chunk=last
        )
        return Told(artifact_update=update)

    def _status(self, moment: Moment) -> Told:
        task, context = self._ids
        status = shown.status(moment.task, moment.at)
        return Told(status_update=StatusUpdate(task_id=task, context_id=context, status=status))
