"""evolve(task, event) -> task. Total: history cannot be refused, only read."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import assert_never

from msgspec.structs import replace

from . import event as e
from . import habits as h
from .budget import Spent
from .error import Broken
from .ids import CallId, Instant
from .machine import moved
from .message import (
    Entry,
    HouseSaid,
    PersonSaid,
    ToolAnswered,
)
from .policy import Allow, Ask, Deny
from .task import CallState, Child, Delivery, JudgedCall, OpenCall, Task

_STATE = {Allow: CallState.ALLOWED, Ask: CallState.ASKED, Deny: CallState.ALLOWED}


def fold(events: Iterable[e.Event], task: Task | None = None) -> Task:
    """The task that these events make."""
    return reduce(evolve, events, task if task is not None else Task())


def evolve(task: Task, event: e.Event) -> Task:
    """The task after one more event. Raises `Broken` if the event cannot follow the task's past."""
    status = moved(task.status, event)
    if status is None:
        kind = type(event).__name__
        raise Broken(f"{task.id}: {kind} cannot happen while {task.status}", code="damaged_stream")
    task = _applied(task, event)
    return task if status is task.status else replace(task, status=status)


def _applied(task: Task, event: e.Event) -> Task:  # noqa: C901, PLR0912, PLR0915 - one case per event kind; the type checker proves it whole
    match event:
        case e.Submitted():
            said = PersonSaid(text=event.request.prompt, by=event.request.by)
            task = replace(task, id=event.id, request=event.request, submitted_at=event.at)
            return _said(replace(task, queued_at=event.at, updated_at=event.at), said)
        case e.Claimed():
            return replace(task, owner=event.owner, fence=event.fence)
        case e.Started():
            transcript = (*event.history, *task.transcript) if event.history else task.transcript
            task = replace(task, attempt=event.attempt, policy=event.policy, transcript=transcript)
            return replace(task, started_at=event.at, updated_at=event.at)
        case e.AskBegun():
            return replace(task, reserved=event.reserve)
        case e.Replied():
            return _replied(task, event)
        case e.CallStarted():
            return _call_started(task, event)
        case e.CallWaiting():
            children = task.children
            if isinstance(event.wait, Child):
                children = (*children, event.wait.task)
            task = _call_moved(task, event.call_id, CallState.WAITING)
            waiting = replace(task.calls[event.call_id], wait=event.wait)
            return replace(task, children=children, calls={**task.calls, event.call_id: waiting})
        case e.CallApproved():
            grants = task.grants if event.grant is None else (*task.grants, event.grant)
            return replace(_call_moved(task, event.call_id, CallState.ALLOWED), grants=grants)
        case e.CallCleared():
            return _call_moved(task, event.call_id, CallState.ALLOWED)
        case e.CallDoubted():
            return _call_moved(task, event.call_id, CallState.DOUBTED)
        case e.CallSettled():
            return _call_settled(task, event)
        case e.Nudged():
            habits = replace(task.habits, nudges=task.habits.nudges + 1)
            return _said(replace(task, habits=habits), HouseSaid(text=event.text))
        case e.ChecksDue():
            task = replace(task, proposed=event.answer, checking=True, check_results=())
            return replace(task, check_rounds=task.check_rounds + 1, calls=_opened(event.judged))
        case e.ChecksFailed():
            return _said(replace(task, checking=False), HouseSaid(text=event.report))
        case e.Said():
            habits = replace(task.habits, good={}, nudges=0)
            return _said(replace(task, habits=habits), PersonSaid(text=event.text, by=event.by))
        case e.Released():
            return replace(_paused(task, event.at), owner="")
        case e.Woken() | e.Requeued():
            return replace(task, queued_at=event.at, updated_at=event.at, retry_at=0)
        case e.Recovered():
            task = _charged(replace(task, owner="", queued_at=event.at, updated_at=event.at))
            return replace(task, crashes=task.crashes + 1, started_at=0)
        case e.AttemptFailed():
            faults = (*task.faults, event.fault)
            task = replace(_paused(task, event.at), faults=faults, owner="", reserved=None)
            return replace(task, retry_at=event.retry_at)
        case e.Retried():
            task = replace(task, faults=(), retry_at=event.at, deliveries={}, updated_at=event.at)
            return replace(task, habits=h.Habits(), check_rounds=0, crashes=0)
        case e.Finished():
            task = replace(_ended(task, event.at), answer=event.answer)
            return replace(task, checking=False, proposed=None)
        case e.Failed():
            task = replace(_ended(task, event.at), faults=(*task.faults, event.fault))
            return replace(task, checking=False, calls={})
        case e.DeadLettered():
            return task
        case e.Canceled():
            return replace(_ended(task, event.at), retry_at=0, calls={}, checking=False)
        case e.ChildStopped():
            return replace(task, children=tuple(c for c in task.children if c != event.child))
        case e.Delivered():
            left = {k: v for k, v in task.deliveries.items() if k != event.channel}
            return replace(task, deliveries=left)
        case e.DeliveryFailed():
            return _delivery_failed(task, event)
        case _:
            assert_never(event)


