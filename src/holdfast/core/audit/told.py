"""What the events of a task have to say to the audit: computed from them and from nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from holdfast.core import event as e
from holdfast.core.gate.policy import Allow, Ask, Deny, Verdict
from holdfast.core.ids import digest as hashed
from holdfast.core.message import Failed, Outcome, Refused, Returned, Unknown
from holdfast.core.task import JudgedCall

from .fact import Fact

TELLING = frozenset(
    {
        *(e.Submitted, e.Started, e.Retried, e.Replied, e.ChecksDue, e.TopUpRequested),
        *(e.CallApproved, e.CallSettled, e.Finished, e.Failed, e.DeadLettered, e.Canceled),
    }
)
"""The kinds of events that have something to say."""

Here = Callable[..., Fact]
"""Makes a fact that knows where it is from: task, agent, number of the event, link and time."""


def told(event: e.Event, here: Here) -> Sequence[Fact]:
    """The facts in one event."""
    match event:
        case e.Replied(judged=judged, policy=policy):
            return [_judged(one, here, policy) for one in judged]
        case e.CallSettled():
            return (_settled(event, here),)
        case e.Submitted(request=request):
            return (here(kind="task.submitted", by=request.by),)
        case e.Started(attempt=attempt, policy=policy):
            return (here(kind="task.started", policy=policy, count=attempt),)
        case e.ChecksDue(judged=judged) | e.TopUpRequested(judged=judged):
            return [_judged(one, here, "") for one in judged]
        case e.CallApproved(call_id=call, by=by, digest=digest, grant=grant):
            rule = grant.label if grant else ""
            said = here(kind="call.approved", call=call, by=by, digest=digest, rule=rule)
            over = {"digest": hashed(event.vouched), "count": len(event.vouched)}
            vouched = (here(kind="labels.vouched", call=call, by=by, **over),)
            return (said, *(vouched if event.vouched else ()))
        case e.Retried(by=by):
            return (here(kind="task.retried", by=by),)
        case _:
            return _ended(event, here)


def _judged(one: JudgedCall, here: Here, policy: str) -> Fact:
    call, verdict = one.call, one.verdict
    return here(
        kind="call.judged",
        call=call.id,
        tool=call.tool,
        digest=call.key,
        verdict=_word(verdict),
        rule=verdict.rule,
        policy=policy,
        subject="" if isinstance(verdict, Deny) else verdict.reported,
    )


def _word(verdict: Verdict) -> str:
    match verdict:
        case Allow():
            return "allow"
        case Ask():
            return "ask"
        case Deny():
            return "deny"


def _settled(event: e.CallSettled, here: Here) -> Fact:
    call, by = event.call_id, event.by
    if isinstance(event.outcome, Refused):
        return here(kind="call.refused", call=call, by=by, rule=event.outcome.rule)
    return here(kind="call.settled", call=call, by=by, code=_code(event.outcome))


def _code(outcome: Outcome) -> str:
    match outcome:
        case Returned():
            return "returned"
        case Failed(code=code) | Refused(rule=code):
            return code
        case Unknown():
            return "unknown"


def _ended(event: e.Event, here: Here) -> Sequence[Fact]:
    match event:
        case e.Finished():
            return (here(kind="task.ended", code="succeeded"),)
        case e.Failed(fault=fault):
            return (here(kind="task.ended", code=fault.code),)
        case e.DeadLettered():
            return (here(kind="task.ended", code="dead_letter"),)
        case e.Canceled(by=by):
            return (here(kind="task.ended", code="canceled", by=by),)
        case _:
            return ()
