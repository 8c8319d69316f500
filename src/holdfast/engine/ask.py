"""Asks a model for the next turn of a task, and pays for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path

import anyio
from msgspec import to_builtins
from msgspec.structs import replace

from holdfast.core.agent import Agent
from holdfast.core.budget import Reservation
from holdfast.core.command import (
    BeginAsk,
    CutContext,
    FailAttempt,
    HearReply,
    ReleaseAsk,
    RequestTopUp,
)
from holdfast.core.context import Prompt, prompt
from holdfast.core.effect import AskModel
from holdfast.core.error import Refused
from holdfast.core.fitting import length
from holdfast.core.ids import CallId, Instant
from holdfast.core.message import Reply, Usage
from holdfast.core.task import TOP_UP, Status, Task
from holdfast.ports.clock import Clock
from holdfast.ports.ledger import Ledger, OverBudget, Payer, Period
from holdfast.ports.model import Delta, ModelFailure, Models
from holdfast.ports.tools import Tool, Tools

from . import storable
from .describe import described
from .direct import DirectAccount
from .live import Live
from .record import Recorder, Stream

_SHORTEST = 4_000
Pay = tuple[Ledger, Clock]
Heard = HearReply | FailAttempt | RequestTopUp | CutContext


class NotAsking(Refused):
    """The task ended, or waits for a person, before the model could be asked."""

    code = "not_asking"


class Asker:
    """Shows a model the task and brings back what is to be told to it."""

    def __init__(
        self,
        recorder: Recorder,
        live: Live,
        models: Models,
        tools: Callable[[Task], Tools],
        pay: Pay,
    ) -> None:
        self._recorder, self._live, self._models, self._tools = recorder, live, models, tools
        self._pay = pay

    async def ask(self, stream: Stream, effect: AskModel, fence: int | None) -> Heard | None:
        """The reply, or what else is to be told; None when the task must not go on asking.

        Raises `Refused` when no model can be asked.
        """
        name = stream.task.request.agent.model
        shown = prompt(stream.task, self._models.find(name).window)
        tools = offered(stream.task.request.agent, self._tools(stream.task))
        specs = tuple(t.spec for t in tools) if effect.tools and shown.tools else ()

        def hear(delta: Delta) -> None:
            if not self._live.watched(stream.id):
                return
            self._live.tell(stream.id, storable.delta(delta))

        try:
            async with DirectAccount(*self._pay, payer_of(stream.task)) as ledger:
                account = TaskAccount(ledger, self._recorder, stream, fence)
                reply = await self._models.answer(name, shown, specs, hear, account)
        except NotAsking:
            return None
        except OverBudget as over:
            if over.final:
                raise
            return self._wish(over)
        except ModelFailure as failure:
            chars = _shorter(stream.task, shown) if failure.code == "context_overflow" else 0
            if chars:
                return CutContext(chars=chars, tried=failure.tried)
            return _failed_try(failure)
        reply = _resolved(reply, stream.task, {t.spec.name: t for t in tools})
        return HearReply(reply=reply, saw=shown.saw)

    def _wish(self, over: OverBudget) -> RequestTopUp:
        """What a person is asked for: what is short, and not less than the budget's own size."""
        _, clock = self._pay
        if (budget := over.budget) is None:  # what has no price may be allowed until midnight
            return RequestTopUp(budget=over.key, text=str(over), back_at=_end("day", clock.now()))
        short: dict[str, int] = to_builtins(over.short)
        more = {k: max(n, getattr(budget, k) or 0) for k, n in short.items() if n}
        back_at = _end(budget.per, clock.now())
        return RequestTopUp(budget=over.key, text=str(over), more=more, back_at=back_at)


def offered(agent: Agent, tools: Tools) -> Sequence[Tool]:
    """Those of the tools that an agent has."""
    return [
        tool
        for tool in tools.all()
        if tool.spec.name != TOP_UP
        and (not agent.tools or tool.spec.name in agent.tools)
        and any(fnmatchcase(agent.name, pattern) for pattern in tool.traits.agents)
    ]


class TaskAccount:
    """Implements `ports.Account` for a task: held in the ledger, then as an event of the task."""

    def __init__(
        self, ledger: DirectAccount, recorder: Recorder, stream: Stream, fence: int | None
    ) -> None:
        self._ledger, self._recorder = ledger, recorder
        self._stream, self._fence = stream, fence

    async def hold(self, model: str, most: Reservation) -> None:
        await self._ledger.hold(model, most)
        running = False
        try:
            begin = BeginAsk(reserve=most)
            task = await self._recorder.tell(self._stream.id, begin, fence=self._fence)
            # Over its own limit the task ends, or a question to a person stands open.
            running = task.status is Status.RUNNING and not task.calls
        finally:
            if not running:
                with anyio.CancelScope(shield=True):
                    await self._ledger.release()
        if not running:
            raise NotAsking("the task may not go on asking")

    async def settle(self, model: str, usage: Usage) -> None:
        await self._ledger.settle(model, usage)

    async def release(self) -> None:
        await self._ledger.release()
        await self._recorder.tell(self._stream.id, ReleaseAsk(), fence=self._fence)

    async def lose(self) -> None:
        """The task's own share counts when more is held, or the try fails."""
        await self._ledger.lose()


def _end(per: Period, now: Instant) -> Instant:
    """When the running period ends, in UTC; 0 for one that does not."""
    if per == "total":
        return 0
    today = datetime.fromtimestamp(now / 1000, UTC).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    next_month = (today.replace(day=28) + timedelta(days=4)).replace(day=1)
    end = today + timedelta(days=1) if per == "day" else next_month
    return round(end.timestamp() * 1000)


def payer_of(task: Task) -> Payer:
    request = task.request
    return Payer(
        task=task.id,
        session=request.session,
        agent=request.agent.name,
        team=request.agent.team,
        by=request.by,
    )


def _shorter(task: Task, shown: Prompt) -> int:
    """How much of the conversation to show next time: half of it; 0 where that was no help."""
    chars = max(_SHORTEST, sum(map(length, shown.entries)) // 2)
    return chars if not task.context_chars or chars < task.context_chars else 0


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
