"""Deciding a recorded task once more: which commands made these events, and would they again?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, cast

from msgspec import Struct, to_builtins
from msgspec.structs import replace

from . import command as c
from . import event as e
from .budget import Reservation
from .decide import decide
from .error import Refused
from .evolve import charged, fold
from .gate.policy import Ask, Rules
from .gate.using import retold
from .ids import Instant, canonical
from .message import Reply
from .task import JudgedCall, Task, bound


class Difference(Struct, frozen=True, kw_only=True):
    """Where today's rules would have gone another way. `seq` is the first event that differs."""

    seq: int
    recorded: str
    decided: str


def replay(
    history: Sequence[tuple[Instant, e.Event]], rules: Rules
) -> tuple[Task, tuple[Difference, ...]]:
    """Decide every recorded step again, with the recorded replies and outcomes as given.

    Returns the task as recorded and every difference. No model is asked and no tool is run.
    """
    task, position = Task(), 0
    differences: list[Difference] = []
    while position < len(history):
        at = history[position][0]
        ahead = [event for _, event in history[position : position + _LOOK_AHEAD]]
        made = _again(task, ahead, rules, at)
        if made is None:
            differences.append(_difference(task, ahead, rules, at, position + 1))
            made = ahead[:1]
        task = fold(made, task)
        position += len(made)
    return task, tuple(differences)


_LOOK_AHEAD = 256


def _again(
    task: Task, ahead: Sequence[e.Event], rules: Rules, at: Instant
) -> Sequence[e.Event] | None:
    """The recorded events, as many as one command makes again exactly; or None."""
    best: tuple[e.Event, ...] = ()
    for command in _candidates(task, ahead):
        try:
            made = _decided(task, command, (rules, at), ahead)
        except Refused:
            continue
        if len(made) > len(best) and tuple(ahead[: len(made)]) == made:
            best = made
    return best or None


def _decided(
    task: Task, command: c.Command, under: tuple[Rules, Instant], ahead: Sequence[e.Event]
) -> tuple[e.Event, ...]:
    """What the command makes; older events did not say by which rules, or by whom, they were
    decided."""
    rules, at = under
    if isinstance(ahead[0], e.Replied) and (leases := retold(ahead[0])):
        rules = replace(rules, leases=leases)
    made = decide(task, command, rules=rules, now=at)
    told = (_untold(*pair) for pair in zip(made, ahead, strict=False))
    return (*told, *made[len(ahead) :])


def _untold(made: e.Event, recorded: e.Event) -> e.Event:
    if type(made) is not type(recorded) or isinstance(made, e.Started):
        return made
    untold = {name: "" for name in ("policy", "by") if getattr(recorded, name, None) == ""}
    return replace(made, **untold) if untold else made


def _difference(
    task: Task, ahead: Sequence[e.Event], rules: Rules, at: Instant, seq: int
) -> Difference:
    recorded, decided = type(ahead[0]).__name__, "no command leads to this"
    for command in _candidates(task, ahead):
        try:
            made = _decided(task, command, (rules, at), ahead)
        except Refused as refused:
            decided = f"refused: {refused}"
            continue
        pairs = zip(ahead, made, strict=False)
        other = next(((r, m) for r, m in pairs if r != m), None)
        if other is not None and type(other[0]) is type(other[1]):
            one, two = to_builtins(other[0]), to_builtins(other[1])
            return _unlike(seq, type(other[0]).__name__, one, two)
        if other is None and made:
            decided = " ".join(type(event).__name__ for event in made)
            break
    return Difference(seq=seq, recorded=recorded, decided=decided)


def _unlike(seq: int, where: str, recorded: Any, decided: Any) -> Difference:
    """The first place in which two unequal values differ."""
    one, two = _parts(recorded), _parts(decided)
    if one and one.keys() == two.keys():
        key = next(key for key in one if one[key] != two[key])
        return _unlike(seq, f"{where}.{key}", one[key], two[key])
    first, second = canonical(recorded)[:300], canonical(decided)[:300]
    return Difference(seq=seq, recorded=f"{where}: {first}", decided=f"{where}: {second}")


