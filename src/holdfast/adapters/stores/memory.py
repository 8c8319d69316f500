"""The journal in memory: simple, quick, gone at exit. The fake for tests of everything above."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import anyio.lowlevel
import msgspec

from holdfast.core import event as e
from holdfast.core import view
from holdfast.core.audit.fact import Fact
from holdfast.core.error import NotFound, Refused, Unavailable
from holdfast.core.event import Event
from holdfast.core.ids import Instant, SessionId, TaskId, digest
from holdfast.core.task import ENDED, Status
from holdfast.core.view import Summary
from holdfast.ports.journal import Cursor, Health, Query, Recorded

from . import audit, entry
from .audit_memory import MemoryAudit
from .leases import MemoryLeases


class _Stream:
    """One task: its events, its summary, and when its lease ends."""

    def __init__(self, summary: Summary) -> None:
        self.summary = summary
        self.events: list[Recorded] = []
        self.end = Cursor()
        self.lease_until = 0
        self.purged = False


class MemoryJournal:
    """A `Journal` that forgets everything when it is thrown away."""

    def __init__(self) -> None:
        self._streams: dict[TaskId, _Stream] = {}
        self._open: dict[SessionId, set[TaskId]] = {}
        self._queued: set[TaskId] = set()
        self._keys: set[tuple[str, str]] = set()
        self._leases = MemoryLeases()
        self._closed = False
        self._audit = MemoryAudit()

    def audit(self) -> MemoryAudit:
        return self._audit

    def leases(self) -> MemoryLeases:
        return self._leases

    async def append(
        self,
        task: TaskId,
        after: Cursor,
        events: Sequence[Event],
        summary: Summary,
        *,
        at: Instant,
        fence: int | None = None,
    ) -> Cursor:
        made = entry.make(task, after, events, summary, at, fence)
        await anyio.lowlevel.checkpoint()
        if self._closed:
            raise Unavailable("the journal is closed", code="store_closed")
        stream = self._streams.get(task)
        if refusal := entry.refusal(made, stream and _stored(stream)):
            raise refusal
        if refusal := self._leases.refusal(made.uses):
            raise refusal
        if made.unique in self._keys:
            raise entry.duplicate(made)
        if made.alone and _is_of_another(made, self._summaries()):
            raise entry.overheard(made)
        if made.unique is not None:
            self._keys.add(made.unique)
        stream = self._streams.setdefault(task, _Stream(summary))
        stream.events += _recorded(events, made, at)
        self._leases.count(made.leases, made.uses)
        stream.summary, stream.end = summary, made.end
        self._audit.add(made.notes)
        held = summary.status in entry.HELD and summary.owner
        stream.lease_until = at + entry.LEASE_MS if held else 0
        self._index(summary)
        return made.end

    def _index(self, summary: Summary) -> None:
        task, session = summary.id, summary.session
        if summary.status is Status.QUEUED:
            self._queued.add(task)
        else:
            self._queued.discard(task)
        if not session:
            return
        waiting = self._open.setdefault(session, set())
        if summary.status in ENDED:
            waiting.discard(task)
        else:
            waiting.add(task)

    async def read(self, task: TaskId, after: int = 0, limit: int = 0) -> Sequence[Recorded]:
        stream = self._streams.get(task)
        if stream is None:
            raise NotFound(f"there is no task {task}")
        if stream.purged:
            raise entry.purged_error(task)
        return tuple(stream.events[after : after + limit if limit > 0 else None])

    async def summary(self, task: TaskId) -> Summary | None:
        stream = self._streams.get(task)
        return stream.summary if stream else None

    async def find(self, text: str) -> Sequence[TaskId]:
        if not text:
            return ()
        if text in self._streams:
            return (TaskId(text),)
        found = (t for t in self._streams if t.startswith(text) or t.endswith(text))
        return tuple(heapq.nsmallest(10, found))

    async def query(self, query: Query) -> Sequence[Summary]:
        found = (row for row in self._summaries() if _matches(row, query))
        return tuple(heapq.nlargest(query.limit, found, key=lambda row: row.id))

    async def count(self) -> Mapping[Status, int]:
        counts: dict[Status, int] = {}
        for row in self._summaries():
            counts[row.status] = counts.get(row.status, 0) + 1
        return counts

    async def ready(self, limit: int, *, skip_agents: Sequence[str] = ()) -> Sequence[Summary]:
        rows = (self._streams[task].summary for task in self._queued)
        free = (r for r in rows if r.agent not in skip_agents and not self._is_behind(r))
        return tuple(heapq.nsmallest(limit, free, key=lambda row: (row.rank, row.id)))

    def _is_behind(self, row: Summary) -> bool:
        return bool(row.session) and min(self._open[row.session]) < row.id

    async def due(self, now: Instant, limit: int) -> Sequence[TaskId]:
        waiting = ((r.wake_at, r.id) for r in self._summaries() if r.wake_at is not None)
        return tuple(t for _, t in heapq.nsmallest(limit, (w for w in waiting if w[0] <= now)))

    async def next_due(self) -> Instant | None:
        return min((r.wake_at for r in self._summaries() if r.wake_at is not None), default=None)

    async def lost(self, now: Instant, limit: int, *, owner: str = "") -> Sequence[TaskId]:
        found = (
            stream.summary.id
            for stream in self._held()
            if stream.lease_until < now or (owner and stream.summary.owner == owner)
        )
        return tuple(heapq.nsmallest(limit, found))

    async def renew(self, owner: str, until: Instant) -> None:
        for stream in self._held():
            if stream.summary.owner == owner:
                stream.lease_until = until

    async def release(self) -> None:
        for stream in self._held():
            stream.lease_until = 0

    async def verify(self) -> Health:
        found: list[str] = []
        for task, stream in self._streams.items():
            rows = tuple(
                (r.seq, type(r.event).__name__, r.at, e.encode(r.event), r.link)
                for r in stream.events
            )
            if not stream.purged:
                text = view.encode(stream.summary)
                end = stream.end
                found += audit.problems(
                    audit.Stream(task, end.version, end.head, stream.purged, text, rows)
                )
        events = sum(stream.end.version for stream in self._streams.values())
        return Health(streams=len(self._streams), events=events, problems=tuple(found))

    async def backup(self, to: Path) -> None:
        """The streams as JSON lines, for a look; there is nothing to restore them into."""
        lines = [
            msgspec.json.encode([task, [[type(r.event).__name__, r] for r in stream.events]])
            for task, stream in self._streams.items()
        ]
        try:
            with to.open("xb") as file:
                file.write(b"\n".join(lines))
        except FileExistsError as error:
            raise Refused(f"{to} is already there", code="backup_exists") from error

    async def forget(self, before: Instant) -> int:
        old = [
            row
            for row in self._summaries()
            if row.status in ENDED and row.updated_at < before and row.wake_at is None
        ]
        for row in old:
            del self._streams[row.id]
            self._keys.discard((row.by, row.key))
            self._audit.tell(Fact(kind="task.forgotten", at=before, task=row.id))
        return len(old)

    async def used(self) -> int:
        bodies = (e.encode(r.event) for s in self._streams.values() for r in s.events)
        return sum(map(len, bodies)) + sum(len(view.encode(row)) for row in self._summaries())

    async def oldest(self, limit: int) -> Sequence[Summary]:
        over = [r for r in self._summaries() if r.status in ENDED and r.wake_at is None]
        return sorted(over, key=lambda row: (row.updated_at, row.id))[:limit]

    async def purge(self, tasks: Sequence[TaskId], *, by: str, reason: str, at: Instant) -> int:
        streams = [s for t in dict.fromkeys(tasks) if (s := self._streams.get(t)) and not s.purged]
        for stream in streams:
            if refusal := entry.still_needed(stream.summary):
                raise refusal
        for stream in streams:
            stream.purged, stream.events = True, []
            task = stream.summary.id
            stream.summary = audit.overwritten(stream.summary)
            self._audit.empty(task)
            told = Fact(kind="task.purged", at=at, task=task, by=by, digest=digest(reason))
            self._audit.tell(told)
        return len(streams)

    async def close(self) -> None:
        self._closed = True

    def _summaries(self) -> Iterable[Summary]:
        return (stream.summary for stream in self._streams.values())

    def _held(self) -> Iterable[_Stream]:
        return (s for s in self._streams.values() if s.summary.status in entry.HELD)


def _is_of_another(made: entry.Entry, rows: Iterable[Summary]) -> bool:
    session, by = made.speaks or ("", "")
    owners = (row.by for row in rows if row.session == session != "")
    return next(owners, by) != by


def _recorded(events: Sequence[Event], made: entry.Entry, at: Instant) -> Iterable[Recorded]:
    for event, row in zip(events, made.rows, strict=True):
        yield Recorded(seq=int(row[1] or 0), at=at, event=event, link=str(row[5]))


def _stored(stream: _Stream) -> entry.Stored:
    end = stream.end
    return entry.Stored(end.version, end.head, stream.summary.fence, stream.purged)


def _matches(row: Summary, query: Query) -> bool:
    return all(
        (
            not query.status or row.status in query.status,
            query.session is None or row.session == query.session,
            query.parent is None or row.parent == query.parent,
            not query.agent or row.agent == query.agent,
            not query.by or row.by == query.by,
            not query.key or row.key == query.key,
            not query.asked or bool(row.questions),
            query.before is None or row.id < query.before,
        )
    )
