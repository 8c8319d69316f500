"""Decisions about the model's turns: may it be asked, what its reply leads to, when it is done."""

from __future__ import annotations

import re

from holdfast.core import event as e
from holdfast.core import habits as h
from holdfast.core.budget import exceeded
from holdfast.core.command import BeginAsk, HearReply, Say
from holdfast.core.evolve import fold
from holdfast.core.ids import CallId, Instant, digest
from holdfast.core.message import (
    EffectClass,
    Failed,
    HouseSaid,
    ModelSaid,
    Outcome,
    PersonSaid,
    Refused,
    Reply,
    Returned,
    ToolAnswered,
    ToolCall,
)
from holdfast.core.policy import Allow, Deny, Rules, Verdict, judge, layers_for
from holdfast.core.task import CallState, Fault, Human, JudgedCall, Task

from .calls import settle

_PROMISE = re.compile(
    r"\b(let me|i'll|i will|i am going to|i'm going to|allow me to|next,? i)\b", re.IGNORECASE
)
_PROMISE_MAX = 480


def ask_begun(task: Task, command: BeginAsk, now: Instant) -> tuple[e.Event, ...]:
    """Fail the task if the turn is not affordable, else set the money aside. No money: no event."""
    if task.calls:
        return ()
    if code := h.exhausted(task.habits):
        return (e.Failed(fault=_stuck(task, code), at=now),)
    ran = max(0, now - task.started_at) if task.started_at else 0
    spent = task.spent.plus_time(ran)
    if broken := exceeded(task.request.agent.limits, spent, command.reserve):
        return (e.Failed(fault=Fault(code="budget_exceeded", message=broken), at=now),)
    if not command.reserve.tokens and not command.reserve.cost:
        return ()
    return (e.AskBegun(reserve=command.reserve),)


def heard(task: Task, command: HearReply, rules: Rules, now: Instant) -> tuple[e.Event, ...]:
    reply = command.reply
    judged = _judged(task, reply.calls, rules, now)
    said = ModelSaid(text=reply.text, thoughts=reply.thoughts, calls=reply.calls)
    events: tuple[e.Event, ...] = (
        e.Replied(said=said, judged=judged, usage=reply.usage, model=reply.model, saw=command.saw),
    )
    if not judged:
        return events + _answered(task, reply, command.saw, now)
    for one in judged:
        if outcome := _at_once(task, one):
            after = fold(events, task)
            events += settle(after, after.calls[one.call.id], outcome)
    worst = max((h.same_calls(fold(events, task).habits, j.call) for j in judged), default=0)
    if worst >= h.GIVE_UP_AT and not fold(events, task).calls:
        message = f"the same call was proposed {worst} times: {judged[0].call.tool}"
        events += (e.Failed(fault=Fault(code="loop", message=message), at=now),)
    return events


def said(task: Task, command: Say) -> tuple[e.Event, ...]:
    """A message settles a question that waits for a person; otherwise the model sees it next."""
    for opened in task.calls.values():
        if opened.state is CallState.WAITING and isinstance(opened.wait, Human):
            return settle(task, opened, Returned(text=command.text))
    return (e.Said(text=command.text, by=command.by),)


def _judged(
    task: Task, calls: tuple[ToolCall, ...], rules: Rules, now: Instant
) -> tuple[JudgedCall, ...]:
    leave = task.request.leave
    layers = layers_for(leave, task.grants, rules)
    until = now + rules.approval_seconds * 1000
    limit = task.request.agent.limits.calls
    judged: list[JudgedCall] = []
    for index, call in enumerate(calls, start=task.spent.calls + 1):
        verdict = judge(call, layers, unattended=leave.unattended, until=until)
        if limit is not None and index > limit:
            verdict = Deny(rule="limit", reason=f"only {limit} tool calls were asked for")
        judged.append(JudgedCall(call=call, verdict=_guarded(task, call, verdict)))
    return tuple(judged)


