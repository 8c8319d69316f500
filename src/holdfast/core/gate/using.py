"""What events say of leases: which were given, and how often each was used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from holdfast.core.error import Invalid
from holdfast.core.event import CallApproved, Event, Replied
from holdfast.core.task import JudgedCall

from .policy import Allow, Lease, Rule, Say
from .suggest import suggested


def uses(events: Iterable[Event]) -> Mapping[str, int]:
    """How often these events use each lease, by its id."""
    return Counter(
        one.verdict.lease
        for event in events
        if isinstance(event, Replied)
        for one in event.judged
        if isinstance(one.verdict, Allow) and one.verdict.lease
    )


def given(events: Iterable[Event]) -> tuple[Lease, ...]:
    """The leases that approvals among these events brought along."""
    approvals = (event for event in events if isinstance(event, CallApproved))
    return tuple(event.lease for event in approvals if event.lease is not None)


def retold(replied: Replied) -> tuple[Lease, ...]:
    """Leases that allow what was leased in a turn and nothing else: to decide that turn again."""
    return tuple(
        _like(one, one.verdict)
        for one in replied.judged
        if isinstance(one.verdict, Allow) and one.verdict.lease
    )


def _like(judged: JudgedCall, verdict: Allow) -> Lease:
    name = verdict.rule.removeprefix(f"lease {verdict.lease}: ")
    try:
        rule = suggested(judged.call)
    except Invalid:  # a lease for any line at all
        rule = Rule(say=Say.ALLOW, tools=(judged.call.tool,))
    return Lease(id=verdict.lease, rule=replace(rule, name=name, labels=judged.call.labels))
