"""What a task is: its state, and the words used to talk about it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct

from .agent import Agent
from .budget import Limits, Reservation, Spent
from .gate.policy import Allow, Ask, Deny, Leave, Rule, Verdict
from .ids import CallId, Instant, SessionId, TaskId, digest
from .message import Change, Entry, File, Outcome, PersonSaid, ToolCall


class Status(StrEnum):
    """What everybody may know about a task."""

    NEW = "NEW"
    QUEUED = "QUEUED"
    CLAIMED = "CLAIMED"
    RUNNING = "RUNNING"
    WAITING = "WAITING"
    RETRY_WAIT = "RETRY_WAIT"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    DEAD_LETTER = "DEAD_LETTER"


ENDED = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELED, Status.DEAD_LETTER})


class Parent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who waits for this task's answer: a call of another task."""

    task: TaskId
    call: CallId


class Lent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool of whoever submits: they run it themselves, and tell the task what it gave."""

    name: str
    description: str = ""
    schema: dict[str, Any] = {}


class Request(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What someone wants done, complete: nothing else decides how the task begins.

    `workspace` is an absolute path. `checks` are command lines that must exit 0 before the task
    may succeed. `until` is a word that the final answer must contain. `deliver` names channels.
    `by` is the authenticated principal. `sources`: what came from outside and may be behind the
    prompt, which is a person's own only if there are none; `said` is what people said above it.
    `history` is the conversation before the prompt, in place of the session's. `own_session`: the
    session is `by`'s alone: the task is not taken in if somebody else has begun it, and is shown
    nothing that others said there. `lent` are tools that the submitter runs.
    """

    prompt: str
    agent: Agent = Agent()
    by: str = ""
    session: SessionId = SessionId("")
    parent: Parent | None = None
    workspace: str = ""
    priority: int = 0
    leave: Leave = Leave()
    checks: tuple[str, ...] = ()
    until: str = ""
    deliver: tuple[str, ...] = ()
    key: str = ""
    files: tuple[File, ...] = ()
    sources: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    history: tuple[Entry, ...] = ()
    own_session: bool = False
    lent: tuple[Lent, ...] = ()


class Human(Struct, frozen=True, kw_only=True, tag="human"):
    """Waiting for a person's answer."""

    question: str


class Child(Struct, frozen=True, kw_only=True, tag="child"):
    """Waiting for another task to end."""

    task: TaskId


class Timer(Struct, frozen=True, kw_only=True, tag="timer"):
    """Waiting for a moment."""

    until: Instant


Wait = Human | Child | Timer


TOP_UP = "top_up"
"""The tool with which the house itself raises a budget, once a person has said yes."""


class CallState(StrEnum):
    """Where an open call is."""

    ASKED = "asked"
    ALLOWED = "allowed"
    STARTED = "started"
    DOUBTED = "doubted"
    WAITING = "waiting"


class OpenCall(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A call without its answer yet."""

    call: ToolCall
    state: CallState
    verdict: Allow | Ask | Deny
    wait: Wait | None = None
    before: tuple[Change, ...] = ()


class JudgedCall(Struct, frozen=True, kw_only=True):
    """A call together with its verdict: they are never stored apart."""

    call: ToolCall
    verdict: Verdict


class Habits(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the task has been doing lately, for noticing that it goes in circles.

    `recent` holds the last 15 (call key, result hash); `good` the successful stable results by
    call key, forgotten at every write; `failures` the last six failed calls in words.
    """

    recent: tuple[tuple[str, str], ...] = ()
    good: dict[str, CallId] = {}
    failure_streak: int = 0
    success_streak: int = 0
    recovering: bool = False
    recovery_failures: int = 0
    idle_steps: int = 0
    seen: frozenset[str] = frozenset()
    nudges: int = 0
    failures: tuple[str, ...] = ()


class Fault(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a try, or the task, failed. `code` is stable and documented."""

    code: str
    message: str
    fingerprint: str = ""


class Delivery(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where one result must still go; `tries` failed so far, next not before `due`."""

    tries: int = 0
    due: Instant = 0
    error: str = ""


class Task(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The state of one task: the fold of its events.

    `heard` is how much of the transcript the model has seen; `ends` how often the task ended.
    `raised` are limits in place of the request's; `context_chars` what the model can read (0: not
    known); `top_ups` how often more money was asked for, and `no_more` that it was refused.
    """

    id: TaskId = TaskId("")
    status: Status = Status.NEW
    request: Request = Request(prompt="")
    submitted_at: Instant = 0
    updated_at: Instant = 0
    transcript: tuple[Entry, ...] = ()
    heard: int = 0
    calls: dict[CallId, OpenCall] = {}
    attempt: int = 0
    fence: int = 0
    owner: str = ""
    policy: str = ""
    queued_at: Instant = 0
    started_at: Instant = 0
    retry_at: Instant = 0
    spent: Spent = Spent()
    reserved: Reservation | None = None
    faults: tuple[Fault, ...] = ()
    grants: tuple[Rule, ...] = ()
    vouched: tuple[str, ...] = ()
    habits: Habits = Habits()
    answer: str | None = None
    proposed: str | None = None
    checking: bool = False
    check_rounds: int = 0
    check_results: tuple[tuple[ToolCall, Outcome], ...] = ()
    crashes: int = 0
    changes: tuple[Change, ...] = ()
    children: tuple[TaskId, ...] = ()
    deliveries: dict[str, Delivery] = {}
    ends: int = 0
    parent_told: bool = False
    raised: Limits | None = None
    top_ups: int = 0
    no_more: bool = False
    context_chars: int = 0
    misshapen: int = 0

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def limits(self) -> Limits:
        return self.raised or self.request.agent.limits

    @property
    def unheard(self) -> bool:
        """True while a person's words wait for the model to see them."""
        return any(isinstance(entry, PersonSaid) for entry in self.transcript[self.heard :])

    @property
    def fault(self) -> Fault | None:
        return self.faults[-1] if self.faults else None


def bound(task: Task, opened: OpenCall | None) -> str:
    """What a yes is bound to: this call, its arguments, the rules it was judged by, who wants it.

    No two questions have the same, so an answer to one is never one to another.
    """
    call = opened.call if opened else None
    return digest([task.id, call and [call.id, call.key], task.policy, task.request.by])
