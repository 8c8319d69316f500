"""What one append becomes before any store sees it, and when a store must refuse it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from holdfast.core import event as e
from holdfast.core import view
from holdfast.core.audit.fact import Fact, encode
from holdfast.core.audit.told import TELLING, told
from holdfast.core.error import Conflict, HoldfastError, Invalid, NotAllowed, Refused
from holdfast.core.gate import using
from holdfast.core.gate.policy import Lease
from holdfast.core.ids import GENESIS, Instant, TaskId, link
from holdfast.core.task import ENDED, Status
from holdfast.core.view import Summary
from holdfast.ports.journal import Cursor, Recorded

from .connection import Value

LEASE_MS = 30_000
"""How long a worker may be silent before its task counts as lost."""

MAX_BODY = 64 << 20
"""The most bytes that one event, or one summary, may take."""

HELD = (Status.CLAIMED, Status.RUNNING)
_INTEGER = 1 << 63

COLUMNS = (
    *("id", "version", "head", "status", "rank", "wake_at", "session", "agent", "parent"),
    *("by", "key", "submitted_at", "updated_at", "owner", "fence", "lease_until", "asked"),
    "summary",
)
"""The columns of a task row, in the order of `Entry.row`."""


class Stored(NamedTuple):
    """What a store knows of a stream when it judges an append."""

    version: int
    head: str
    fence: int
    purged: bool


class Note(NamedTuple):
    """A fact on its way into the audit, encoded."""

    at: Instant
    task: str
    body: bytes


class Entry(NamedTuple):
    """One append, encoded: `rows` of (task, seq, kind, at, body, link) and one task row.

    `leases` are those that it brings along, `uses` how often it uses which; `notes` are what the
    events say to the audit. `speaks` is whose task comes into which session, once it is `alone`
    only if nobody else has begun it.
    """

    task: TaskId
    after: Cursor
    end: Cursor
    fence: int | None
    new_fence: int
    unique: tuple[str, str] | None
    rows: tuple[tuple[Value, ...], ...]
    row: tuple[Value, ...]
    leases: tuple[Lease, ...] = ()
    uses: Mapping[str, int] = {}
    notes: tuple[Note, ...] = ()
    speaks: tuple[str, str] | None = None
    alone: bool = False


def make(
    task: TaskId,
    after: Cursor,
    events: Sequence[e.Event],
    summary: Summary,
    at: Instant,
    fence: int | None,
) -> Entry:
    """Encode and chain. Pure; raises `Invalid` for what cannot be stored."""
    if not events:
        raise Invalid(f"{task}: an append needs at least one event", code="empty_append")
    head, rows, notes = after.head, list[tuple[Value, ...]](), tuple[Note, ...]()
    try:
        encoded = [(type(event).__name__, e.encode(event)) for event in events]
        text = view.encode(summary)
    except UnicodeEncodeError as error:
        raise Invalid(f"{task}: text that is not Unicode cannot be stored: {error}") from error
    if len(text) > MAX_BODY:
        raise Invalid(f"{task}: its summary has {len(text)} bytes", code="event_too_large")
    for seq, (kind, body) in enumerate(encoded, start=after.version + 1):
        if len(body) > MAX_BODY:
            raise Invalid(
                f"{task}: a {kind} event has {len(body)} bytes, at most {MAX_BODY} are kept",
                code="event_too_large",
                hint="keep large content in a file or a blob and refer to it",
            )
        head = link(head, kind, at, body)
        rows.append((task, seq, kind, at, body, head))
        event = events[seq - after.version - 1]
        if type(event) in TELLING:
            here = partial(Fact, at=at, task=task, event=seq, link=head, agent=summary.agent)
            notes += noted(*told(event, here))
    end = Cursor(version=after.version + len(rows), head=head)
    unique = (summary.by, summary.key) if summary.key and not after.version else None
    _refuse_odd(summary, at)
    row = task_row(end, summary, text, at)
    made = Entry(task, after, end, fence, summary.fence, unique, tuple(rows), row)
    first = events[0]
    if isinstance(first, e.Submitted) and first.request.session:
        speaks = (str(first.request.session), first.request.by)
        made = made._replace(speaks=speaks, alone=first.request.own_session)
    return made._replace(leases=using.given(events), uses=using.uses(events), notes=notes)


def noted(*facts: Fact) -> tuple[Note, ...]:
    """Facts, encoded. Raises `Invalid` for what cannot be stored."""
    try:
        return tuple(Note(fact.at, fact.task, encode(fact)) for fact in facts)
    except UnicodeEncodeError as error:
        raise Invalid(f"text that is not Unicode cannot be stored: {error}") from error


def _refuse_odd(summary: Summary, at: Instant) -> None:
    """Names and numbers that a column cannot hold would spoil the whole batch: not let in."""
    row = summary
    names = (row.id, row.session, row.agent, row.parent or "", row.by, row.key, row.owner)
    if "\0" in "".join(names):
        raise Invalid(f"{row.id}: a name holds a NUL character", code="bad_name")
    numbers = (at, row.rank, row.wake_at or 0, row.submitted_at, row.updated_at, row.fence)
    if not -_INTEGER <= min(numbers) <= max(numbers) < _INTEGER:
        raise Invalid(f"{row.id}: a number is too large to be stored", code="number_too_large")


def task_row(end: Cursor, summary: Summary, text: bytes, at: Instant) -> tuple[Value, ...]:
    """The values of `COLUMNS`. A worker's every append renews its lease."""
    held = summary.status in HELD and summary.owner
    return (
        *(summary.id, end.version, end.head, summary.status.value, summary.rank, summary.wake_at),
        *(summary.session, summary.agent, summary.parent, summary.by, summary.key),
        *(summary.submitted_at, summary.updated_at, summary.owner, summary.fence),
        *(at + LEASE_MS if held else 0, int(bool(summary.questions)), text),
    )


