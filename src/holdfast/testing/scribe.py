"""A tiny engine for tests of journals: decides, folds and appends, one command at a time."""

from __future__ import annotations

from typing import Any

from holdfast.core.agent import Agent
from holdfast.core.budget import Limits
from holdfast.core.command import Claim, Command, FailAttempt, HearReply, Start, Submit
from holdfast.core.decide import decide
from holdfast.core.event import Event
from holdfast.core.evolve import fold
from holdfast.core.gate.policy import Rules
from holdfast.core.gate.presets import PRESETS
from holdfast.core.ids import CallId, Instant, SessionId, TaskId
from holdfast.core.message import Reply, ToolCall
from holdfast.core.task import Request, Task
from holdfast.core.view import summary
from holdfast.ports.journal import Cursor, Journal

START: Instant = 1_700_000_000_000
"""When the tests take place."""

MINUTE = 60_000


def name(number: int) -> TaskId:
    return TaskId(f"task_{number:032x}")


class Scribe:
    """Writes tasks into a journal as an engine would, from its own memory of them."""

    def __init__(self, journal: Journal, rules: Rules | None = None) -> None:
        self.journal, self.rules = journal, rules or Rules(layers=(PRESETS["ask"],))
        self.tasks: dict[TaskId, tuple[Task, Cursor]] = {}

    async def submit(self, number: int, *, at: Instant = START, **request: Any) -> TaskId:
        """A new queued task. `agent` and `session` may be given as plain names."""
        agent, session = request.pop("agent", "default"), request.pop("session", "")
        wanted = Request(
            prompt=request.pop("prompt", f"do {number}"),
            agent=Agent(name=agent, limits=Limits(attempts=2)),
            session=SessionId(session),
            **request,
        )
        await self.tell(name(number), Submit(id=name(number), request=wanted), at=at)
        return name(number)

    async def begin(self, number: int, *, owner: str = "a", at: Instant = START) -> TaskId:
        """A new task that `owner` works on."""
        task = await self.submit(number, at=at)
        await self.tell(task, Claim(owner=owner), Start(), at=at)
        return task

    async def finish(self, number: int, *, at: Instant = START, **request: Any) -> TaskId:
        """A new task that has succeeded."""
        task = await self.submit(number, at=at, **request)
        await self.tell(task, Claim(owner="a"), Start(), at=at)
        answer = Reply(text=request.get("prompt", "done"))
        await self.tell(task, HearReply(reply=answer, saw=1), at=at)
        return task

    async def pause(self, number: int, *, at: Instant = START, **request: Any) -> TaskId:
        """A new task whose first try failed; the next one begins later."""
        task = await self.submit(number, at=at, **request)
        fail = FailAttempt(code="down", message="no answer")
        await self.tell(task, Claim(owner="a"), Start(), fail, at=at)
        return task

    async def ask(self, number: int, *, at: Instant = START, **request: Any) -> TaskId:
        """A new task with a question to a person."""
        task = await self.submit(number, at=at, **request)
        call = ToolCall(id=CallId("c"), tool="write", arguments={"path": "x"}, target="x")
        reply = HearReply(reply=Reply(calls=(call,)), saw=1)
        await self.tell(task, Claim(owner="a"), Start(), reply, at=at)
        return task

    async def load(self, task: TaskId) -> Task:
        """Learn from the journal what others have written."""
        past = await self.journal.read(task)
        state = fold(recorded.event for recorded in past)
        self.tasks[task] = (state, Cursor(version=past[-1].seq, head=past[-1].link))
        return state

    async def tell(
        self, task: TaskId, *commands: Command, at: Instant = START, fence: int | None = None
    ) -> Task:
        """All that the commands make becomes durable together."""
        state, cursor = self.tasks.get(task, (Task(), Cursor()))
        events: tuple[Event, ...] = ()
        for command in commands:
            fresh = decide(state, command, rules=self.rules, now=at)
            state, events = fold(fresh, state), events + fresh
        row = summary(state)
        cursor = await self.journal.append(task, cursor, events, row, at=at, fence=fence)
        self.tasks[task] = (state, cursor)
        return state
