"""Use a tool by itself: a task with one call, so that it passes the gate like every other call."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.error import Invalid, NotFound
from holdfast.core.gate.plan import PLAN
from holdfast.core.ids import TaskId
from holdfast.core.message import Failed, Outcome, Refused, Returned, ToolAnswered, words
from holdfast.core.task import ENDED, TOP_UP, Request, Task
from holdfast.core.view import Question, questions
from holdfast.engine.ask import offered
from holdfast.ports.tools import Tool

from . import tasks
from .house import House

DIRECT = "direct/call"
"""The model of such a task: it proposes exactly this call."""

_OF_AGENTS = frozenset({PLAN, "delegate", TOP_UP})
"""What makes sense in the middle of an agent's own work only, or is the house's own."""

End = Literal["open", "returned", "failed", "refused", "unknown"]


class Use(Struct, frozen=True, kw_only=True):
    """What somebody wants a tool to do; the same `by` and `key` again is the same use."""

    tool: str
    arguments: Mapping[str, Any]
    by: str
    workspace: str = ""
    key: str = ""


class Used(Struct, frozen=True, kw_only=True):
    """What came of it. While it is `open`, it works, or waits for a person's `questions`."""

    task: TaskId
    tool: str
    end: End
    text: str = ""
    questions: tuple[Question, ...] = ()


def tools(house: House) -> Sequence[Tool]:
    """Those that the agent of this house has, by name."""
    found = offered(house.agent, house.tools)
    useful = (one for one in found if one.spec.name not in _OF_AGENTS)
    return sorted(useful, key=lambda one: one.spec.name)


async def use_tool(house: House, use: Use) -> TaskId:
    """Durable when this returns. Raises `NotFound` for a tool that there is not, `Invalid` for
    arguments that it cannot run with, and what `tasks.submit` raises."""
    tool = next((one for one in tools(house) if one.spec.name == use.tool), None)
    if tool is None:
        hint = "holdfast tool list"
        raise NotFound(f"there is no tool {use.tool}", code="tool_not_found", hint=hint)
    if wrong := tool.problem(use.arguments):
        raise Invalid(wrong, code="bad_arguments")
    arguments = json.dumps(dict(use.arguments), ensure_ascii=False)
    request = Request(
        prompt=f"{use.tool} {arguments}",
        agent=replace(house.agent, model=DIRECT, shape=None),
        by=use.by,
        workspace=use.workspace or str(house.home / "workspace"),
        key=use.key,
        # Word for word, as JSON does not have them: whoever asks has said them all.
        said=tuple(_texts(use.arguments)),
    )
    return (await tasks.submit(house, request)).id


async def used(house: House, task_id: TaskId) -> Used:
    """What came of it so far. Raises `NotFound` for a task that is no use of a tool."""
    task = await house.recorder.load(task_id)
    tool, found = _tool(task), _outcome(task)
    if task.status not in ENDED:
        return Used(task=task_id, tool=tool, end="open", questions=questions(task))
    return Used(
        task=task_id,
        tool=tool,
        end=_end(found),
        text=words(found) if found else (task.fault.message if task.fault else "it was cancelled"),
    )


def _tool(task: Task) -> str:
    """Which tool a task is the use of. Raises `NotFound`."""
    tool, call, _ = task.request.prompt.partition(" {")
    if call and task.request.agent.model == DIRECT:
        return tool
    raise NotFound("this task is no use of a tool", code="no_tool_use", hint="holdfast task show")


def _outcome(task: Task) -> Outcome | None:
    answers = [one.outcome for one in task.transcript if isinstance(one, ToolAnswered)]
    return answers[-1] if answers else None


def _end(outcome: Outcome | None) -> End:
    match outcome:
        case Returned():
            return "returned"
        case Failed() | None:
            return "failed"
        case Refused():
            return "refused"
        case _:
            return "unknown"


def _texts(value: Any) -> Iterator[str]:
    """Every text in the arguments."""
    match value:
        case str():
            yield value
        case dict():
            for one in value.values():  # pyright: ignore[reportUnknownVariableType]
                yield from _texts(one)
        case list() | tuple():
            for one in value:  # pyright: ignore[reportUnknownVariableType]
                yield from _texts(one)
        case _:
            pass
