"""Where tasks are remembered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from holdfast.core.event import Event
from holdfast.core.ids import GENESIS, Instant, SessionId, TaskId
from holdfast.core.task import Status
from holdfast.core.view import Summary


class Cursor(Struct, frozen=True, kw_only=True):
    """The end of a stream: how many events it holds, and its chain value."""

    version: int = 0
    head: str = GENESIS


class Recorded(Struct, frozen=True, kw_only=True):
    """One event as it was stored. `seq` begins at 1; `link` is the chain value after it."""

    seq: int
    at: Instant
    event: Event
    link: str


class Query(Struct, frozen=True, kw_only=True):
    """Which summaries to list: newest first, all conditions must hold. `before` is a task id."""

    status: tuple[Status, ...] = ()
    session: SessionId | None = None
    parent: TaskId | None = None
    agent: str = ""
    by: str = ""
    key: str = ""
    asked: bool = False
    limit: int = 50
    before: TaskId | None = None


class Health(Struct, frozen=True, kw_only=True):
    """What a check of the store found. `problems` is empty when all is well."""

    streams: int
    events: int
    problems: tuple[str, ...] = ()


class Journal(Protocol):
    """Append-only memory of what happened to each task, and one summary row per task.

    Every method may raise `Unavailable` (disk full, store gone) and then nothing was stored, and
    `Broken` for damage. Reads see every append that has returned. All methods may be cancelled;
    a cancelled append may or may not have been stored.
    """

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
        """Store all events and the summary durably, or nothing.

        Raises `Conflict` unless the stream ends exactly at `after` and, when `fence` is given,
        the stored summary's fencing number equals it. Raises `NotAllowed` (code
        "not_your_session") for the first append of a request with `own_session` if the task that
        came first into its session is somebody else's. Appends of many tasks share one fsync.
        """
        ...

    async def read(self, task: TaskId, after: int = 0, limit: int = 0) -> Sequence[Recorded]:
        """Events with seq > `after`, in order; at most `limit` if it is positive.

        Raises `NotFound` for a task without events, `Refused` (code "purged") for a purged one.
        """
        ...

    async def summary(self, task: TaskId) -> Summary | None: ...

    async def find(self, text: str) -> Sequence[TaskId]:
        """At most 10 ids that begin or end with `text` (a whole id finds itself)."""
        ...

    async def query(self, query: Query) -> Sequence[Summary]: ...

    async def count(self) -> Mapping[Status, int]: ...

    async def ready(self, limit: int, *, skip_agents: Sequence[str] = ()) -> Sequence[Summary]:
        """QUEUED tasks in queue order (smallest rank, then id).

        Leaves out agents named in `skip_agents`, and a task of a session while an earlier task of
        that session has not ended.
        """
        ...

    async def due(self, now: Instant, limit: int) -> Sequence[TaskId]:
        """Tasks whose `wake_at` is at or before `now`, soonest first."""
        ...

    async def next_due(self) -> Instant | None:
        """The smallest `wake_at` of all tasks."""
        ...

    async def lost(self, now: Instant, limit: int, *, owner: str = "") -> Sequence[TaskId]:
        """CLAIMED and RUNNING tasks whose lease ended before `now`, or that `owner` holds."""
        ...

    async def renew(self, owner: str, until: Instant) -> None:
        """Move the lease end of everything that `owner` holds."""
        ...

    async def release(self) -> None:
        """End every lease now: called once at start by the only process that uses this store."""
        ...

    async def verify(self) -> Health:
        """Recompute every chain and refold every stream; compare with what is stored."""
        ...

    async def backup(self, to: Path) -> None:
        """A consistent copy of the store in the new file `to`, while it is in use; and of what
        else a restored home needs."""
        ...

    async def forget(self, before: Instant) -> int:
        """Delete tasks that ended before; returns how many. Safe to repeat."""
        ...

    async def used(self) -> int:
        """Bytes that what is kept takes up."""
        ...

    async def oldest(self, limit: int) -> Sequence[Summary]:
        """Ended tasks that owe nothing, the one that ended first at the front."""
        ...

    async def purge(self, tasks: Sequence[TaskId], *, by: str, reason: str, at: Instant) -> int:
        """Overwrite what these tasks said, keep that they existed; how many. Irrevocable."""
        ...

    async def close(self) -> None:
        """Finish waiting appends, then close. May be called twice."""
        ...
