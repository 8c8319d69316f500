"""Tools that whoever submits a task runs: lent to it, called by its agent, answered by them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.command import SettleCall
from holdfast.core.error import Invalid, NotFound
from holdfast.core.ids import CallId, SessionId, TaskId
from holdfast.core.message import Failed, Returned
from holdfast.core.task import CallState, Lent, Status, Task
from holdfast.core.view import questions
from holdfast.ports.journal import Query

from . import tasks
from .answering import is_lent
from .house import House

PREFIX = "client_"
"""What their names begin with here, so that no rule about a tool of the house meets one."""

SOURCE = "client"
MOST, LONGEST = 100, 60_000
_NAME = re.compile(r"[A-Za-z0-9_-]{1,57}")


def lend(house: House, tools: Sequence[Lent]) -> tuple[Lent, ...]:
    """These tools as a task has them. Raises `Invalid` for what cannot be lent."""
    if len(tools) > MOST:
        raise Invalid(f"tools: {len(tools)} of them, the limit is {MOST}", code="invalid_tool")
    found: dict[str, Lent] = {}
    for tool in tools:
        _check(tool)
        name = f"{PREFIX}{tool.name}"
        if name in found or house.tools.get(name) is not None:
            raise Invalid(f"tools: there are two called {tool.name}", code="invalid_tool")
        found[name] = replace(tool, name=name)
    return tuple(found.values())


def _check(tool: Lent) -> None:
    if not _NAME.fullmatch(tool.name):
        what = f"tools: {tool.name[:80]!r} is no name: 1 to 57 letters, digits, '_' and '-'"
        raise Invalid(what, code="invalid_tool")
    try:
        schema = msgspec.convert(tool.schema, _Schema)
    except msgspec.ValidationError:
        schema = _Schema(type="")
    if schema.type != "object":
        what = f"tools: the parameters of {tool.name} are no JSON Schema of an object"
        raise Invalid(what, code="invalid_tool")
    if (size := len(msgspec.json.encode(tool))) > LONGEST:
        what = f"tools: {tool.name} takes {size} bytes, the limit is {LONGEST}"
        raise Invalid(what, code="invalid_tool")


def plain(tool: str) -> str:
    """The name of a tool as its owner has it."""
    return tool.removeprefix(PREFIX)


def owed(task: Task) -> tuple[CallId, ...]:
    """The calls that its submitter has still to answer."""
    return tuple(
        one.call.id
        for one in task.calls.values()
        if one.state is CallState.WAITING and is_lent(task, one.call.tool)
    )


class _Schema(Struct, frozen=True):
    """As much of a JSON Schema as is looked at here."""

    type: str = "object"
    properties: dict[str, Any] = {}
    required: tuple[str, ...] = ()


class Gave(Struct, frozen=True, kw_only=True):
    """What a lent tool gave, or why it failed."""

    call: CallId
    text: str
    failed: bool = False


async def tell(house: House, task_id: TaskId, gave: Gave, *, by: str) -> None:
    """What came of a call. Raises `NotFound` for one that nobody waits for, or of another's."""
    task = await house.recorder.load(task_id)
    if task.request.by != by or gave.call not in owed(task):
        what = f"the call {gave.call[:100]} does not wait for its client"
        raise NotFound(what, code="call_not_open")
    text = gave.text or "(nothing)"
    outcome = Failed(text=text, code="client_failed") if gave.failed else Returned(text=text)
    settle = SettleCall(call_id=gave.call, outcome=outcome, sources=(SOURCE,), by=by)
    await house.recorder.tell(task_id, settle)


async def abandon(house: House, session: SessionId, *, by: str, but: str) -> None:
    """Stop what waits in a conversation for nothing but its client, which has gone on without it;
    not the task with the key `but`."""
    waiting = Query(status=(Status.WAITING,), session=session, by=by)
    for row in await house.journal.query(waiting):
        task = await house.recorder.load(row.id)
        if row.key != but and owed(task) and len(questions(task)) == len(owed(task)):
            await tasks.cancel(house, row.id, by=by, reason="the client went on without answering")
