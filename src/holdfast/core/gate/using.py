"""What events say of leases: which were given, and how often each was used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from holdfast.core.event import CallApproved, Event, Replied

from .policy import Allow, Lease


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
