"""decide(task, command) -> events: which commands make sense when, and who decides each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from .command import (
    Approve,
    BeginAsk,
    Cancel,
    Claim,
    ClearCall,
    Command,
    ConfirmDelivery,
    CutContext,
    FailAttempt,
    HearReply,
    Recover,
    Refuse,
    Release,
    ReleaseAsk,
    RequestTopUp,
    ResumeAsking,
    Retry,
    Say,
    SettleCall,
    Start,
    StartCall,
    StopChild,
    Submit,
    SuspendCall,
    Tick,
)
from .error import Refused
from .event import AskReleased, ContextCut, Event
from .gate.policy import Rules
from .ids import Instant
from .rules import calls, life, money, turns
from .task import Status, Task

_OPEN = frozenset({Say, Cancel, Tick, Approve, Refuse, SettleCall, Recover, ResumeAsking})
_OVER = frozenset({ConfirmDelivery, StopChild})

ACCEPTS: Mapping[Status, frozenset[type[Command]]] = {
    Status.NEW: frozenset({Submit}),
    Status.QUEUED: _OPEN | {Claim},
    Status.CLAIMED: _OPEN | {Start},
    Status.RUNNING: _OPEN
    | {BeginAsk, ReleaseAsk, RequestTopUp, CutContext, HearReply, FailAttempt}
    | {Release, StartCall, SuspendCall, ClearCall},
    Status.WAITING: _OPEN,
    Status.RETRY_WAIT: _OPEN,
    Status.SUCCEEDED: _OVER,
    Status.FAILED: _OVER | {Retry},
    Status.CANCELED: _OVER,
    Status.DEAD_LETTER: _OVER,
}
"""Which commands make sense in which status; everything else is refused before it is looked at."""


def decide(task: Task, command: Command, *, rules: Rules, now: Instant) -> tuple[Event, ...]:
    """The events that `command` makes of `task`. Raises `Refused` when it makes no sense now."""
    if type(command) not in ACCEPTS[task.status]:
        verb = type(command).__name__
        raise Refused(
            f"{verb} makes no sense: the task is {task.status}", code=f"task_{task.status.lower()}"
        )
    return _decided(task, command, rules, now)


def _decided(task: Task, command: Command, rules: Rules, now: Instant) -> tuple[Event, ...]:  # noqa: C901, PLR0912 - one case per command; the type checker proves it whole
    match command:
        case Submit():
            return life.submitted(command, now)
        case Claim():
            return life.claimed(task, command)
        case Start():
            return life.started(task, command, rules, now)
        case Release():
            return life.released(task, now)
        case Recover():
            return life.recovered(task, command, now)
        case FailAttempt():
            return life.attempt_failed(task, command, now)
        case Tick():
            return life.ticked(task, now)
        case Cancel():
            return life.canceled(task, command, now)
        case Retry():
            return life.retried(command, now)
        case StopChild():
            return life.child_stopped(task, command)
        case ConfirmDelivery():
            return life.delivery_confirmed(task, command, now)
        case BeginAsk():
            return money.ask_begun(task, command, rules, now)
        case ReleaseAsk():
            return () if task.reserved is None else (AskReleased(),)
        case RequestTopUp():
            return money.requested(task, command, rules, now)
        case ResumeAsking():
            return money.resumed(task, command, now)
        case CutContext():
            return (ContextCut(chars=command.chars, tried=command.tried),)
        case HearReply():
            return turns.heard(task, command, rules, now)
        case Say():
            return turns.said(task, command, now)
        case StartCall():
            return calls.started(task, command)
        case SettleCall():
            return calls.settled(task, command, now)
        case SuspendCall():
            return calls.suspended(task, command)
        case ClearCall():
            return calls.cleared(task, command)
        case Approve():
            return calls.approved(task, command, rules, now)
        case Refuse():
            return calls.refused(task, command, now)
        case _:  # pragma: no cover - the type checker proves that nothing is left
            assert_never(command)
