"""A run that goes on with a task: the answers of people to it, and of the page's own tools."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any, cast

import msgspec

from holdfast.core import event as e
from holdfast.core.error import Invalid, NotFound, Refused
from holdfast.core.ids import CallId, TaskId
from holdfast.core.message import ModelSaid
from holdfast.core.task import Task
from holdfast.runtime import lent, tasks
from holdfast.runtime.answering import is_lent
from holdfast.runtime.house import House
from holdfast.runtime.lent import Gave

from .words import Message, Resume, Run, text_of

Do = Callable[[], Awaitable[None]]


def call_name(task: str, call: str) -> str:
    """A call, as it is named in a thread, where there are many tasks."""
    return f"{task}.{call}"


async def goes_on(house: House, run: Run, by: str) -> tuple[TaskId, int] | None:
    """The task that a run goes on with, and after how many events; None for one that begins.

    An answer that the task has already is one: what was lost on its way may be sent again.
    """
    going = _Going(house)
    told, words = _last_told(run.messages)
    if len(told) + len(run.resume) > lent.MOST:
        raise Invalid(f"more than {lent.MOST} answers in one run", code="invalid_run")
    for answer in run.resume:
        named, _, rest = answer.interrupt_id.partition("/")
        digest, _, call = rest.partition("/")
        await _check_mine(house, TaskId(named), by)
        do = partial(_answered, house, TaskId(named), (call, digest), answer, by)
        await going.settle(TaskId(named), call, do, yes=True)
    for message in told:
        if (found := await _lent(house, message, by)) is not None:
            gave = Gave(call=found[1], text=message.error or text_of(message))
            gave = msgspec.structs.replace(gave, failed=bool(message.error))
            do = partial(lent.tell, house, found[0], gave, by=by)
            await going.settle(*found, do)
    if going.task and words:
        await going.say(words, by)
    if going.task:
        return going.task, going.after
    if told and not words:
        what = "the last message answers no call of a tool of the page in this thread"
        raise NotFound(what, code="call_not_open", hint="begin a run with what the user says")
    return None


class _Going:
    """One task, from the first answer on that this run has for it."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.task, self.after, self._new = TaskId(""), 0, False

    async def settle(self, task: TaskId, call: str, do: Do, *, yes: bool = False) -> None:
        """A yes to a call is an answer to its question, and none for the call itself."""
        if self.task and task != self.task:
            raise Invalid("the answers are to more than one task", code="invalid_run")
        self.task = task
        events = await self._house.journal.read(task)
        there = next((one.seq for one in events if _answers(one.event, call, yes=yes)), 0)
        before = there - 1 if there else len(events)
        self.after = min(self.after or before, before)
        if not there:
            self._new = True
            await do()

    async def say(self, words: str, by: str) -> None:
        """What a user said beside the answers; once."""
        events = await self._house.journal.read(self.task, self.after)
        said = (one.event.text for one in events if isinstance(one.event, e.Said))
        if words not in said:
            await tasks.say(self._house, self.task, words, by=by)


def _last_told(messages: tuple[dict[str, Any], ...]) -> tuple[list[Message], str]:
    """What the page's tools gave since the agent spoke last, and what its user said after it."""
    told: list[Message] = []
    words = ""
    for message in _since_the_agent(messages):
        if message.role == "tool":
            told.append(message)
        elif message.role == "user" and told:
            words = text_of(message)
    return told, words


def _since_the_agent(messages: tuple[dict[str, Any], ...]) -> Iterator[Message]:
    last = 0
    for place, message in enumerate(messages, 1):
        if message.get("role") not in ("tool", "user"):
            last = place
    for told in messages[last:]:
        try:
            yield msgspec.convert(told, Message)
        except msgspec.ValidationError as error:
            raise Invalid(f"the last messages: {error}", code="invalid_run") from None


async def _lent(house: House, message: Message, by: str) -> tuple[TaskId, CallId] | None:
    """The call that a message answers, if it is one of a tool of the page."""
    named, _, call = message.tool_call_id.rpartition(".")
    row = await house.journal.summary(TaskId(named)) if named else None
    if row is None or row.by != by:
        return None
    task = await house.recorder.load(row.id)
    made = (one for said in _turns(task) for one in said.calls)
    tool = next((one.tool for one in made if one.id == call), "")
    return (row.id, CallId(call)) if is_lent(task, tool) else None


def _turns(task: Task) -> list[ModelSaid]:
    return [entry for entry in task.transcript if isinstance(entry, ModelSaid)]


async def _check_mine(house: House, task: TaskId, by: str) -> None:
    row = await house.journal.summary(task)
    if row is None or row.by != by:
        raise NotFound(f"there is no task {task[:100]}", code="task_not_found")


def _answers(event: e.Event, call: str, *, yes: bool) -> bool:
    kinds = e.CallApproved | e.CallSettled if yes else e.CallSettled
    return isinstance(event, kinds) and event.call_id == call


async def _answered(
    house: House, task: TaskId, which: tuple[str, str], answer: Resume, by: str
) -> None:
    call, digest = which
    asked = {one.call: one for one in await tasks.asked(house, task)}
    payload: Any = answer.payload
    told = cast("dict[str, Any]", payload) if isinstance(payload, dict) else {}
    question = asked.get(CallId(call))
    if question is None:
        raise Refused(f"the call {call[:100]} does not wait for anybody", code="call_not_asked")
    if answer.status == "cancelled":
        await tasks.refuse(house, task, call, by=by, reason="the page took it back")
    elif question.free_text:
        text = payload if isinstance(payload, str) else str(told.get("text", ""))
        await tasks.say(house, task, text, by=by)
    elif told.get("approved") is True:
        yes = tasks.Yes(call=CallId(call), digest=digest, by=by)
        await tasks.approve(house, task, yes)
    else:
        await tasks.refuse(house, task, call, by=by, reason=str(told.get("reason", "")))
