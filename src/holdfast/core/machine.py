"""The state machine, as the table that the code runs on and the diagram is drawn from."""

from __future__ import annotations

from collections.abc import Mapping

from . import event as e
from .task import Status

_S = Status

MOVES: Mapping[type[e.Event], Mapping[Status, Status]] = {
    e.Submitted: {_S.NEW: _S.QUEUED},
    e.Claimed: {_S.QUEUED: _S.CLAIMED},
    e.Started: {_S.CLAIMED: _S.RUNNING},
    e.Released: {_S.RUNNING: _S.WAITING},
    e.Woken: {_S.WAITING: _S.QUEUED},
    e.Recovered: {_S.CLAIMED: _S.QUEUED, _S.RUNNING: _S.QUEUED},
    e.AttemptFailed: {_S.RUNNING: _S.RETRY_WAIT},
    e.Requeued: {_S.RETRY_WAIT: _S.QUEUED},
    e.Finished: {_S.RUNNING: _S.SUCCEEDED},
    e.Failed: {_S.RUNNING: _S.FAILED, _S.RETRY_WAIT: _S.FAILED},
    e.DeadLettered: {_S.FAILED: _S.DEAD_LETTER},
    e.Retried: {_S.FAILED: _S.RETRY_WAIT},
    e.Canceled: {
        _S.QUEUED: _S.CANCELED,
        _S.CLAIMED: _S.CANCELED,
        _S.RUNNING: _S.CANCELED,
        _S.WAITING: _S.CANCELED,
        _S.RETRY_WAIT: _S.CANCELED,
    },
}
"""Which events move the status, from where to where. Every other event leaves it alone."""


def moved(status: Status, event: e.Event) -> Status | None:
    """The status after `event`, or None if the event cannot happen in `status`."""
    moves = MOVES.get(type(event))
    return status if moves is None else moves.get(status)


def diagram() -> str:
    """The machine as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> QUEUED: Submitted"]
    for kind, moves in MOVES.items():
        lines += [
            f"    {a} --> {b}: {kind.__name__}" for a, b in moves.items() if a is not Status.NEW
        ]
    ends = (_S.SUCCEEDED, _S.CANCELED, _S.DEAD_LETTER)
    return "\n".join([*lines, *(f"    {status} --> [*]" for status in ends)]) + "\n"
