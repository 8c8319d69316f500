"""Carries out effects: asks models, runs tools, and tells what came of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, assert_never

import anyio
from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.command import (
    Cancel,
    ClearCall,
    Command,
    FailAttempt,
    SettleCall,
    StartCall,
    SuspendCall,
)
from holdfast.core.effect import AskModel, CheckCall, Deliver, Effect, RunTool, TellChild
from holdfast.core.error import Conflict, HoldfastError, Invalid, NotAllowed, Refused, Unavailable
from holdfast.core.message import Change, EffectClass, Failed, Outcome, ToolCall, Unknown
from holdfast.core.reference import filled, misplaced, named
from holdfast.core.task import Child, Human, OpenCall, Status, Task, Timer
from holdfast.ports.model import Models
from holdfast.ports.secrets import Secrets
from holdfast.ports.tools import Job, Tool, Tools

from . import storable
from .ask import Asker, Pay
from .describe import described
from .live import Live
from .record import Recorder, Stream

_log = logging.getLogger("holdfast.engine")
_PAUSE = 1.0


class Limits(Struct, frozen=True, kw_only=True):
    """`tool_seconds` caps one tool call."""

    tool_seconds: float = 900.0


class Performer:
    """Does what a task is owed. Tells the recorder only with the fencing number it was given.

    `tools` are those of a task. Without `secrets` no call that names one is run.
    """

    def __init__(  # noqa: PLR0913 - one part each
        self,
        recorder: Recorder,
        live: Live,
        models: Models,
        tools: Callable[[Task], Tools],
        limits: Limits,
        pay: Pay,
        *,
        secrets: Secrets | None = None,
    ) -> None:
        self._recorder, self._live, self._secrets = recorder, live, secrets
        self._models, self._tools, self._limits = models, tools, limits
        self._asker = Asker(recorder, live, models, tools, pay)

    async def perform(self, stream: Stream, effect: Effect, fence: int | None) -> None:
        """Carry out one effect. Raises `Conflict` when the task has gone to another worker.

        Whatever else goes wrong is this task's own trouble: no other task may suffer from it.
        """
        try:
            await self._perform(stream, effect, fence)
        except Conflict:
            raise
        except Invalid as invalid:
            # What came of it cannot be recorded, now or later: it would be tried for ever.
            await self._give_up(stream, invalid, fence)
        except Refused as refused:
            # The task moved on while this was under way (cancelled, settled by someone else).
            _log.debug("outcome not wanted: %s", refused, extra={"task": stream.id})
        except Unavailable as failure:
            _log.warning("cannot go on: %s", failure, extra={"task": stream.id})
            await anyio.sleep(_PAUSE)
        except Exception as error:  # noqa: BLE001 - around a performer: an adapter may fail in any way
            _log.exception("%s failed", effect.key, extra={"task": stream.id})
            await self._give_up(stream, error, fence)

    async def _give_up(self, stream: Stream, error: Exception, fence: int | None) -> None:
        """This try is over; a bug or bad luck may be tried again, what is invalid may not."""
        code, again, text = "internal", True, f"{type(error).__name__}: {error}"
        if isinstance(error, Invalid):
            code, again, text = error.code, False, str(error)
        failure = FailAttempt(code=code, message=storable.text(text), retryable=again)
        try:
            await self._surely(stream, failure, fence)
        except Refused as refused:
            if isinstance(refused, Conflict):
                raise
            _log.debug("it was over already: %s", refused, extra={"task": stream.id})

    async def _perform(self, stream: Stream, effect: Effect, fence: int | None) -> None:
        match effect:
            case AskModel():
                await self._ask(stream, effect, fence)
            case RunTool():
                await self._run(stream, effect.open, fence)
            case CheckCall():
                await self._check(stream, effect.open, fence)
            case TellChild() | Deliver():
                return  # an ended task has no driver: `finish` pays what it owes
            case _:
                assert_never(effect)

    async def _ask(self, stream: Stream, effect: AskModel, fence: int | None) -> None:
        try:
            heard = await self._asker.ask(stream, effect, fence)
        except Refused as refused:
            if isinstance(refused, Conflict):
                raise
            if stream.task.status is not Status.RUNNING:
                return
            failure = FailAttempt(code=refused.code, message=str(refused), retryable=False)
            await self._surely(stream, failure, fence)
        else:
            if heard is not None:
                await self._surely(stream, heard, fence)

    async def _run(self, stream: Stream, opened: OpenCall, fence: int | None) -> None:
        call, job = opened.call, _job(stream.task, opened.call)
        tool = self._tools(stream.task).get(call.tool)
        if tool is None:
            await self._recorder.tell(stream.id, StartCall(call_id=call.id), fence=fence)
            gone = Failed(text=f"the tool {call.tool} is no longer there", code="no_such_tool")
            await self._surely(stream, SettleCall(call_id=call.id, outcome=gone), fence)
            return
        before, broken = await _kept(tool, call, job)
        broken = broken or _misused(tool, call) or _moved(tool, call, job)
        secrets = () if broken else named(call.arguments)
        start = StartCall(call_id=call.id, before=before, secrets=secrets)
        await self._recorder.tell(stream.id, start, fence=fence)
        result = broken or await self._tried(tool, call, replace(job, secrets=secrets))
        match result:
            case Human() | Timer():
                settle: Command = SuspendCall(call_id=call.id, wait=result)
            case Child():
                await self._suspended_on(stream, call, result, fence)
                return
            case _:
                settle = SettleCall(call_id=call.id, outcome=result)
        await self._surely(stream, settle, fence)

    async def _tried(self, tool: Tool, call: ToolCall, job: Job) -> Outcome | Human | Child | Timer:
        try:
            with anyio.fail_after(self._limits.tool_seconds):
                arguments = await self._filled(call, job) if job.secrets else call.arguments
                return storable.outcome(await tool.run(arguments, job))
        except NotAllowed as refused:
            return Failed(text=storable.text(str(refused)), code=refused.code)
        except TimeoutError:
            text = f"stopped after {self._limits.tool_seconds:.0f} s"
            if call.effect is EffectClass.WRITES:
                return Unknown(reason=f"{text}; it may or may not have happened")
            return Failed(text=text, code="timeout")
        except Exception as error:  # noqa: BLE001 - around a tool body: the model decides what to do
            _log.exception("tool %s failed", call.tool, extra={"task": job.task})
            # What no tool foresaw may hold a stranger's words, and nothing has kept them apart.
            told = error if isinstance(error, HoldfastError) or not call.source else "see the log"
            text = storable.text(f"{type(error).__name__}: {told}")
            return Failed(text=text, code="tool_error")

    async def _filled(self, call: ToolCall, job: Job) -> dict[str, Any]:
        """The arguments with their secrets: here they begin to exist, and with the run they end."""
        if self._secrets is None:
            raise NotAllowed("this installation keeps no secrets", code="no_secrets")
        values = {
            name: await self._secrets.use(name, agent=job.agent, task=job.task, tool=call.tool)
            for name in job.secrets
        }
        return filled(call.arguments, values)

    async def _suspended_on(
        self, stream: Stream, call: ToolCall, child: Child, fence: int | None
    ) -> None:
        try:
            await self._surely(stream, SuspendCall(call_id=call.id, wait=child), fence)
        except Refused:
            # The child has already answered, or this task ended: then the child must not go on.
            if stream.task.ended:
                await self._recorder.tell(child.task, Cancel(by="house", reason="parent ended"))

    async def _check(self, stream: Stream, opened: OpenCall, fence: int | None) -> None:
        call, job = opened.call, _job(stream.task, opened.call)
        tool = self._tools(stream.task).get(call.tool)
        found: Outcome | None
        try:
            gone = Unknown(reason=f"the tool {call.tool} is no longer there to check")
            found = await tool.check(call.arguments, opened.before, job) if tool else gone
        except (OSError, HoldfastError) as error:
            found = Unknown(reason=f"it was interrupted and could not be checked: {error}")
        if found is None:
            await self._surely(stream, ClearCall(call_id=call.id), fence)
        else:
            settle = SettleCall(call_id=call.id, outcome=storable.outcome(found))
            await self._surely(stream, settle, fence)

    async def _surely(self, stream: Stream, command: Command, fence: int | None) -> None:
        """Tell something that cannot be done again: keep trying while the store is away."""
        while True:
            try:
                await self._recorder.tell(stream.id, command, fence=fence)
            except Unavailable as failure:
                _log.warning("cannot record yet: %s", failure, extra={"task": stream.id})
                await anyio.sleep(_PAUSE)
            else:
                return


async def _kept(tool: Tool, call: ToolCall, job: Job) -> tuple[tuple[Change, ...], Failed | None]:
    """What the call may change, kept for undoing; or why that could not be kept."""
    try:
        changes = tuple(await tool.before(call.arguments, job))
    except (OSError, HoldfastError) as error:
        return (), Failed(text=storable.text(str(error)), code="not_kept")
    if odd := storable.problem(changes):
        return (), Failed(text=odd, code="not_kept")
    return changes, None


def _misused(tool: Tool, call: ToolCall) -> Failed | None:
    """What the model is told when it names a secret where none is filled in."""
    places = tool.traits.secrets
    if not (place := misplaced(call.arguments, places)):
        return None
    where = f"only in {', '.join(places)}" if places else "nowhere in this tool"
    text = f"a secret cannot be used in {place} of {call.tool}; it is filled in {where}"
    return Failed(text=text, code="secret_not_here")


def _moved(tool: Tool, call: ToolCall, job: Job) -> Failed | None:
    """What the model is told when a link leads a path elsewhere than when it was judged."""
    now = described(call, call.id, {call.tool: tool}, job.workspace)
    if not call.names_paths or (now.target, now.also) == (call.target, call.also):
        return None
    text = f"{call.target} is another place than when this was judged; look, and propose it anew"
    return Failed(text=text, code="other_path")


def _job(task: Task, call: ToolCall) -> Job:
    return Job(
        task=task.id,
        call=call.id,
        workspace=Path(task.request.workspace),
        agent=task.request.agent.name,
        by=task.request.by,
        unattended=task.request.leave.unattended,
    )