def refusal(entry: Entry, stored: Stored | None) -> HoldfastError | None:
    """Why this append cannot follow what is stored, or None."""
    version, head, fence, purged = stored or Stored(0, GENESIS, 0, purged=False)
    if purged:
        return purged_error(entry.task)
    if version != entry.after.version or head != entry.after.head:
        return Conflict(
            f"{entry.task} is at event {version}, not {entry.after.version}: reload and try again"
        )
    if entry.fence is not None and entry.fence != fence:
        return Conflict(
            f"{entry.task} was taken over: fencing number {fence}, not {entry.fence}",
            code="fenced_off",
        )
    return None


def duplicate(entry: Entry) -> Conflict:
    """The error for a second submission with the same key."""
    by, key = entry.unique or ("", "")
    return Conflict(
        f"{by or 'the caller'} has already submitted a task with key {key!r}",
        code="duplicate_key",
        hint="look it up by its key, or choose another key",
    )


def overheard(entry: Entry) -> NotAllowed:
    """The error for a task that would be shown what others said in its session."""
    session = entry.speaks[0] if entry.speaks else ""
    return NotAllowed(
        f"the conversation {session} is somebody else's",
        code="not_your_session",
        hint="name another one, or none",
    )


def still_needed(row: Summary) -> Refused | None:
    """Why a task cannot be purged yet, or None."""
    if row.status in ENDED and row.wake_at is None:
        return None
    return Refused(
        f"{row.id} is {row.status} and not over: cancel it first, or wait for its end",
        code="task_not_over",
    )


def purged_error(task: TaskId) -> Refused:
    return Refused(f"what {task} said was purged", code="purged")


def recorded(seq: int, at: Instant, kind: str, body: bytes, chain: str) -> Recorded:
    return Recorded(seq=seq, at=at, event=e.decode(kind, body), link=chain)
