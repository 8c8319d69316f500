"""Deciding a recorded task once more: which commands made these events, and would they again?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from . import command as c
from . import event as e
from .budget import Reservation
from .decide import decide
from .error import Refused
from .evolve import fold
from .ids import Instant
from .message import Reply
from .policy import Rules
from .task import Task


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
    """The recorded events that some command makes again exactly, or None."""
    for command in _candidates(task, ahead):
        try:
            made = decide(task, command, rules=rules, now=at)
        except Refused:
            continue
        if made and tuple(ahead[: len(made)]) == made:
            return made
    return None


def _difference(
    task: Task, ahead: Sequence[e.Event], rules: Rules, at: Instant, seq: int
) -> Difference:
    recorded = type(ahead[0]).__name__
    for command in _candidates(task, ahead):
        try:
            made = decide(task, command, rules=rules, now=at)
        except Refused as refused:
            return Difference(seq=seq, recorded=recorded, decided=f"refused: {refused}")
        pairs = zip(made, ahead, strict=False)
        other = next(((m, r) for m, r in pairs if m != r), None)
        if other is not None:
            return Difference(seq=seq, recorded=repr(other[1])[:300], decided=repr(other[0])[:300])
        return Difference(seq=seq, recorded=recorded, decided=f"{len(made)} events")
    return Difference(seq=seq, recorded=recorded, decided="no command leads to this")


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
        case e.Replied() as event:
            said = event.said
            reply = Reply(text=said.text, thoughts=said.thoughts, calls=said.calls)
            for finish in ("stop", "length"):
                full = Reply(
                    text=reply.text,
                    thoughts=reply.thoughts,
                    calls=reply.calls,
                    usage=event.usage,
                    model=event.model,
                    finish=finish,
                )
                yield c.HearReply(reply=full, saw=event.saw)
        case e.CallStarted() as event:
            yield c.StartCall(call_id=event.call_id, before=event.before)
        case e.CallWaiting() as event:
            yield c.SuspendCall(call_id=event.call_id, wait=event.wait)
        case e.CallApproved() as event:
            yield c.Approve(
                call_id=event.call_id,
                digest=event.digest,
                by=event.by,
                whole_task=event.grant is not None,
            )
        case e.Said() as event:
            yield c.Say(text=event.text, by=event.by)
        case e.Released():
            yield c.Release()
        case e.Requeued():
            yield c.Tick()
        case e.Retried() as event:
            yield c.Retry(by=event.by)
        case e.ChildStopped() as event:
            yield c.StopChild(child=event.child)
        case e.Delivered() as event:
            yield c.ConfirmDelivery(channel=event.channel)
        case e.DeliveryFailed() as event:
            yield c.ConfirmDelivery(channel=event.channel, error=event.error)
        case _:
            yield from _settling(task, ahead)


def _settling(task: Task, ahead: Sequence[e.Event]) -> Iterable[c.Command]:
    """Commands that begin by settling or clearing calls, told apart by where they lead."""
    first = ahead[0]
    if isinstance(first, e.CallSettled):
        yield c.SettleCall(call_id=first.call_id, outcome=first.outcome, spent=first.spent)
        yield c.Say(text=getattr(first.outcome, "text", ""), by="")
        reason = getattr(first.outcome, "reason", "")
        by, _, why = reason.partition(" said no")
        yield c.Refuse(call_id=first.call_id, by=by, reason=why.removeprefix(": "))
    if isinstance(first, e.CallCleared):
        yield c.ClearCall(call_id=first.call_id)
    yield c.Tick()
    for event in ahead:
        match event:
            case e.Canceled():
                yield c.Cancel(by=event.by, reason=event.reason)
            case e.Recovered():
                yield c.Recover(reason=event.reason)
            case e.AttemptFailed() as failed:
                pause = failed.retry_at - failed.at
                code, message = failed.fault.code, failed.fault.message
                yield c.FailAttempt(code=code, message=message, retry_after=pause)
            case e.Failed():
                code, message = event.fault.code, event.fault.message
                yield c.FailAttempt(code=code, message=message)
                yield c.FailAttempt(code=code, message=message, retryable=False)
                yield c.BeginAsk(reserve=_NOTHING)
                yield c.Recover(reason="")
            case _:
                continue
        return


_NOTHING = Reservation()