def _guarded(task: Task, call: ToolCall, verdict: Verdict) -> Verdict:
    """The verdict, unless the call only repeats what has already led nowhere."""
    if h.final_only(task.habits):
        return Deny(rule="no progress", reason="tools are off now: give your answer in words")
    times = h.same_results(task.habits, call)
    if times >= h.BLOCK_AT:
        return Deny(rule="loop", reason=f"this same call gave this same result {times} times")
    return verdict


def _at_once(task: Task, judged: JudgedCall) -> Outcome | None:
    """The answer to a call that need not run: impossible, denied, or already known."""
    match judged:
        case JudgedCall(call=call) if call.problem:
            return Failed(text=call.problem, code="invalid_call")
        case JudgedCall(verdict=Deny(rule=rule, reason=reason)):
            return Refused(reason=reason, rule=rule)
        case JudgedCall(call=call, verdict=Allow()):
            return _known(task, call)
        case _:
            return None


def _known(task: Task, call: ToolCall) -> Returned | None:
    """The earlier result of the same stable read, if nothing has been changed since."""
    earlier: CallId | None = task.habits.good.get(call.key) if call.stable else None
    for entry in reversed(task.transcript) if earlier else ():
        match entry:
            case ToolAnswered(call_id=call_id, outcome=Returned() as outcome) if call_id == earlier:
                return Returned(text=outcome.text, artifact=outcome.artifact, reused=True)
            case _:
                continue
    return None


def _answered(task: Task, reply: Reply, saw: int, now: Instant) -> tuple[e.Event, ...]:
    """A reply without calls: done, checked first, or sent back."""
    if any(isinstance(entry, PersonSaid) for entry in task.transcript[saw:]):
        return ()
    if nudge := _nudge(task, reply):
        if task.habits.nudges < h.MAX_NUDGES or _lacks_word(task, reply):
            return (e.Nudged(text=nudge),)
        if not reply.text.strip():
            fault = Fault(code="empty_answer", message="the model gave no answer")
            return (e.Failed(fault=fault, at=now),)
    if task.request.checks:
        return (e.ChecksDue(answer=reply.text, judged=_checks(task)),)
    return (e.Finished(answer=reply.text, at=now),)


def _nudge(task: Task, reply: Reply) -> str:
    text = reply.text.strip()
    if reply.finish == "length":
        return "Your reply was cut off because it was too long. Continue, or answer more briefly."
    if not text:
        return "Your reply was empty. Go on with the task, or give your answer."
    if _lacks_word(task, reply):
        return f"Go on. When the task is really done, say so with the word {task.request.until}."
    used_tools = any(isinstance(entry, ToolAnswered | HouseSaid) for entry in task.transcript)
    if (
        len(text) <= _PROMISE_MAX
        and _PROMISE.search(text)
        and not text.endswith("?")
        and not used_tools
    ):
        return "You announced something but did nothing. Do it now, with a tool call."
    return ""


def _lacks_word(task: Task, reply: Reply) -> bool:
    return bool(task.request.until) and task.request.until not in reply.text


def _checks(task: Task) -> tuple[JudgedCall, ...]:
    """The checks as calls: given by the submitter, so allowed; repeatable by declaration."""
    return tuple(
        JudgedCall(
            call=ToolCall(
                id=CallId(f"check{task.check_rounds + 1}_{index}"),
                tool="exec",
                arguments={"command": command},
                effect=EffectClass.REPEATABLE,
                target=command,
            ),
            verdict=Allow(rule="a check given with the task"),
        )
        for index, command in enumerate(task.request.checks, start=1)
    )


def _stuck(task: Task, code: str) -> Fault:
    tried = "\n".join(f"- {failure}" for failure in task.habits.failures)
    if code == "needs_guidance":
        message = f"Too many tool calls failed; guidance is needed. The last failures:\n{tried}"
    else:
        message = "No progress: the last turns brought nothing new."
    return Fault(code=code, message=message, fingerprint=digest(message)[:16])