def _parts(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return cast("dict[str, Any]", value)
    if isinstance(value, list | tuple):
        return {str(index): part for index, part in enumerate(cast("list[Any]", value))}
    return {}


def _candidates(task: Task, ahead: Sequence[e.Event]) -> Iterable[c.Command]:  # noqa: C901, PLR0912 - one case per leading event
    """The commands that can have made the first of these events."""
    match ahead[0]:
        case e.Submitted() as event:
            yield c.Submit(id=event.id, request=event.request)
        case e.Claimed() as event:
            yield c.Claim(owner=event.owner)
        case e.Started() as event:
            yield c.Start(history=event.history)
        case e.AskBegun() as event:
            yield c.BeginAsk(reserve=event.reserve)
        case e.AskReleased():
            yield c.ReleaseAsk()
        case e.TopUpRequested() as event:
            yield from _wanting(task, *event.judged)
        case e.ContextCut() as event:
            yield c.CutContext(chars=event.chars, tried=event.tried)
        case e.Replied() as event:
            yield from _replying(event, ahead)
        case e.CallStarted() as event:
            yield c.StartCall(call_id=event.call_id, before=event.before, secrets=event.secrets)
        case e.CallWaiting() as event:
            yield c.SuspendCall(call_id=event.call_id, wait=event.wait)
        case e.CallApproved() as event:
            yield c.Approve(
                call_id=event.call_id,
                digest=bound(task, task.calls.get(event.call_id)),
                by=event.by,
                whole_task=event.grant is not None,
                vouch=bool(event.vouched),
                lease=event.lease,
            )
        case e.Said() as event:
            yield c.Say(text=event.text, by=event.by)
        case e.Released():
            yield c.Release()
        case e.Requeued():
            yield c.Tick()
        case e.Retried() as event:
            yield c.Retry(by=event.by, limits=event.limits)
        case e.ChildStopped() as event:
            yield c.StopChild(child=event.child)
        case e.Delivered() as event:
            yield c.ConfirmDelivery(channel=event.channel)
        case e.DeliveryFailed() as event:
            yield c.ConfirmDelivery(channel=event.channel, error=event.error)
        case _:
            yield from _settling(task, ahead)


def _replying(event: e.Replied, ahead: Sequence[e.Event]) -> Iterable[c.Command]:
    """A reply, with what is not kept of it: whether it was whole, and had its shape."""
    said = event.said
    for finish, problem in product(("stop", "length"), ("", *_misshapen(ahead))):
        reply = Reply(
            text=said.text,
            thoughts=said.thoughts,
            calls=said.calls,
            usage=event.usage,
            model=event.model,
            finish=finish,
            tried=event.tried,
            problem=problem,
        )
        yield c.HearReply(reply=reply, saw=event.saw)


def _misshapen(ahead: Sequence[e.Event]) -> Iterable[str]:
    """What was wrong with the shape of a reply, as it was told afterwards."""
    match ahead:
        case [_, e.Nudged(text=text, shape=True), *_]:
            yield text.rpartition(". Answer again")[0]
        case [_, e.Failed(fault=fault), *_] if fault.code == "invalid_output":
            yield fault.message
        case _:
            return


def _wanting(task: Task, judged: JudgedCall) -> Iterable[c.Command]:
    """What led to the question for more money, told from the question."""
    arguments = judged.call.arguments
    question = judged.verdict.question if isinstance(judged.verdict, Ask) else ""
    if judged.call.target == "task":
        told, limits, spent = _wanted(question), task.limits, charged(task).spent
        # The sentence tells what was needed of one of the two; of the other, what will do.
        if question.startswith("tokens"):
            tokens = told.tokens
            cost = _needed(arguments.get("cost"), limits.cost, spent.cost)
        else:
            tokens = _needed(arguments.get("tokens"), limits.tokens, spent.tokens)
            cost = told.cost
        yield c.BeginAsk(reserve=Reservation(tokens=tokens, cost=cost))
    text = question.rpartition(". Raise the budget ")[0] or question.rpartition(". Go on ")[0]
    back_at = arguments.get("back_at", 0)
    more = {name: n for name, n in arguments.items() if name not in {"budget", "back_at"}}
    yield c.RequestTopUp(budget=judged.call.target, text=text, more=more, back_at=back_at)


def _needed(wanted: int | None, limit: int | None, spent: int) -> int:
    """A need that makes `limit` grow to `wanted`."""
    if wanted is None or limit is None:
        return 0
    return max(0, limit - spent + 1) if wanted == 2 * limit else wanted - spent


def _settling(task: Task, ahead: Sequence[e.Event]) -> Iterable[c.Command]:
    """Commands that begin by settling or clearing calls, told apart by where they lead."""
    first = ahead[0]
    if isinstance(first, e.CallSettled):
        yield c.SettleCall(
            call_id=first.call_id,
            outcome=first.outcome,
            spent=first.spent,
            sources=first.sources,
            by=first.by,
        )
        yield c.ResumeAsking()
        reason = getattr(first.outcome, "reason", "")
        by, _, why = reason.partition(" said no")
        yield c.Refuse(call_id=first.call_id, by=by, reason=why.removeprefix(": "))
        approver = getattr(first.outcome, "text", "").removeprefix("approved by ")
        yield c.Approve(call_id=first.call_id, digest="", by=approver)
    if isinstance(first, e.CallCleared):
        yield c.ClearCall(call_id=first.call_id)
    yield c.Tick()
    yield from _ending(ahead)
    yield from _failing(ahead)


def _ending(ahead: Sequence[e.Event]) -> Iterable[c.Command]:
    """Commands that stop or interrupt a task, found by the first event that says so."""
    for event in ahead:
        match event:
            case e.Canceled():
                yield c.Cancel(by=event.by, reason=event.reason)
            case e.Recovered():
                yield c.Recover(reason=event.reason)
            case e.Failed():
                wanted = _wanted(event.fault.message)
                yield c.BeginAsk(reserve=wanted)
                # Nobody was asked for more: a price was missing too.
                yield c.BeginAsk(reserve=Reservation(tokens=wanted.tokens, cost=None))
                yield c.RequestTopUp(budget="", text=event.fault.message)
                yield c.Recover(reason="")
            case _:
                continue
        return


def _failing(ahead: Sequence[e.Event]) -> Iterable[c.Command]:
    """Commands that end a try, found by the first event that says so."""
    for event in ahead:
        match event:
            case e.AttemptFailed(fault=fault):
                pause = event.retry_at - event.at
                yield c.FailAttempt(
                    code=fault.code, message=fault.message, retry_after=pause, tried=event.tried
                )
            case e.Failed(fault=fault):
                for retryable in (True, False):
                    yield c.FailAttempt(
                        code=fault.code,
                        message=fault.message,
                        retryable=retryable,
                        tried=event.tried,
                    )
            case _:
                continue
        return


_NEED = re.compile(r"^(tokens|money): .*up to \$?([\d.]+) needed")


def _wanted(message: str) -> Reservation:
    """The reservation that could not be made, as the failure tells it."""
    match _NEED.match(message):
        case None:
            return Reservation(cost=None if "no price is known" in message else 0)
        case found if found[1] == "tokens":
            return Reservation(tokens=int(found[2]))
        case found:
            return Reservation(cost=round(float(found[2]) * 1e6))
