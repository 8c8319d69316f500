"""Waits for a task for a host: says what happens, and puts questions to the person there."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import anyio
import msgspec
from anyio.abc import TaskGroup

from holdfast.core.event import (
    AttemptFailed,
    CallSettled,
    CallStarted,
    ChecksFailed,
    Event,
    Recovered,
    Replied,
    Started,
    TopUpRequested,
)
from holdfast.core.ids import TaskId
from holdfast.core.message import Returned, ToolCall, words
from holdfast.core.task import ENDED, Status
from holdfast.core.view import Question, Summary
from holdfast.ports.model import Delta
from holdfast.runtime import tasks
from holdfast.runtime.house import House

from .offer import Asked
from .questions import answered, form

_ROOM = 300


class Following:
    """One wait. Ends with the task, with its time, or with a question that nobody here answers."""

    def __init__(self, house: House, asked: Asked, task: TaskId) -> None:
        self._house, self._asked, self._task = house, asked, task
        self._calls: dict[str, ToolCall] = {}
        self._begun = house.clock.now()
        self._put: dict[str, anyio.CancelScope] = {}
        self._told = 0.0
        self.questions: tuple[Question, ...] = ()

    async def until(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as group:
                await self._watch(group)
                group.cancel_scope.cancel()

    def call(self, name: str) -> ToolCall | None:
        return self._calls.get(name)

    async def _watch(self, group: TaskGroup) -> None:
        async with aclosing(tasks.watch(self._house, self._task)) as items:
            async for item in items:
                if isinstance(item, Delta):
                    await self._note(item.note)
                    continue
                self._learn(item.event)
                if item.at >= self._begun:
                    await self._tell(item.seq, self._phrase(item.event), item.event)
                row = await tasks.show(self._house, self._task)
                if row.status in ENDED:
                    return
                if self._asks_here(row) and not self._put_to_person(row, group):
                    return

    def _asks_here(self, row: Summary) -> bool:
        """Once everything that led to the question has been read."""
        self.questions = row.questions
        open_ones = {question.call for question in row.questions}
        for call in [call for call in self._put if call not in open_ones]:
            self._put.pop(call).cancel()  # answered elsewhere
        return row.status is Status.WAITING and open_ones <= self._calls.keys()

    def _put_to_person(self, row: Summary, group: TaskGroup) -> bool:
        """False where nobody can be asked in the middle of a request."""
        if self._asked.modern or not self._asked.can_ask:
            return not row.questions
        for question in row.questions:
            if question.call not in self._put:
                self._put[question.call] = scope = anyio.CancelScope()
                group.start_soon(self._ask, question, scope)
        return True

    async def _ask(self, question: Question, scope: anyio.CancelScope) -> None:
        with scope:
            asking = form(self._task, question, self._calls.get(question.call))
            session, request = self._asked.context.session, self._asked.context.request_id
            said = await session.elicit_form(asking.message, asking.requested_schema, request)
            self._put[question.call] = anyio.CancelScope()  # what follows is not cut short
            await answered(self._asked.caller, self._task, question, said)

    async def _note(self, note: str) -> None:
        if note:
            self._told += 0.001
            await self._asked.progress(self._told, note[:_ROOM])

    async def _tell(self, seq: int, phrase: str, event: Event) -> None:
        if phrase:
            self._told = max(float(seq), self._told + 0.001)
            await self._asked.progress(self._told, phrase[:_ROOM])
            bad = isinstance(event, AttemptFailed | ChecksFailed)
            await self._asked.log("warning" if bad else "info", f"{self._task}: {phrase[:_ROOM]}")

    def _learn(self, event: Event) -> None:
        if isinstance(event, Replied | TopUpRequested):
            self._calls.update({one.call.id: one.call for one in event.judged})

    def _phrase(self, event: Event) -> str:
        """What a person would want to hear of it, in a line; empty for the rest."""
        match event:
            case Started():
                return "started"
            case Replied():
                return _replied(event)
            case CallStarted():
                return f"running {self._name(event.call_id)}"
            case CallSettled():
                return self._settled(event)
            case ChecksFailed():
                return f"a check failed: {_line(event.report)}"
            case AttemptFailed():
                return f"failed, trying again: {_line(event.fault.message)}"
            case Recovered():
                return f"going on after a break: {_line(event.reason)}"
            case _:
                return ""

    def _settled(self, event: CallSettled) -> str:
        kind = "done" if isinstance(event.outcome, Returned) else type(event.outcome).__name__
        said = "" if kind == "done" else f": {_line(words(event.outcome))}"
        return f"{self._name(event.call_id)}: {kind.lower()}{said}"

    def _name(self, call: str) -> str:
        found = self._calls.get(call)
        return _line(f"{found.tool} {found.target}") if found else call


def _replied(event: Replied) -> str:
    asks = [_line(f"{one.call.tool} {one.call.target}") for one in event.judged]
    return ", ".join(f"wants {one}" for one in asks) or _line(event.said.text)


def _line(text: str) -> str:
    return " ".join(text.split())[:_ROOM]


def row_of(summary: Summary) -> dict[str, Any]:
    return msgspec.to_builtins(summary)
