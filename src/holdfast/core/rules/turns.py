"""Decisions about the model's turns: may it be asked, what its reply leads to, when it is done."""

from __future__ import annotations

import re
from collections import Counter

from msgspec.structs import replace

from holdfast.core import event as e
from holdfast.core import habits as h
from holdfast.core.command import HearReply, Say
from holdfast.core.error import Invalid
from holdfast.core.error import Refused as NotNow
from holdfast.core.evolve import fold
from holdfast.core.gate.hearing import hearing
from holdfast.core.gate.judge import decided
from holdfast.core.gate.labels import labelled
from holdfast.core.gate.policy import Allow, Deny, Rules, Verdict
from holdfast.core.gate.standing import standing_of
from holdfast.core.ids import CallId, Instant
from holdfast.core.message import (
    EffectClass,
    Failed,
    ModelSaid,
    Outcome,
    Refused,
    Reply,
    Returned,
    ToolAnswered,
    ToolCall,
)
from holdfast.core.task import Fault, Human, JudgedCall, Task

from .calls import answered, followed, settle, stopped

_PROMISE = re.compile(
    r"(?:(?:ok(?:ay)?|sure|right|great|good|so|now|first|then|next)\b[\s,.!:]*)*"
    r"(?:let me(?! know)|allow me to|(?:i['\u2019]ll|i will|i['\u2019]m going to|i am going to)"
    r"(?! (?:be|not|never|stop|wait|leave|need)\b)|next,? i)\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?<=[.!?:])\s+|\n+")
_PROMISE_MAX = 480


def heard(task: Task, command: HearReply, rules: Rules, now: Instant) -> tuple[e.Event, ...]:
    _check_expected(task, command)
    reply = command.reply
    judged = _judged(task, reply.calls, rules, now)
    said = ModelSaid(text=reply.text, thoughts=reply.thoughts, calls=reply.calls)
    replied = e.Replied(
        said=said,
        judged=judged,
        usage=reply.usage,
        model=reply.model,
        saw=command.saw,
        tried=reply.tried,
        policy=rules.version,
    )
    events: tuple[e.Event, ...] = (replied,)
    after = fold(events, task)
    if not judged:
        return events + _answered(after, reply, now)
    disturbed = False
    for one in judged:
        if outcome := _at_once(after, one, reuse=not disturbed):
            answer = settle(after, after.calls[one.call.id], outcome)
            events, after = events + answer, fold(answer, after)
        else:
            disturbed = disturbed or one.call.effect is not EffectClass.READS
    return events + _given_up(after, judged, now)


def _check_expected(task: Task, command: HearReply) -> None:
    """Raises `Refused` for a reply that nobody waits for, or with calls that have no own id."""
    if task.calls:
        raise NotNow("calls are open: no reply is expected now", code="calls_open")
    if not 0 <= command.saw <= len(task.transcript):
        raise Invalid(f"the transcript has {len(task.transcript)} entries, not {command.saw}")
    turns = [entry for entry in task.transcript if isinstance(entry, ModelSaid)]
    taken = {call.id for turn in turns for call in turn.calls}
    fresh = {call.id for call in command.reply.calls} - taken
    if len(fresh) < len(command.reply.calls):
        raise Invalid("every call of a task needs an id of its own", code="call_id_taken")


def _given_up(task: Task, judged: tuple[JudgedCall, ...], now: Instant) -> tuple[e.Event, ...]:
    """The end of a task that proposes, over and over, a call that is not even run any more."""
    for one in judged:
        times = h.same_calls(task.habits, one.call)
        if times >= h.GIVE_UP_AT and one.call.id not in task.calls:
            message = f"the same call was proposed {times} times: {one.call.tool}"
            fault = Fault(code="loop", message=message)
            return (*stopped(task, message), e.Failed(fault=fault, at=now))
    return ()


def said(task: Task, command: Say, now: Instant) -> tuple[e.Event, ...]:
    """A message settles the question that it answers; otherwise the model sees it next.

    It answers none that its speaker was not known to be asked: one that has come meanwhile stays.
    """
    if not command.text.strip():
        raise Invalid("the message is empty", code="empty_message")
    opened = task.calls.get(command.answers)
    if opened is not None and isinstance(opened.wait, Human):
        outcome = Returned(text=command.text)
        return followed(task, answered(task, opened, outcome, command.by), now)
    return (e.Said(text=command.text, by=command.by),)


def _judged(
    task: Task, calls: tuple[ToolCall, ...], rules: Rules, now: Instant
) -> tuple[JudgedCall, ...]:
    standing, taken = standing_of(task, now), Counter[str]()
    limit = task.limits.calls
    judged: list[JudgedCall] = []
    if any(call.aims for call in calls):
        calls = tuple(labelled(calls, hearing(task)))
    for index, call in enumerate(calls, start=task.spent.calls + 1):
        verdict = decided(call, standing, rules, taken)
        if limit is not None and index > limit:
            verdict = Deny(rule="limit", reason=f"only {limit} tool calls were asked for")
        verdict = _guarded(task, call, verdict)
        if isinstance(verdict, Allow) and verdict.lease:
            taken[verdict.lease] += 1
        judged.append(JudgedCall(call=call, verdict=verdict))
    return tuple(judged)


