"""Decisions about single calls: start, suspend, settle, approve, refuse."""

from __future__ import annotations

from msgspec.structs import replace

from holdfast.core import event as e
from holdfast.core import habits as h
from holdfast.core.budget import Spent
from holdfast.core.command import Approve, ClearCall, Refuse, SettleCall, StartCall, SuspendCall
from holdfast.core.effect import due
from holdfast.core.error import NotFound
from holdfast.core.error import Refused as NotNow
from holdfast.core.evolve import fold
from holdfast.core.gate.hearing import hearing
from holdfast.core.gate.judge import decided
from holdfast.core.gate.labels import nobodys
from holdfast.core.gate.policy import Ask, Deny, Rule, Rules, Say
from holdfast.core.gate.standing import standing_of
from holdfast.core.ids import CallId, Instant, digest
from holdfast.core.message import EffectClass, Outcome, Refused, Returned, Unknown, words
from holdfast.core.task import TOP_UP, CallState, Fault, Human, OpenCall, Status, Task, bound

_SETTLEABLE = frozenset({CallState.STARTED, CallState.WAITING, CallState.DOUBTED})


def started(task: Task, command: StartCall) -> tuple[e.Event, ...]:
    _open(task, command.call_id, CallState.ALLOWED)
    call_id, before, secrets = command.call_id, command.before, command.secrets
    return (e.CallStarted(call_id=call_id, before=before, secrets=secrets),)


def suspended(task: Task, command: SuspendCall) -> tuple[e.Event, ...]:
    _open(task, command.call_id, CallState.STARTED)
    if task.checking:
        raise NotNow("a check cannot wait for anything", code="check_cannot_wait")
    return (e.CallWaiting(call_id=command.call_id, wait=command.wait),)


def cleared(task: Task, command: ClearCall) -> tuple[e.Event, ...]:
    _open(task, command.call_id, CallState.DOUBTED)
    return (e.CallCleared(call_id=command.call_id, reason="checked: it did not happen"),)


def settled(task: Task, command: SettleCall, now: Instant) -> tuple[e.Event, ...]:
    # After a crash a child may answer before its call has been suspended on it again. (No child
    # answers a check.)
    from_child = command.spent is not None and not task.checking
    early = {CallState.ALLOWED} if from_child else set[CallState]()
    opened = _open(task, command.call_id, *_SETTLEABLE, *early)
    events = settle(task, opened, command.outcome, command.spent, command.sources)
    return followed(task, _by(events, command.by), now)


def settle(
    task: Task,
    opened: OpenCall,
    outcome: Outcome,
    spent: Spent | None = None,
    sources: tuple[str, ...] = (),
) -> tuple[e.CallSettled, ...]:
    """The event that gives a call its one answer, with the house's remark if it repeats itself."""
    note = ""
    if not task.checking:
        after = h.learned(task.habits, opened.call, outcome)
        times = h.same_results(after, opened.call)
        if times >= h.WARN_AT:
            note = (
                f"this same call has now given this same result {times} times; try something else"
            )
    return (
        e.CallSettled(
            call_id=opened.call.id, outcome=outcome, note=note, spent=spent, sources=sources
        ),
    )


def approved(task: Task, command: Approve, rules: Rules, now: Instant) -> tuple[e.Event, ...]:
    opened = _open(task, command.call_id, CallState.ASKED, CallState.WAITING)
    if isinstance(opened.wait, Human):
        outcome = Returned(text=f"approved by {command.by}")
        return followed(task, answered(task, opened, outcome, command.by), now)
    _open(task, command.call_id, CallState.ASKED)
    if command.digest != bound(task, opened):
        raise NotNow(
            f"call {command.call_id} is not what was approved: its arguments or rules are others",
            code="approval_mismatch",
            hint="look at the call again, then approve what it says now",
        )
    if isinstance(opened.verdict, Ask) and opened.verdict.until <= now:
        raise NotNow(f"it is too late to approve call {command.call_id}", code="approval_expired")
    if denied := _denied(task, opened, rules, now):
        message = f"call {command.call_id} is denied by now: {denied}"
        raise NotNow(message, code="approval_denied", hint="refuse it, or change the rule")
    vouched = nobodys(opened.call, hearing(task)) if command.vouch else ()
    approval = replace(_approval(opened, command), policy=rules.version, vouched=vouched)
    if not command.whole_task:
        return followed(task, (replace(approval, lease=command.lease),), now)
    tool = opened.call.tool
    grant = Rule(say=Say.ALLOW, tool=tool, name=f"granted for this task by {command.by}")
    others = tuple(
        replace(_approval(other, command), policy=rules.version)
        for other in task.calls.values()
        if other.state is CallState.ASKED and other.call.tool == tool and other is not opened
        if not _denied(task, other, rules, now)
    )
    return followed(task, (replace(approval, grant=grant), *others), now)


