"""Decisions about money: may the model be asked, and who is asked for more when it may not."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.core import event as e
from holdfast.core import habits as h
from holdfast.core.budget import dollars, enough, exceeded
from holdfast.core.command import BeginAsk, RequestTopUp, ResumeAsking
from holdfast.core.error import Refused as NotNow
from holdfast.core.evolve import charged
from holdfast.core.gate.policy import Ask, Rules
from holdfast.core.ids import CallId, Instant, digest
from holdfast.core.message import EffectClass, Returned, ToolCall
from holdfast.core.task import TOP_UP, CallState, Fault, JudgedCall, Task

from .calls import followed, settle


def ask_begun(task: Task, command: BeginAsk, rules: Rules, now: Instant) -> tuple[e.Event, ...]:
    """Set the money aside, if the turn is affordable. No money: no event."""
    if task.calls:
        raise NotNow("calls are open: the model is asked once they are settled", code="calls_open")
    if code := h.exhausted(task.habits):
        return (e.Failed(fault=_stuck(task, code), at=now),)
    ran = max(0, now - task.started_at) if task.started_at else 0
    spent = charged(task).spent.plus_time(ran)
    if broken := exceeded(task.limits, spent, command.reserve):
        more = enough(task.limits, spent, command.reserve)
        if more is None:
            return _too_much(broken, now)
        wanted = _changed(task, {"tokens": more.tokens, "cost": more.cost})
        return _asked(task, RequestTopUp(budget="task", text=broken, more=wanted), rules, now)
    if not command.reserve.tokens and not command.reserve.cost:
        return ()
    return (e.AskBegun(reserve=command.reserve),)


def requested(task: Task, command: RequestTopUp, rules: Rules, now: Instant) -> tuple[e.Event, ...]:
    """A budget above the task is short: a person may raise it, or the task ends here."""
    if task.calls:
        raise NotNow("calls are open: no model is to be asked", code="calls_open")
    return _asked(task, command, rules, now)


def resumed(task: Task, command: ResumeAsking, now: Instant) -> tuple[e.Event, ...]:
    """The question for more money answers itself: the next turn finds out whether it reaches."""
    for opened in task.calls.values():
        target = opened.call.target if opened.call.tool == TOP_UP else "task"
        if opened.state is CallState.ASKED and target != "task" and command.budget in {"", target}:
            settled = settle(task, opened, Returned(text="there may be money again"))
            return followed(task, settled, now)
    return ()


def _asked(task: Task, wanted: RequestTopUp, rules: Rules, now: Instant) -> tuple[e.Event, ...]:
    """The question for more money; a failure where nobody can be asked, or the answer is known."""
    budget, more = wanted.budget, wanted.more
    if task.no_more or task.request.leave.unattended or task.request.parent is not None:
        return _too_much(wanted.text, now)
    until = now + rules.approval_seconds * 1000
    back = {"back_at": wanted.back_at} if wanted.back_at else {}
    call = ToolCall(
        id=CallId(f"{TOP_UP}{task.top_ups + 1}"),
        tool=TOP_UP,
        arguments={"budget": budget, **more, **back},
        effect=EffectClass.REPEATABLE,
        target=budget,
    )
    question = f"{wanted.text}. {_wish(budget, more)}"
    until = min(until, wanted.back_at or until)
    verdict = Ask(rule="budget", question=question, until=until)
    judged = (JudgedCall(call=call, verdict=verdict),)
    return (e.TopUpRequested(judged=judged, policy=rules.version),)


def _changed(task: Task, wanted: Mapping[str, int | None]) -> dict[str, int]:
    limits = {"tokens": task.limits.tokens, "cost": task.limits.cost}
    return {k: v for k, v in wanted.items() if v is not None and v != limits[k]}


def _wish(budget: str, more: Mapping[str, int]) -> str:
    said = [dollars(n) if kind == "cost" else f"{n} {kind}" for kind, n in more.items()]
    if not said:
        return f"Go on all the same ({budget})?"
    word = "to" if budget == "task" else "by"
    name = "the limit of this task" if budget == "task" else f"the budget {budget}"
    return f"Raise {name} {word} {' and '.join(said)}?"


def _too_much(text: str, now: Instant) -> tuple[e.Event, ...]:
    return (e.Failed(fault=Fault(code="budget_exceeded", message=text), at=now),)


def _stuck(task: Task, code: str) -> Fault:
    tried = "\n".join(f"- {failure}" for failure in task.habits.failures)
    if code == "needs_guidance":
        message = f"Too many tool calls failed; guidance is needed. The last failures:\n{tried}"
    else:
        message = "No progress: the last turns brought nothing new."
    return Fault(code=code, message=message, fingerprint=digest(message)[:16])