def _guarded(task: Task, call: ToolCall, verdict: Verdict) -> Verdict:
    """The verdict, unless the call only repeats what has already led nowhere."""
    if h.final_only(task.habits):
        return Deny(rule="no progress", reason="tools are off now: give your answer in words")
    times = h.same_results(task.habits, call)
    if times >= h.BLOCK_AT:
        return Deny(rule=h.LOOP, reason=f"this same call gave this same result {times} times")
    return verdict


def _at_once(task: Task, judged: JudgedCall, *, reuse: bool) -> Outcome | None:
    """The answer to a call that need not run: impossible, denied, or (`reuse`) already known."""
    match judged:
        case JudgedCall(call=call) if call.problem:
            return Failed(text=call.problem, code="invalid_call")
        case JudgedCall(verdict=Deny(rule=rule, reason=reason)):
            return Refused(reason=reason, rule=rule)
        case JudgedCall(call=call, verdict=Allow()) if reuse:
            return _known(task, call)
        case _:
            return None


def _known(task: Task, call: ToolCall) -> Returned | None:
    """The earlier result of the same stable read, if nothing has been changed since."""
    earlier: CallId | None = task.habits.good.get(call.key) if call.stable else None
    for entry in reversed(task.transcript) if earlier else ():
        match entry:
            case ToolAnswered(call_id=call_id, outcome=Returned() as outcome) if call_id == earlier:
                return replace(outcome, reused=True)
            case _:
                continue
    return None


def _answered(task: Task, reply: Reply, now: Instant) -> tuple[e.Event, ...]:
    """A reply without calls: done, checked first, or sent back."""
    if task.unheard:
        return ()
    nudge = _nudge(task, reply)
    if nudge and (task.habits.nudges < h.MAX_NUDGES or _lacks_word(task, reply)):
        return (e.Nudged(text=nudge),)
    if reply.finish == "length" or not reply.text.strip():
        fault = Fault(code="no_answer", message="the model gave no whole answer")
        return (e.Failed(fault=fault, at=now),)
    if misshapen := _misshapen(task, reply, now):
        return misshapen
    if task.request.checks:
        return (e.ChecksDue(answer=reply.text, judged=_checks(task)),)
    return (e.Finished(answer=reply.text, at=now),)


def _misshapen(task: Task, reply: Reply, now: Instant) -> tuple[e.Event, ...]:
    """What an answer without its wanted shape leads to; nothing if it may pass."""
    shape = task.request.agent.shape
    if shape is None or not reply.problem:
        return ()
    if task.misshapen < shape.retries:
        again = "Answer again, with nothing but JSON of the wanted shape."
        return (e.Nudged(text=f"{reply.problem}. {again}", shape=True),)
    fault = Fault(code="invalid_output", message=reply.problem)
    return (e.Failed(fault=fault, at=now),) if shape.strict else ()


def _nudge(task: Task, reply: Reply) -> str:
    text = reply.text.strip()
    if reply.finish == "length":
        return "Your reply was cut off because it was too long. Continue, or answer more briefly."
    if not text:
        return "Your reply was empty. Go on with the task, or give your answer."
    if _lacks_word(task, reply):
        return f"Go on. When the task is really done, say so with the word {task.request.until}."
    if _only_promises(task, text):
        return "You announced something but did nothing. Do it now, with a tool call."
    return ""


def _only_promises(task: Task, text: str) -> bool:
    """True for a short reply that ends with an intention, or begins with one before any work."""
    if len(text) > _PROMISE_MAX or text.endswith("?"):
        return False
    sentences = [sentence for sentence in _SENTENCE.split(text) if sentence]
    worked = any(isinstance(entry, ToolAnswered) for entry in task.transcript)
    return any(_PROMISE.match(s) for s in (sentences[-1:] if worked else sentences))


def _lacks_word(task: Task, reply: Reply) -> bool:
    return bool(task.request.until) and task.request.until not in reply.text


def _checks(task: Task) -> tuple[JudgedCall, ...]:
    """The checks as calls: given by the submitter, so allowed; repeatable by declaration."""
    return tuple(
        JudgedCall(
            call=ToolCall(
                id=CallId(f"check{task.spent.steps}_{index}"),
                tool="exec",
                arguments={"command": command},
                effect=EffectClass.REPEATABLE,
                target=command,
            ),
            verdict=Allow(rule="a check given with the task"),
        )
        for index, command in enumerate(task.request.checks, start=1)
    )