def _denied(task: Task, opened: OpenCall, rules: Rules, now: Instant) -> str:
    """Why nobody may say yes any more, whatever was asked: the rules have changed since."""
    verdict = decided(opened.call, standing_of(task, now), rules)
    return verdict.reason if isinstance(verdict, Deny) and opened.call.tool != TOP_UP else ""


def _approval(opened: OpenCall, command: Approve) -> e.CallApproved:
    return e.CallApproved(call_id=opened.call.id, by=command.by, digest=opened.call.key)


def refused(task: Task, command: Refuse, now: Instant) -> tuple[e.Event, ...]:
    opened = _open(task, command.call_id, CallState.ASKED, CallState.WAITING)
    if opened.state is CallState.WAITING and not isinstance(opened.wait, Human):
        raise NotNow(f"call {command.call_id} is not waiting for a person", code="call_not_asked")
    why = f": {command.reason}" if command.reason else ""
    outcome = Refused(reason=f"{command.by} said no{why}", rule="human")
    return followed(task, answered(task, opened, outcome, command.by), now)


def answered(task: Task, opened: OpenCall, outcome: Outcome, by: str) -> tuple[e.Event, ...]:
    """What a person said is the call's answer, and whose it is stays with it."""
    return _by(settle(task, opened, outcome), by)


def _by(events: tuple[e.CallSettled, ...], by: str) -> tuple[e.Event, ...]:
    return tuple(replace(one, by=by) for one in events)


def cut_off(task: Task, reason: str) -> tuple[e.Event, ...]:
    """What becomes of calls whose worker is gone: repeat, find out, or say that nobody knows."""
    events: tuple[e.Event, ...] = ()
    for opened in task.calls.values():
        if opened.state is not CallState.STARTED:
            continue
        call = opened.call
        if call.effect is not EffectClass.WRITES:
            events += (e.CallCleared(call_id=call.id, reason="safe to repeat"),)
        elif call.checkable:
            events += (e.CallDoubted(call_id=call.id),)
        else:
            events += settle(fold(events, task), opened, _unknown(reason))
    return events


def stopped(task: Task, reason: str) -> tuple[e.Event, ...]:
    """Every open call gets its one answer, because the task ends here."""
    events: tuple[e.Event, ...] = ()
    for opened in task.calls.values():
        begun = opened.state in {CallState.STARTED, CallState.DOUBTED}
        unsure = begun and opened.call.effect is EffectClass.WRITES
        outcome = _unknown(reason) if unsure else Refused(reason=reason, rule="task ended")
        events += settle(fold(events, task), opened, outcome)
    return events


def _unknown(reason: str) -> Unknown:
    return Unknown(
        reason=f"{reason} while this ran; it may or may not have happened, and is not repeated"
    )


def followed(task: Task, events: tuple[e.Event, ...], now: Instant) -> tuple[e.Event, ...]:
    """`events` and what they lead to: checks concluded, or a waiting task woken."""
    after = fold(events, task)
    if after.checking and not after.calls:
        return events + _concluded(after, now)
    if after.status is Status.WAITING and due(after):
        return (*events, e.Woken(at=now))
    return events


def _concluded(task: Task, now: Instant) -> tuple[e.Event, ...]:
    """All checks of this round have answered: the task is done, goes on, or has failed."""
    bad = [(c, o) for c, o in task.check_results if not isinstance(o, Returned)]
    if not bad and task.unheard:
        return (e.Nudged(text="The checks passed. A message has come since: answer that too."),)
    if not bad:
        count = len(task.check_results)
        return (e.Finished(answer=task.proposed or "", at=now, checks=count),)
    report = "\n\n".join(f"$ {call.target}\n{words(outcome)}" for call, outcome in bad)
    failed = e.ChecksFailed(report=f"The work is not done. These checks failed:\n\n{report}")
    if task.check_rounds < task.limits.check_rounds:
        return (failed,)
    fault = Fault(code="checks_failed", message=report[:2000], fingerprint=digest(report)[:16])
    return (failed, e.Failed(fault=fault, at=now))


def _open(task: Task, call_id: CallId, *states: CallState) -> OpenCall:
    opened = task.calls.get(call_id)
    if opened is None:
        raise NotFound(f"task {task.id} has no open call {call_id}", code="call_not_open")
    if opened.state not in states:
        raise NotNow(f"call {call_id} is {opened.state}", code=f"call_{opened.state}")
    return opened