def _replied(task: Task, event: e.Replied) -> Task:
    opened = _opened(event.judged)
    habits = replace(task.habits, idle_steps=task.habits.idle_steps + bool(opened))
    spent = task.spent.plus(event.usage)
    spent = replace(spent, calls=spent.calls + len(opened))
    task = replace(task, spent=spent, reserved=None, calls=opened, habits=habits, crashes=0)
    return _said(replace(task, heard=event.saw), event.said)


def _opened(judged: Iterable[JudgedCall]) -> dict[CallId, OpenCall]:
    return {
        j.call.id: OpenCall(call=j.call, state=_STATE[type(j.verdict)], verdict=j.verdict)
        for j in judged
    }


def _call_started(task: Task, event: e.CallStarted) -> Task:
    task = _call_moved(task, event.call_id, CallState.STARTED)
    started = replace(task.calls[event.call_id], before=event.before)
    known = {change.path for change in task.changes}
    changes = task.changes + tuple(c for c in event.before if c.path not in known)
    habits = h.disturbed(task.habits, started.call.effect)
    calls = {**task.calls, event.call_id: started}
    return replace(task, calls=calls, changes=changes, habits=habits)


def _call_settled(task: Task, event: e.CallSettled) -> Task:
    opened = task.calls[event.call_id]
    left = {k: v for k, v in task.calls.items() if k != event.call_id}
    children = task.children
    if isinstance(opened.wait, Child):
        children = tuple(c for c in children if c != opened.wait.task)
    task = replace(task, calls=left, children=children, crashes=0)
    if event.spent is not None:
        task = replace(task, spent=task.spent.plus_child(event.spent))
    if task.checking:
        results = (*task.check_results, (opened.call, event.outcome))
        return replace(task, check_results=results)
    task = replace(task, habits=h.learned(task.habits, opened.call, event.outcome))
    tool = opened.call.tool
    answer = ToolAnswered(call_id=event.call_id, tool=tool, outcome=event.outcome, note=event.note)
    return _said(task, answer)


def _call_moved(task: Task, call_id: CallId, state: CallState) -> Task:
    return replace(task, calls={**task.calls, call_id: replace(task.calls[call_id], state=state)})


def _said(task: Task, entry: Entry) -> Task:
    return replace(task, transcript=(*task.transcript, entry))


def _paused(task: Task, at: Instant) -> Task:
    """Running time stops being counted."""
    ran = max(0, at - task.started_at) if task.started_at else 0
    spent = replace(task.spent, milliseconds=task.spent.milliseconds + ran)
    return replace(task, spent=spent, started_at=0, updated_at=at)


def _charged(task: Task) -> Task:
    """A model call that was cut off may have been paid: count its whole reservation."""
    if task.reserved is None:
        return task
    spent: Spent = task.spent
    cost, tokens = spent.cost + (task.reserved.cost or 0), spent.tokens + task.reserved.tokens
    return replace(task, spent=replace(spent, cost=cost, tokens=tokens), reserved=None)


def _ended(task: Task, at: Instant) -> Task:
    names = task.request.deliver + (("parent",) if task.request.parent else ())
    task = replace(_charged(_paused(task, at)), owner="")
    return replace(task, deliveries={name: Delivery() for name in names})


def _delivery_failed(task: Task, event: e.DeliveryFailed) -> Task:
    if not event.retry_at:
        left = {k: v for k, v in task.deliveries.items() if k != event.channel}
        return replace(task, deliveries=left)
    old = task.deliveries[event.channel]
    new = Delivery(tries=old.tries + 1, due=event.retry_at, error=event.error)
    return replace(task, deliveries={**task.deliveries, event.channel: new})
