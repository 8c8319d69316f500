"""evolve(task, event) -> task. Total: history cannot be refused, only read."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import assert_never

from msgspec.structs import replace

from . import event as e
from . import habits as h
from .error import Broken
from .gate.hearing import sources_of
from .gate.policy import Allow, Ask, Deny
from .ids import CallId, Instant
from .machine import moved
from .message import (
    EffectClass,
    Entry,
    HouseSaid,
    ModelSaid,
    Outcome,
    PersonSaid,
    Refused,
    Returned,
    ToolAnswered,
    ToolCall,
)
from .task import TOP_UP, CallState, Child, Delivery, Fault, JudgedCall, OpenCall, Task

_STATE = {Allow: CallState.ALLOWED, Ask: CallState.ASKED, Deny: CallState.WAITING}
"""A denied call is settled in the same commit; were it not, it would still not run."""


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


def _applied(task: Task, event: e.Event) -> Task:
    if isinstance(event, e.OfCalls):
        return _of_calls(task, event)
    if isinstance(event, e.OfTurns):
        return _of_turns(task, event)
    if isinstance(event, e.OfEnds):
        return _of_ends(task, event)
    return _of_life(task, event)


def _of_life(task: Task, event: e.OfLife) -> Task:
    match event:
        case e.Submitted():
            request = event.request
            said = PersonSaid(text=request.prompt, by=request.by, files=request.files)
            task = replace(task, id=event.id, request=event.request, submitted_at=event.at)
            return _said(replace(task, queued_at=event.at, updated_at=event.at), said)
        case e.Claimed():
            return replace(task, owner=event.owner, fence=event.fence)
        case e.Started():
            transcript = (*event.history, *task.transcript) if event.history else task.transcript
            task = replace(task, attempt=event.attempt, policy=event.policy, transcript=transcript)
            habits = replace(task.habits, good={})
            return replace(task, started_at=event.at, updated_at=event.at, habits=habits)
        case e.Released():
            return replace(_paused(task, event.at), owner="")
        case e.Woken() | e.Requeued():
            return replace(task, queued_at=event.at, updated_at=event.at, retry_at=0)
        case e.Recovered():
            task = charged(replace(task, owner="", queued_at=event.at, updated_at=event.at))
            return replace(task, crashes=task.crashes + 1, started_at=0)
        case e.AttemptFailed():
            faults = (*task.faults, event.fault)
            task = replace(charged(_paused(task, event.at)), faults=faults, owner="")
            return replace(task, retry_at=event.retry_at)
        case e.Retried():
            task = replace(task, faults=(), retry_at=event.at, deliveries={}, updated_at=event.at)
            task = replace(task, raised=event.limits or task.raised, no_more=False, misshapen=0)
            return replace(task, habits=h.Habits(), check_rounds=0, crashes=0)
        case _:  # pragma: no cover - the type checker proves that nothing is left
            assert_never(event)


def _of_turns(task: Task, event: e.OfTurns) -> Task:
    match event:
        case e.AskBegun() | e.AskReleased() | e.TopUpRequested():
            return _of_money(task, event)
        case e.ContextCut():
            return replace(task, context_chars=event.chars)
        case e.Replied():
            return _replied(task, event)
        case e.Nudged() if event.shape:
            return _said(replace(task, misshapen=task.misshapen + 1), HouseSaid(text=event.text))
        case e.Nudged():
            habits = replace(task.habits, nudges=task.habits.nudges + 1)
            task = replace(task, habits=habits, checking=False)
            return _said(task, HouseSaid(text=event.text))
        case e.ChecksDue():
            task = replace(task, proposed=event.answer, checking=True, check_results=())
            return replace(task, check_rounds=task.check_rounds + 1, calls=_opened(event.judged))
        case e.ChecksFailed():
            return _said(replace(task, checking=False), HouseSaid(text=event.report))
        case e.Said():
            said = PersonSaid(text=event.text, by=event.by)
            return _said(replace(task, habits=h.Habits(), misshapen=0, no_more=False), said)
        case _:  # pragma: no cover - the type checker proves that nothing is left
            assert_never(event)


def _of_money(task: Task, event: e.OfMoney) -> Task:
    match event:
        case e.AskBegun():
            return replace(charged(task), reserved=event.reserve)
        case e.AskReleased():
            return replace(task, reserved=None)
        case e.TopUpRequested():
            return replace(task, calls=_opened(event.judged), top_ups=task.top_ups + 1)


def _of_calls(task: Task, event: e.OfCalls) -> Task:
    match event:
        case e.CallStarted():
            return _call_started(task, event)
        case e.CallWaiting():
            children = task.children
            if isinstance(event.wait, Child):
                children = (*children, event.wait.task)
            task = _call_moved(task, event.call_id, CallState.WAITING)
            waiting = replace(_open(task, event.call_id), wait=event.wait)
            return replace(task, children=children, calls={**task.calls, event.call_id: waiting})
        case e.CallApproved():
            grants = task.grants if event.grant is None else (*task.grants, event.grant)
            task = replace(task, grants=grants, vouched=(*task.vouched, *event.vouched))
            return _call_moved(task, event.call_id, CallState.ALLOWED)
        case e.CallCleared():
            return _call_moved(task, event.call_id, CallState.ALLOWED)
        case e.CallDoubted():
            return _call_moved(task, event.call_id, CallState.DOUBTED)
        case e.CallSettled():
            return _call_settled(task, event)
        case _:  # pragma: no cover - the type checker proves that nothing is left
            assert_never(event)


def _of_ends(task: Task, event: e.OfEnds) -> Task:
    match event:
        case e.Finished():
            task = replace(_ended(task, event.at), answer=event.answer)
            return replace(task, checking=False, proposed=None)
        case e.Failed():
            task = replace(_ended(task, event.at), faults=(*task.faults, event.fault))
            return replace(task, checking=False)
        case e.DeadLettered():
            return task
        case e.Canceled():
            why = f": {event.reason}" if event.reason else ""
            fault = Fault(code="aborted", message=f"canceled by {event.by}{why}")
            task = replace(_ended(task, event.at), faults=(*task.faults, fault))
            return replace(task, retry_at=0, checking=False)
        case e.ChildStopped():
            return replace(task, children=tuple(c for c in task.children if c != event.child))
        case e.Delivered():
            left = {k: v for k, v in task.deliveries.items() if k != event.channel}
            told = task.parent_told or event.channel == "parent"
            return replace(task, deliveries=left, parent_told=told)
        case e.DeliveryFailed():
            return _delivery_failed(task, event)
        case _:  # pragma: no cover - the type checker proves that nothing is left
            assert_never(event)


def _replied(task: Task, event: e.Replied) -> Task:
    opened = _opened(event.judged)
    habits = replace(task.habits, idle_steps=task.habits.idle_steps + bool(opened))
    spent = task.spent.plus(event.usage)
    if event.usage.cost is None and task.reserved is not None:
        spent = replace(spent, cost=spent.cost + (task.reserved.cost or 0))
    spent = replace(spent, calls=spent.calls + len(opened))
    task = replace(task, spent=spent, reserved=None, calls=opened, habits=habits, crashes=0)
    task = replace(task, faults=())  # tries are counted since the last progress
    shown, since = task.transcript[: event.saw], task.transcript[event.saw :]
    return replace(task, transcript=(*shown, event.said, *since), heard=event.saw + 1)


def _opened(judged: Iterable[JudgedCall]) -> dict[CallId, OpenCall]:
    return {
        j.call.id: OpenCall(call=j.call, state=_STATE[type(j.verdict)], verdict=j.verdict)
        for j in judged
    }


def _call_started(task: Task, event: e.CallStarted) -> Task:
    task = _call_moved(task, event.call_id, CallState.STARTED)
    started = replace(_open(task, event.call_id), before=event.before)
    known = {change.path for change in task.changes}
    changes = task.changes + tuple(c for c in event.before if c.path not in known)
    habits = h.disturbed(task.habits, started.call.effect)
    calls = {**task.calls, event.call_id: started}
    return replace(task, calls=calls, changes=changes, habits=habits)


def _call_settled(task: Task, event: e.CallSettled) -> Task:
    opened = _open(task, event.call_id)
    left = {k: v for k, v in task.calls.items() if k != event.call_id}
    children = task.children
    # Refused, it was the parent that ended and not the child: the child must still be stopped.
    if isinstance(opened.wait, Child) and not isinstance(event.outcome, Refused):
        children = tuple(c for c in children if c != opened.wait.task)
    task = replace(task, calls=left, children=children, crashes=0)
    if event.spent is not None:
        task = replace(task, spent=task.spent.plus_child(event.spent))
    # The house's own question; a model that names the tool is told that there is none.
    if opened.call.tool == TOP_UP and not opened.call.problem:
        return _topped_up(task, opened.call, event.outcome)
    if task.checking:
        results = (*task.check_results, (opened.call, event.outcome))
        return replace(task, check_results=results)
    habits, effect = task.habits, opened.call.effect if opened.wait is None else EffectClass.WRITES
    habits = h.disturbed(habits, effect)
    steady = _steady(task)
    task = replace(task, habits=h.learned(habits, opened.call, event.outcome, steady=steady))
    tool = opened.call.tool
    answer = ToolAnswered(
        call_id=event.call_id,
        tool=tool,
        outcome=event.outcome,
        note=event.note,
        sources=sources_of(opened, event.outcome, event.sources),
    )
    return _said(task, answer)


def _topped_up(task: Task, call: ToolCall, outcome: Outcome) -> Task:
    """A budget of the task itself is raised here; any other one was raised by the tool."""
    if not isinstance(outcome, Returned):
        return replace(task, no_more=True)
    if call.target != "task":
        return task
    more = {name: call.arguments[name] for name in ("tokens", "cost") if name in call.arguments}
    return replace(task, raised=replace(task.limits, **more))


def _steady(task: Task) -> bool:
    """True if nothing in this turn can change what its other calls see."""
    turn = next(entry for entry in reversed(task.transcript) if isinstance(entry, ModelSaid))
    return all(call.effect is EffectClass.READS for call in turn.calls)


def _call_moved(task: Task, call_id: CallId, state: CallState) -> Task:
    return replace(task, calls={**task.calls, call_id: replace(_open(task, call_id), state=state)})


def _open(task: Task, call_id: CallId) -> OpenCall:
    opened = task.calls.get(call_id)
    if opened is None:
        raise Broken(f"{task.id}: call {call_id} is not open", code="damaged_stream")
    return opened


def _said(task: Task, entry: Entry) -> Task:
    return replace(task, transcript=(*task.transcript, entry))


def _paused(task: Task, at: Instant) -> Task:
    """Running time stops being counted."""
    ran = max(0, at - task.started_at) if task.started_at else 0
    spent = replace(task.spent, milliseconds=task.spent.milliseconds + ran)
    return replace(task, spent=spent, started_at=0, updated_at=at)


def charged(task: Task) -> Task:
    """A model call that was cut off may have been paid: count its whole reservation."""
    if task.reserved is None:
        return task
    tokens = task.spent.tokens + task.reserved.tokens
    cost = task.spent.cost + (task.reserved.cost or 0)
    return replace(task, spent=replace(task.spent, cost=cost, tokens=tokens), reserved=None)


def _ended(task: Task, at: Instant) -> Task:
    parent = task.request.parent is not None and not task.parent_told
    names = task.request.deliver + (("parent",) if parent else ())
    task = replace(charged(_paused(task, at)), owner="", ends=task.ends + 1)
    return replace(task, deliveries={name: Delivery() for name in names})


def _delivery_failed(task: Task, event: e.DeliveryFailed) -> Task:
    if not event.retry_at:
        left = {k: v for k, v in task.deliveries.items() if k != event.channel}
        return replace(task, deliveries=left)
    old = task.deliveries.get(event.channel, Delivery())
    new = Delivery(tries=old.tries + 1, due=event.retry_at, error=event.error)
    return replace(task, deliveries={**task.deliveries, event.channel: new})
