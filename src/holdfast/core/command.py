"""What someone wants of a task, or what an effect brought back. Imperative mood."""

from __future__ import annotations

from msgspec import Struct

from .budget import Limits, Reservation, Spent
from .gate.policy import Lease
from .ids import CallId, Instant, TaskId
from .message import Change, Entry, Outcome, Reply, Try
from .task import Request, Wait


class Submit(Struct, frozen=True, kw_only=True):
    """Someone wants something done."""

    id: TaskId
    request: Request


class Claim(Struct, frozen=True, kw_only=True):
    """A worker takes the task."""

    owner: str


class Start(Struct, frozen=True, kw_only=True):
    """The worker begins a try. `history` is what was said in the session before."""

    history: tuple[Entry, ...] = ()


class Release(Struct, frozen=True, kw_only=True):
    """The worker lets go: nothing is due until something outside happens."""


class Recover(Struct, frozen=True, kw_only=True):
    """Whoever worked on this is gone; what was in flight no longer is."""

    reason: str


class BeginAsk(Struct, frozen=True, kw_only=True):
    """Set aside what the coming model call can use at most."""

    reserve: Reservation


class ReleaseAsk(Struct, frozen=True, kw_only=True):
    """The model call certainly cost nothing: what was set aside for it is free again."""


class RequestTopUp(Struct, frozen=True, kw_only=True):
    """A budget above the task does not allow the coming model call: ask a person to raise it.

    `budget` is its key, `text` says what is short, `more` is what would be added to it; at
    `back_at` it begins anew by itself (0: never).
    """

    budget: str
    text: str
    more: dict[str, int] = {}
    back_at: Instant = 0


class ResumeAsking(Struct, frozen=True, kw_only=True):
    """There may be money again under `budget` (empty: under any): whoever waits for it goes on."""

    budget: str = ""


class CutContext(Struct, frozen=True, kw_only=True):
    """The model cannot read that much: show it no more than `chars` characters from now on."""

    chars: int
    tried: tuple[Try, ...] = ()


class HearReply(Struct, frozen=True, kw_only=True):
    """The model answered; `saw` is how many transcript entries it was shown."""

    reply: Reply
    saw: int


class FailAttempt(Struct, frozen=True, kw_only=True):
    """The try failed: no model answered, or its time is up. `retry_after` in milliseconds."""

    code: str
    message: str
    retryable: bool = True
    retry_after: int = 0
    tried: tuple[Try, ...] = ()


class StartCall(Struct, frozen=True, kw_only=True):
    """The tool is about to run; `before` is what it may change, `secrets` what it is given."""

    call_id: CallId
    before: tuple[Change, ...] = ()
    secrets: tuple[str, ...] = ()


class SettleCall(Struct, frozen=True, kw_only=True):
    """The call has its answer; `spent` is what a child task used for it, and `sources` what from
    outside may be behind its answer. `by` is who gave it, if somebody was asked."""

    call_id: CallId
    outcome: Outcome
    spent: Spent | None = None
    sources: tuple[str, ...] = ()
    by: str = ""


class SuspendCall(Struct, frozen=True, kw_only=True):
    """The call waits for something outside."""

    call_id: CallId
    wait: Wait


class ClearCall(Struct, frozen=True, kw_only=True):
    """A doubted call was checked: it did not happen, so it may run."""

    call_id: CallId


class Approve(Struct, frozen=True, kw_only=True):
    """A person says yes to exactly these arguments; `whole_task` grants the tool from now on.

    `lease` is what the person does not want to be asked about again. `vouch`: the values that
    nobody had said are this person's own from now on.
    """

    call_id: CallId
    digest: str
    by: str
    whole_task: bool = False
    vouch: bool = False
    lease: Lease | None = None


class Refuse(Struct, frozen=True, kw_only=True):
    """A person says no."""

    call_id: CallId
    by: str
    reason: str = ""


class Say(Struct, frozen=True, kw_only=True):
    """A person adds a message to a task at work, or `answers` with it the question of a call."""

    text: str
    by: str
    answers: CallId = CallId("")


class Tick(Struct, frozen=True, kw_only=True):
    """Time has passed: settle what was waiting for it."""


class Cancel(Struct, frozen=True, kw_only=True):
    """Stop, for good."""

    by: str
    reason: str = ""


class Retry(Struct, frozen=True, kw_only=True):
    """A person wants a failed task tried again, perhaps under other `limits`."""

    by: str
    limits: Limits | None = None


class StopChild(Struct, frozen=True, kw_only=True):
    """A child of a cancelled task has been told to stop."""

    child: TaskId


class ConfirmDelivery(Struct, frozen=True, kw_only=True):
    """The channel has the result; or not, and `error` says why."""

    channel: str
    error: str = ""


Command = (
    Submit
    | Claim
    | Start
    | Release
    | Recover
    | BeginAsk
    | ReleaseAsk
    | RequestTopUp
    | ResumeAsking
    | CutContext
    | HearReply
    | FailAttempt
    | StartCall
    | SettleCall
    | SuspendCall
    | ClearCall
    | Approve
    | Refuse
    | Say
    | Tick
    | Cancel
    | Retry
    | StopChild
    | ConfirmDelivery
)
