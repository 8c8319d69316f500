"""Sentences about a task: given what was, when something is asked, then this happened.

    story = running(prompt="pay the bill").replies(pay("p1"))
    story.when(Refuse(call_id=CallId("p1"), by="ann", reason="too much"))
    story.then(CallSettled(...))

A `Story` holds the task and all that happened to it; every step checks that the fold of the
events is the task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Self, TypeVar

import pytest

from holdfast.core import event as e
from holdfast.core.agent import Agent
from holdfast.core.budget import Limits, Reservation
from holdfast.core.command import (
    BeginAsk,
    Cancel,
    Claim,
    Command,
    FailAttempt,
    HearReply,
    Release,
    SettleCall,
    Start,
    StartCall,
    Submit,
    SuspendCall,
)
from holdfast.core.context import prompt
from holdfast.core.decide import decide
from holdfast.core.effect import Effect, pending
from holdfast.core.error import Refused
from holdfast.core.evolve import fold
from holdfast.core.gate.judge import Standing, decided
from holdfast.core.gate.matter import Asking
from holdfast.core.gate.policy import Allow, Leave, Rule, Rules, Say, Verdict
from holdfast.core.gate.presets import PRESETS
from holdfast.core.ids import CallId, Instant, TaskId
from holdfast.core.message import (
    EffectClass,
    Outcome,
    Reply,
    Returned,
    ToolAnswered,
    ToolCall,
    Usage,
)
from holdfast.core.task import (
    CallState,
    Child,
    Human,
    OpenCall,
    Request,
    Status,
    Task,
    Timer,
    Wait,
    bound,
)
from holdfast.core.view import questions

NOW: Instant = 1_800_000_000_000
TASK = TaskId("task_1")
HOUR = 3_600_000
FREE = Usage(cost=0)
USUAL = Limits()

HOUSE_RULES = Rules(
    layers=(
        (
            Rule(say=Say.ASK, tool="pay"),
            Rule(say=Say.DENY, tool="bomb", reason="no bombs"),
        ),
        PRESETS["open"],
    ),
    version="7",
)
"""`pay` asks, `bomb` is denied, all else is allowed."""

Kind = TypeVar("Kind", bound=e.Event)


class Story:
    """One task and what happened to it. `events` are those of the latest command."""

    def __init__(self, rules: Rules = HOUSE_RULES) -> None:
        self.task = Task()
        self.now = NOW
        self.rules = rules
        self.history: list[e.Event] = []
        self.times: list[Instant] = []
        self.events: tuple[e.Event, ...] = ()

    def when(self, *commands: Command, after: int = 0) -> Self:
        """Each command in turn, `after` milliseconds later."""
        self.now += after
        for command in commands:
            self.events = decide(self.task, command, rules=self.rules, now=self.now)
            self.task = fold(self.events, self.task)
            self.history += self.events
            self.times += [self.now] * len(self.events)
        return self

    def then(self, *events: e.Event) -> Self:
        assert self.events == events
        return self

    def refuses(self, command: Command, code: str) -> Self:
        """The command is refused with this code, and nothing changes."""
        before = self.task
        with pytest.raises(Refused) as refusal:
            decide(self.task, command, rules=self.rules, now=self.now)
        assert refusal.value.code == code
        assert self.task == before
        return self

    def replies(
        self,
        *calls: ToolCall,
        text: str = "",
        usage: Usage = FREE,
        finish: str = "stop",
        saw: int | None = None,
    ) -> Self:
        """The model answers, having seen everything that was said (or `saw` entries)."""
        reply = Reply(text=text, calls=calls, usage=usage, finish=finish)
        return self.when(HearReply(reply=reply, saw=self.shown if saw is None else saw))

    def starts(self, *call_ids: str) -> Self:
        return self.when(*(StartCall(call_id=CallId(name)) for name in call_ids))

    def settles(self, call_id: str, outcome: Outcome | None = None) -> Self:
        outcome = outcome or Returned(text=f"{call_id} done")
        return self.when(SettleCall(call_id=CallId(call_id), outcome=outcome))

    def runs(self, call_id: str, outcome: Outcome | None = None) -> Self:
        return self.starts(call_id).settles(call_id, outcome)

    def suspends(self, call_id: str, wait: Wait) -> Self:
        return self.starts(call_id).when(SuspendCall(call_id=CallId(call_id), wait=wait))

    def happened(self, kind: type[Kind]) -> list[Kind]:
        """All events of this kind so far."""
        return [event for event in self.history if isinstance(event, kind)]

    @property
    def question(self) -> str:
        """What a person is asked, if anything."""
        return questions(self.task)[0].question

    def answer(self, call_id: str) -> Outcome:
        """The one answer to a call."""
        (settled,) = [s for s in self.happened(e.CallSettled) if s.call_id == call_id]
        return settled.outcome

    def note(self, call_id: str) -> str:
        (said,) = [
            entry
            for entry in self.task.transcript
            if isinstance(entry, ToolAnswered) and entry.call_id == call_id
        ]
        return said.note

    @property
    def shown(self) -> int:
        return prompt(self.task).saw

    @property
    def status(self) -> Status:
        return self.task.status

    @property
    def due(self) -> tuple[Effect, ...]:
        return pending(self.task, self.now)

    @property
    def fault(self) -> str:
        return self.task.fault.code if self.task.fault else ""


def request(prompt: str = "do it", *, limits: Limits = USUAL, **fields: Any) -> Request:
    return Request(prompt=prompt, agent=Agent(limits=limits), by="ann", **fields)


def queued(
    prompt: str = "do it", *, limits: Limits = USUAL, rules: Rules = HOUSE_RULES, **fields: Any
) -> Story:
    wanted = request(prompt, limits=limits, **fields)
    return Story(rules).when(Submit(id=TASK, request=wanted))


def running(
    prompt: str = "do it", *, limits: Limits = USUAL, rules: Rules = HOUSE_RULES, **fields: Any
) -> Story:
    return again(queued(prompt, limits=limits, rules=rules, **fields))


def again(story: Story) -> Story:
    """A worker takes the queued task and begins."""
    return story.when(Claim(owner="w1"), Start())


def call(
    name: str,
    tool: str,
    effect: EffectClass = EffectClass.WRITES,
    *,
    target: str = "",
    arguments: dict[str, Any] | None = None,
    **fields: Any,
) -> ToolCall:
    if arguments is None:
        arguments = {"target": target}
    return ToolCall(
        id=CallId(name), tool=tool, arguments=arguments, effect=effect, target=target, **fields
    )


def read(name: str, path: str = "a.txt", **fields: Any) -> ToolCall:
    return call(name, "read", EffectClass.READS, target=path, stable=True, **fields)


def write(name: str, path: str = "a.txt", **fields: Any) -> ToolCall:
    return call(name, "write", target=path, **fields)


def shell(name: str, line: str = "make", **fields: Any) -> ToolCall:
    return call(name, "exec", target=line, **fields)


def pay(name: str, whom: str = "bob", **fields: Any) -> ToolCall:
    """A call that asks under `HOUSE_RULES`."""
    return call(name, "pay", target=whom, **fields)


def busy() -> Story:
    """A running task with one call in each state; see the names."""
    story = running().replies(
        read("allowed"),
        pay("asked"),
        call("human", "ask_person"),
        call("child", "delegate", EffectClass.READS),
        call("timer", "sleep", EffectClass.READS),
        write("started"),
        write("doubted", checkable=True),
    )
    story.suspends("human", Human(question="which one?"))
    story.suspends("child", Child(task=TaskId("task_2")))
    story.suspends("timer", Timer(until=NOW + HOUR))
    return story.starts("started", "doubted")


def failing(code: str = "E", message: str = "it broke", **fields: Any) -> FailAttempt:
    return FailAttempt(code=code, message=message, **fields)


def in_status(status: Status) -> Story:
    """A task in this status, with as many open calls as the status allows."""
    over: dict[str, Any] = {"deliver": ("mail",)}
    stories: dict[Status, Callable[[], Story]] = {
        Status.NEW: Story,
        Status.QUEUED: queued,
        Status.CLAIMED: lambda: queued().when(Claim(owner="w1")),
        Status.RUNNING: busy,
        Status.WAITING: lambda: running().replies(pay("asked")).when(Release()),
        Status.RETRY_WAIT: lambda: busy().when(failing()),
        Status.SUCCEEDED: lambda: running(**over).replies(text="done"),
        Status.FAILED: lambda: running(**over).when(failing(retryable=False)),
        Status.CANCELED: lambda: running(**over).when(Cancel(by="ann")),
        Status.DEAD_LETTER: lambda: running(limits=Limits(attempts=1), **over).when(failing()),
    }
    return stories[status]()


def ask(tokens: int = 0, cost: int | None = 0) -> BeginAsk:
    return BeginAsk(reserve=Reservation(tokens=tokens, cost=cost))


def seal(call: ToolCall) -> str:
    """What a yes to this call of the usual task at work is bound to."""
    opened = OpenCall(call=call, state=CallState.ASKED, verdict=Allow(rule=""))
    return bound(running().task, opened)


def judge(
    call: ToolCall,
    layers: Iterable[tuple[Rule, ...]],
    *,
    unattended: bool = False,
    until: Instant = 0,
    asking: Asking | None = None,
) -> Verdict:
    """What these layers alone say of a call; what they ask is open until `until`."""
    standing = Standing(leave=Leave(unattended=unattended), asking=asking or Asking(at=until))
    return decided(call, standing, Rules(layers=tuple(layers), approval_seconds=0))
