"""The tool with which a task hands a piece of its work to a child task, once."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import anyio
from msgspec.structs import replace

from holdfast.core.budget import Limits, Spent
from holdfast.core.error import HoldfastError, Refused
from holdfast.core.gate.hearing import hearing
from holdfast.core.gate.presets import PRESETS
from holdfast.core.ids import CallId, TaskId
from holdfast.core.message import Change, EffectClass, Failed, Outcome
from holdfast.core.task import ENDED, Child, Parent, Request, Task, Wait
from holdfast.engine.record import Recorder
from holdfast.ports.journal import Journal, Query
from holdfast.ports.model import ToolSpec
from holdfast.ports.tools import Job, Traits

Submit = Callable[[TaskId, Request], Awaitable[Task]]
MAX_CHILDREN = 4
MAX_DEPTH = 3
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "task": {"type": "string", "description": "What the helper should do."},
        "ceiling": {
            "type": "string",
            "enum": list(PRESETS),
            "description": "The most it may do; it never may more than you.",
        },
    },
    "required": ["task"],
    "additionalProperties": False,
}


class Delegate:
    """Submits a child and waits for its answer. Running it twice for one call is one child.

    A child may use a quarter of what its parent has left, and what it uses counts for the parent.
    """

    def __init__(self, recorder: Recorder, journal: Journal, submit: Submit) -> None:
        self._recorder, self._journal, self._submit = recorder, journal, submit
        self._one_at_a_time = anyio.Lock()

    @property
    def spec(self) -> ToolSpec:
        text = "Hand a separate piece of work to a helper with the same tools; returns its answer."
        return ToolSpec(name="delegate", description=text, schema=_SCHEMA)

    @property
    def traits(self) -> Traits:
        return Traits(effect=EffectClass.READS, target="task")

    def problem(self, arguments: Mapping[str, Any]) -> str:
        task, ceiling = arguments.get("task"), arguments.get("ceiling", "ask")
        if not set(arguments) <= {"task", "ceiling"}:
            return "delegate takes task and, if it shall do less than you may, ceiling"
        if not isinstance(task, str) or not task.strip():
            return "delegate takes task, a text that is not empty"
        return "" if ceiling in PRESETS else f"ceiling is one of {', '.join(PRESETS)}"

    async def before(self, arguments: Mapping[str, Any], job: Job) -> Sequence[Change]:
        return ()

    async def check(
        self, arguments: Mapping[str, Any], before: Sequence[Change], job: Job
    ) -> Outcome | None:
        return None

    async def run(self, arguments: Mapping[str, Any], job: Job) -> Outcome | Wait:
        child = child_id(job.task, job.call)
        async with self._one_at_a_time:
            parent = await self._recorder.load(job.task)
            if problem := await self._too_many(parent, child):
                return Failed(text=problem, code="too_many_helpers")
            try:
                await self._submit(child, _request(parent, job, arguments))
            except Refused:
                pass  # it is there already: this is the same call, run again after a crash
            except HoldfastError as error:
                return Failed(text=str(error), code=error.code)
        return Child(task=child)

    async def _too_many(self, parent: Task, child: TaskId) -> str:
        depth, above = 1, parent.request.parent
        while above is not None and depth <= MAX_DEPTH:
            above = (await self._recorder.load(above.task)).request.parent
            depth += 1
        if depth > MAX_DEPTH:
            return f"helpers may not be nested deeper than {MAX_DEPTH}"
        rows = await self._journal.query(Query(parent=parent.id, limit=100))
        others = [row for row in rows if row.status not in ENDED and row.id != child]
        if len(others) >= MAX_CHILDREN:
            return f"{MAX_CHILDREN} helpers are at work already; wait for one to finish"
        return ""


def child_id(task: TaskId, call: CallId) -> TaskId:
    """The id of the child for one call: always the same, and it sorts beside its parent."""
    mark = hashlib.sha256(f"{task}/{call}".encode()).hexdigest()[:19]
    head = task.removeprefix("task_")[:13]
    return TaskId(f"task_{head}{mark}")


def _request(parent: Task, job: Job, arguments: Mapping[str, Any]) -> Request:
    """What the child is asked: under the leave of its parent, or under less."""
    leave, prompt = parent.request.leave, str(arguments["task"])
    if ceiling := arguments.get("ceiling"):
        leave = replace(leave, ceilings=(*leave.ceilings, str(ceiling)))
    agent = replace(parent.request.agent, limits=_share(parent.limits, parent.spent))
    heard = hearing(parent)
    return replace(
        parent.request,
        prompt=prompt,
        sources=tuple(sorted(heard.influences)),
        said=heard.said,
        agent=agent,
        leave=leave,
        parent=Parent(task=job.task, call=job.call),
        session="",
        checks=(),
        until="",
        deliver=(),
        key="",
        priority=parent.request.priority + 1,
    )


def _share(limits: Limits, spent: Spent) -> Limits:
    tokens, cost = limits.tokens, limits.cost
    return replace(
        limits,
        tokens=None if tokens is None else max(0, (tokens - spent.tokens) // MAX_CHILDREN),
        cost=None if cost is None else max(0, (cost - spent.cost) // MAX_CHILDREN),
        steps=max(1, (limits.steps - spent.steps) // 2),
    )
