"""Decisions about a task's life: taken, begun, let go, lost, retried, cancelled, delivered."""

from __future__ import annotations

from holdfast.core import command as c
from holdfast.core import event as e
from holdfast.core import habits as h
from holdfast.core.budget import Reservation, enough, exceeded
from holdfast.core.effect import due
from holdfast.core.error import Invalid, NotFound
from holdfast.core.error import Refused as NotNow
from holdfast.core.evolve import fold
from holdfast.core.gate.judge import layers_for
from holdfast.core.gate.policy import Ask, Rules
from holdfast.core.ids import Instant, digest, jitter
from holdfast.core.message import Outcome, Refused, Returned, ToolCall
from holdfast.core.task import TOP_UP, CallState, Fault, OpenCall, Status, Task, Timer

from .calls import cut_off, followed, settle, stopped

BACKOFF_FIRST = 1_000
BACKOFF_CAP = 30_000
POISON_AT = 3
DELIVERY_TRIES = 8


def submitted(command: c.Submit, now: Instant) -> tuple[e.Event, ...]:
    if not command.request.prompt.strip():
        raise Invalid("the task is empty: say what should be done", code="empty_prompt")
    if not all(check.strip() for check in command.request.checks):
        raise Invalid("a check is empty: it would prove nothing", code="empty_check")
    layers_for(command.request.leave, (), Rules())
    return (e.Submitted(id=command.id, request=command.request, at=now),)


def claimed(task: Task, command: c.Claim) -> tuple[e.Event, ...]:
    return (e.Claimed(owner=command.owner, fence=task.fence + 1),)


def started(task: Task, command: c.Start, rules: Rules, now: Instant) -> tuple[e.Event, ...]:
    history = command.history if task.attempt == 0 else ()
    start = e.Started(attempt=task.attempt + 1, at=now, policy=rules.version, history=history)
    return (start,)


def released(task: Task, now: Instant) -> tuple[e.Event, ...]:
    if due(task) or any(c.state is CallState.STARTED for c in task.calls.values()):
        raise NotNow("there is still something to do", code="still_busy")
    return (e.Released(at=now),)


def recovered(task: Task, command: c.Recover, now: Instant) -> tuple[e.Event, ...]:
    """Give a lost worker's task back to the queue. Safe to tell twice: the second finds nothing."""
    if task.status not in {Status.CLAIMED, Status.RUNNING}:
        return ()
    if task.crashes + 1 >= h.CRASHES_TO_STOP and task.status is Status.RUNNING:
        fault = Fault(code="crash_loop", message=f"the worker died {task.crashes + 1} times here")
        cut = stopped(task, "the worker died")
        return (*cut, e.Failed(fault=fault, at=now), e.DeadLettered(reason="crash_loop"))
    return (*cut_off(task, command.reason), e.Recovered(reason=command.reason, at=now))


def attempt_failed(task: Task, command: c.FailAttempt, now: Instant) -> tuple[e.Event, ...]:
    mark = digest(command.message.strip().lower()[:512])[:16]
    fault = Fault(code=command.code, message=command.message, fingerprint=mark)
    tries = len(task.faults) + 1
    same = 1 + sum(past.fingerprint == mark for past in task.faults)
    if not command.retryable:
        return (*stopped(task, command.message), e.Failed(fault=fault, at=now, tried=command.tried))
    if tries >= task.limits.attempts:
        return _dead(task, fault, "max_attempts", now)
    if same >= POISON_AT:
        return _dead(task, fault, "poison_pill", now)
    pause = max(command.retry_after, backoff(task.id, tries))
    failed = e.AttemptFailed(fault=fault, at=now, retry_at=now + pause, tried=command.tried)
    return (*cut_off(task, "the try was ended"), failed)


def backoff(task_id: str, attempt: int) -> int:
    """Milliseconds to wait after failed try `attempt` (1-based): doubling from 1 s, capped at 30 s.

    Jitter of up to half the pause is added, the same for the same task and try.
    """
    pause = min(BACKOFF_CAP, BACKOFF_FIRST * 2 ** min(attempt - 1, 16))
    return min(BACKOFF_CAP, pause + jitter(f"{task_id}:{attempt}", pause // 2))


def ticked(task: Task, now: Instant) -> tuple[e.Event, ...]:
    if task.status is Status.RETRY_WAIT:
        return _pause_over(task, now)
    events: tuple[e.Event, ...] = ()
    for opened in task.calls.values():
        match opened:
            case OpenCall(state=CallState.ASKED, verdict=Ask(until=until)) if until <= now:
                events += settle(fold(events, task), opened, _unanswered(opened.call, now))
            case OpenCall(state=CallState.WAITING, wait=Timer(until=until)) if until <= now:
                events += settle(fold(events, task), opened, Returned(text="the time has come"))
            case _:
                pass
    return followed(task, events, now) if events else ()


def _unanswered(call: ToolCall, now: Instant) -> Outcome:
    """What becomes of a question that nobody answered: no, unless the budget has begun anew."""
    if call.tool == TOP_UP and 0 < call.arguments.get("back_at", 0) <= now:
        return Returned(text="the budget has begun anew")
    return Refused(reason="nobody answered in time", rule="approval expired")


def _pause_over(task: Task, now: Instant) -> tuple[e.Event, ...]:
    if task.retry_at > now:
        return ()
    if enough(task.limits, task.spent, Reservation()) is None:
        broken = exceeded(task.limits, task.spent, Reservation())
        fault = Fault(code="budget_exceeded", message=broken)
        return (*stopped(task, broken), e.Failed(fault=fault, at=now))
    return (e.Requeued(at=now),)


def canceled(task: Task, command: c.Cancel, now: Instant) -> tuple[e.Event, ...]:
    why = command.reason or "canceled"
    return (*stopped(task, why), e.Canceled(by=command.by, at=now, reason=command.reason))


def retried(command: c.Retry, now: Instant) -> tuple[e.Event, ...]:
    return (e.Retried(by=command.by, at=now, limits=command.limits), e.Requeued(at=now))


def child_stopped(task: Task, command: c.StopChild) -> tuple[e.Event, ...]:
    if command.child not in task.children:
        return ()
    return (e.ChildStopped(child=command.child),)


def delivery_confirmed(task: Task, command: c.ConfirmDelivery, now: Instant) -> tuple[e.Event, ...]:
    delivery = task.deliveries.get(command.channel)
    if delivery is None:
        raise NotFound(f"nothing is due to {command.channel}", code="delivery_not_due")
    if not command.error:
        return (e.Delivered(channel=command.channel),)
    tries = delivery.tries + 1
    pause = min(3_600_000, BACKOFF_FIRST * 4**tries)
    retry_at = 0 if tries >= DELIVERY_TRIES else now + pause
    return (e.DeliveryFailed(channel=command.channel, error=command.error, retry_at=retry_at),)


def _dead(task: Task, fault: Fault, reason: str, now: Instant) -> tuple[e.Event, ...]:
    failed = e.Failed(fault=fault, at=now)
    return (*stopped(task, fault.message), failed, e.DeadLettered(reason=reason))
