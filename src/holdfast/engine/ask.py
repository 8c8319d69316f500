"""Asks a model for the next turn of a task, and pays for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from holdfast.core.budget import Reservation
from holdfast.core.command import BeginAsk, FailAttempt, HearReply, ReleaseAsk
from holdfast.core.context import prompt
from holdfast.core.effect import AskModel
from holdfast.core.error import Refused
from holdfast.core.ids import CallId
from holdfast.core.message import Reply, Usage
from holdfast.core.task import Status, Task
from holdfast.ports.model import Delta, ModelFailure, Models
from holdfast.ports.tools import Tool, Tools

from . import storable
from .describe import described
from .live import Live
from .record import Recorder, Stream


class Asker:
    """Shows a model the task and brings back what is to be told to it."""

    def __init__(self, recorder: Recorder, live: Live, models: Models, tools: Tools) -> None:
        self._recorder, self._live, self._models, self._tools = recorder, live, models, tools

    async def ask(
        self, stream: Stream, effect: AskModel, fence: int | None
    ) -> HearReply | FailAttempt:
        """The reply, or the failed try. Raises `Refused` when the task must not go on asking."""
        shown = prompt(stream.task)
        wanted = stream.task.request.agent.tools
        tools = [t for t in self._tools.all() if not wanted or t.spec.name in wanted]
        specs = tuple(t.spec for t in tools) if effect.tools and shown.tools else ()

        def hear(delta: Delta) -> None:
            self._live.tell(stream.id, storable.delta(delta))

        account = TaskAccount(self._recorder, stream, fence)
        model = stream.task.request.agent.model
        try:
            reply = await self._models.answer(model, shown, specs, hear, account)
        except ModelFailure as failure:
            return _failed_try(failure)
        reply = _resolved(reply, stream.task, {t.spec.name: t for t in tools})
        return HearReply(reply=reply, saw=shown.saw)


class TaskAccount:
    """Implements `ports.Account` for a task: what is held is an event of it."""

    def __init__(self, recorder: Recorder, stream: Stream, fence: int | None) -> None:
        self._recorder, self._stream, self._fence = recorder, stream, fence

    async def hold(self, model: str, most: Reservation) -> None:
        task = await self._recorder.tell(self._stream.id, BeginAsk(reserve=most), fence=self._fence)
        if task.status is not Status.RUNNING:
            raise Refused("the task is not at work any more", code="not_running")

    async def settle(self, model: str, usage: Usage) -> None:
        """The reply settles it: they are told together."""

    async def release(self) -> None:
        await self._recorder.tell(self._stream.id, ReleaseAsk(), fence=self._fence)

    async def lose(self) -> None:
        """What is held counts when more is held, or the try fails."""


def _resolved(reply: Reply, task: Task, tools: Mapping[str, Tool]) -> Reply:
    """The reply with calls that carry our ids and what their tools say of themselves."""
    step, reply = task.spent.steps + 1, storable.reply(reply)
    workspace = Path(task.request.workspace)
    calls = tuple(
        described(call, CallId(f"c{step}_{index}"), tools, workspace)
        for index, call in enumerate(reply.calls, start=1)
    )
    return replace(reply, calls=calls)


def _failed_try(failure: ModelFailure) -> FailAttempt:
    return FailAttempt(
        code=failure.code,
        message=str(failure),
        retryable=failure.retryable,
        retry_after=round(failure.retry_after * 1000),
        tried=failure.tried,
    )
