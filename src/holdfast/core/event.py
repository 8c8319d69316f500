"""What happened to a task: past tense, immutable, stored. Kinds are added, never changed."""

from __future__ import annotations

from typing import get_args

import msgspec
from msgspec import Struct

from .budget import Limits, Reservation, Spent
from .error import Broken
from .gate.policy import Lease, Rule
from .ids import CallId, Instant, TaskId
from .message import Change, Entry, ModelSaid, Outcome, Try, Usage
from .task import Fault, JudgedCall, Request, Wait


class Submitted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Someone wants something done."""

    id: TaskId
    request: Request
    at: Instant


class Claimed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A worker took the task; only writes with this fencing number count from now on."""

    owner: str
    fence: int


class Started(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A try began, under the policy of this version."""

    attempt: int
    at: Instant
    policy: str = ""
    history: tuple[Entry, ...] = ()


class AskBegun(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens and money were set aside for a model call that is about to be made."""

    reserve: Reservation


class AskReleased(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The model call took nothing: what was set aside is free again."""


class TopUpRequested(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The money does not reach for the next turn: a person is asked for more."""

    judged: tuple[JudgedCall, ...]
    policy: str = ""


class ContextCut(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The conversation was too long for the model: it is shown at most `chars` characters now."""

    chars: int
    tried: tuple[Try, ...] = ()


class Replied(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The model answered; every call it proposed is here together with its verdict.

    `saw` is how many entries of the transcript it was shown: the reply belongs behind them.
    `tried` is what was tried for it, in order; `policy` the version of the rules that judged.
    """

    said: ModelSaid
    judged: tuple[JudgedCall, ...] = ()
    usage: Usage = Usage()
    model: str = ""
    saw: int = 0
    tried: tuple[Try, ...] = ()
    policy: str = ""


class CallStarted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The tool is about to run: the intent is on disk before the act.

    `secrets` are the names of those that it is given.
    """

    call_id: CallId
    before: tuple[Change, ...] = ()
    secrets: tuple[str, ...] = ()


class CallWaiting(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The call waits for something outside."""

    call_id: CallId
    wait: Wait


class CallApproved(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A person said yes to exactly these arguments; and beforehand to more, in a `lease`.

    `vouched`: the values of them that no person had said, which are this person's from now on.
    """

    call_id: CallId
    by: str
    digest: str
    grant: Rule | None = None
    lease: Lease | None = None
    policy: str = ""
    vouched: tuple[str, ...] = ()


class CallCleared(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An interrupted call may run again: repeating it is safe, or it did not happen."""

    call_id: CallId
    reason: str


class CallDoubted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An interrupted call may have happened; its tool can find out."""

    call_id: CallId


class CallSettled(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The call has its one answer; `spent` is what a child task used for it, and `sources` what
    from outside may be behind a child's answer. `by` is the person whose answer it is."""

    call_id: CallId
    outcome: Outcome
    note: str = ""
    spent: Spent | None = None
    sources: tuple[str, ...] = ()
    by: str = ""


class Nudged(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The house told the model to go on; `shape`: its answer did not have the one wanted."""

    text: str
    shape: bool = False


class ChecksDue(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The model gave an answer; these checks must pass before it counts."""

    answer: str
    judged: tuple[JudgedCall, ...]


class ChecksFailed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The checks said no; the model is told what failed."""

    report: str


class Said(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A person added a message."""

    text: str
    by: str


class Released(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The worker let go; nothing is due until something outside happens."""

    at: Instant


class Woken(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the task waited for has come; it wants a worker again."""

    at: Instant


class Recovered(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The worker was lost; the task wants another."""

    reason: str
    at: Instant


class AttemptFailed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A try failed; the next one begins at `retry_at`."""

    fault: Fault
    at: Instant
    retry_at: Instant
    tried: tuple[Try, ...] = ()


class Requeued(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The pause after a failed try is over."""

    at: Instant


class Retried(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A person wants the failed task tried again, perhaps under other `limits`."""

    by: str
    at: Instant
    limits: Limits | None = None


class Finished(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The task succeeded; `checks` passed before it could."""

    answer: str
    at: Instant
    checks: int = 0


class Failed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The task failed; `tried` if no model answered."""

    fault: Fault
    at: Instant
    tried: tuple[Try, ...] = ()


class DeadLettered(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Trying again is pointless: set aside for a person."""

    reason: str


class Canceled(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Stopped for good."""

    by: str
    at: Instant
    reason: str = ""


class ChildStopped(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A child of the cancelled task was told to stop."""

    child: TaskId


class Delivered(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A channel has the result."""

    channel: str


class DeliveryFailed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A channel did not take the result; `retry_at` 0 means given up."""

    channel: str
    error: str
    retry_at: Instant = 0


OfLife = (
    Submitted
    | Claimed
    | Started
    | Released
    | Woken
    | Recovered
    | AttemptFailed
    | Requeued
    | Retried
)
OfMoney = AskBegun | AskReleased | TopUpRequested
OfTurns = OfMoney | ContextCut | Replied | Nudged | ChecksDue | ChecksFailed | Said
OfCalls = CallStarted | CallWaiting | CallApproved | CallCleared | CallDoubted | CallSettled
OfEnds = Finished | Failed | DeadLettered | Canceled | ChildStopped | Delivered | DeliveryFailed
Event = OfLife | OfTurns | OfCalls | OfEnds

KINDS: dict[str, type[Event]] = {kind.__name__: kind for kind in get_args(Event)}
_DECODERS = {name: msgspec.json.Decoder(kind) for name, kind in KINDS.items()}
_ENCODER = msgspec.json.Encoder(order="deterministic")


def encode(event: Event) -> bytes:
    """The stored form of an event: canonical JSON without its kind, which is a column."""
    return _ENCODER.encode(event)


def decode(kind: str, body: bytes) -> Event:
    """An event from its stored form. Raises `Broken` on an unknown kind: never skipped."""
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise Broken(
            f"unknown event kind {kind!r}: written by a newer Holdfast",
            code="unknown_event",
            hint="upgrade Holdfast, or restore a backup made by this version",
        )
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Broken(f"a {kind} event cannot be read: {error}", code="damaged_event") from error
