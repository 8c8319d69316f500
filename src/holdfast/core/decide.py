"""decide(task, command) -> events: which commands make sense when, and who decides each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from . import command as c
from .error import Refused
from .event import AskReleased, ContextCut, Event
from .gate.policy import Rules
from .ids import Instant
from .rules import calls, life, money, turns
from .task import Status, Task

_OPEN = frozenset(
    {c.Say, c.Cancel, c.Tick, c.Approve, c.Refuse, c.SettleCall, c.Recover, c.ResumeAsking}
)
_OVER = frozenset({c.ConfirmDelivery, c.StopChild})

ACCEPTS: Mapping[Status, frozenset[type[c.Command]]] = {
    Status.NEW: frozenset({c.Submit}),
    Status.QUEUED: _OPEN | {c.Claim},
    Status.CLAIMED: _OPEN | {c.Start},
    Status.RUNNING: _OPEN
    | {c.BeginAsk, c.ReleaseAsk, c.RequestTopUp, c.CutContext, c.HearReply, c.FailAttempt}
    | {c.Release, c.StartCall, c.SuspendCall, c.ClearCall},
    Status.WAITING: _OPEN,
    Status.RETRY_WAIT: _OPEN,
    Status.SUCCEEDED: _OVER,
    Status.FAILED: _OVER | {c.Retry},
    Status.CANCELED: _OVER,
    Status.DEAD_LETTER: _OVER,
}
"""Which commands make sense in which status; everything else is refused before it is looked at."""


def decide(task: Task, command: c.Command, *, rules: Rules, now: Instant) -> tuple[Event, ...]:
    """The events that `command` makes of `task`. Raises `Refused` when it makes no sense now."""
    if type(command) not in ACCEPTS[task.status]:
        verb = type(command).__name__
        raise Refused(
            f"{verb} makes no sense: the task is {task.status}", code=f"task_{task.status.lower()}"
        )
    return _decided(task, command, rules, now)


def _decided(task: Task, command: c.Command, rules: Rules, now: Instant) -> tuple[Event, ...]:  # noqa: C901, PLR0912 - one case per command; the type checker proves it whole
    match command:
        case c.Submit():
            return life.submitted(command, now)
        case c.Claim():
            return life.claimed(task, command)
        case c.Start():
            return life.started(task, command, rules, now)
        case c.Release():
            return life.released(task, now)
        case c.Recover():
            return life.recovered(task, command, now)
        case c.FailAttempt():
            return life.attempt_failed(task, command, now)
        case c.Tick():
            return life.ticked(task, now)
        case c.Cancel():
            return life.canceled(task, command, now)
        case c.Retry():
            return life.retried(command, now)
        case c.StopChild():
            return life.child_stopped(task, command)
        case c.ConfirmDelivery():
            return life.delivery_confirmed(task, command, now)
        case c.BeginAsk():
            return money.ask_begun(task, command, rules, now)
        case c.ReleaseAsk():
            return () if task.reserved is None else (AskReleased(),)
        case c.RequestTopUp():
            return money.requested(task, command, rules, now)
        case c.ResumeAsking():
            return money.resumed(task, command, now)
        case c.CutContext():
            return (ContextCut(chars=command.chars, tried=command.tried),)
        case c.HearReply():
            return turns.heard(task, command, rules, now)
        case c.Say():
            return turns.said(task, command, now)
        case c.StartCall():
            return calls.started(task, command)
        case c.SettleCall():
            return calls.settled(task, command, now)
        case c.SuspendCall():
            return calls.suspended(task, command)
        case c.ClearCall():
            return calls.cleared(task, command)
        case c.Approve():
            return calls.approved(task, command, rules, now)
        case c.Refuse():
            return calls.refused(task, command, now)
        case _:  # pragma: no cover - the type checker proves that nothing is left
            assert_never(command)
