"""The one writer: loads a task, lets it decide, makes the events durable, tells who is waiting."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

import anyio

from holdfast.core.command import Command
from holdfast.core.decide import decide
from holdfast.core.error import Conflict, HoldfastError, NotFound
from holdfast.core.event import Event
from holdfast.core.evolve import fold
from holdfast.core.gate import using
from holdfast.core.gate.policy import Rules
from holdfast.core.ids import Instant, TaskId
from holdfast.core.task import Task
from holdfast.core.view import summary
from holdfast.ports.clock import Clock
from holdfast.ports.journal import Cursor, Journal

from .authority import Authority
from .live import ALL, Happened, Live

_KEPT = 1024
_TRIES = 8


class Stream:
    """One task in memory: its state, where its stream ends, and a bell that rings on change."""

    __slots__ = ("_bell", "cursor", "id", "lock", "task", "users")

    def __init__(self, task_id: TaskId) -> None:
        self.id = task_id
        self.task = Task()
        self.cursor = Cursor()
        self.lock = anyio.Lock(fast_acquire=True)
        self.users = 0
        self._bell: anyio.Event | None = None

    @property
    def bell(self) -> anyio.Event:
        """Rings once, at the next change. Most changes happen with nobody waiting: none is made."""
        if self._bell is None:
            self._bell = anyio.Event()
        return self._bell

    def ring(self) -> None:
        bell, self._bell = self._bell, None
        if bell is not None:
            bell.set()


class Recorder:
    """Turns commands into durable events. The only place that appends to the journal.

    `changed` is called after every append with the state before and after; it must not block.
    `clean` takes secrets out of each command before it is decided: no event can have one then.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        live: Live,
        rules: Callable[[], Rules],
        clean: Callable[[Command], Command] | None = None,
    ) -> None:
        self._journal, self._clock, self._live = journal, clock, live
        self.authority = Authority(rules)
        self._clean = clean
        self._streams: OrderedDict[TaskId, Stream] = OrderedDict()
        self.changed: Callable[[Task, Task], None] = _nobody

    async def tell(self, task_id: TaskId, *commands: Command, fence: int | None = None) -> Task:
        """Let the task decide each command in turn; all their events become durable together.

        Returns the task after. Raises `Refused` when a command makes no sense now, `NotFound`,
        `Conflict` when `fence` is given and another worker has taken over, `Unavailable` when
        nothing could be stored.
        """
        stream = self._stream(task_id)
        if self._clean is not None:
            commands = tuple(map(self._clean, commands))
        stream.users += 1
        try:
            async with stream.lock:
                return await self._told(stream, commands, fence)
        finally:
            stream.users -= 1
            self._trim()

    async def load(self, task_id: TaskId) -> Task:
        """The task as it is now. Raises `NotFound`."""
        stream = self._stream(task_id)
        async with stream.lock:
            if not stream.cursor.version:
                await self._read(stream)
        self._trim()
        if not stream.cursor.version:
            raise NotFound(f"there is no task {task_id}", code="task_not_found")
        return stream.task

    def drop(self, task_ids: Iterable[TaskId]) -> None:
        """Forget what is in memory about these tasks: they were changed in the journal itself."""
        for task_id in task_ids:
            stream = self._streams.get(task_id)
            if stream is not None and not stream.users:
                del self._streams[task_id]

    def stream(self, task_id: TaskId) -> Stream:
        """The stream of a task that is being driven; keep `users` above zero while holding it."""
        return self._stream(task_id)

    async def _told(self, stream: Stream, commands: Sequence[Command], fence: int | None) -> Task:
        for _ in range(_TRIES):
            if not stream.cursor.version:
                await self._read(stream)
            if fence is not None and stream.task.fence != fence:
                raise Conflict(f"another worker has taken over {stream.id}", code="fenced")
            now = self._clock.now()
            events, after = self._decided(stream, commands, now)
            if not events:
                return after
            # Nothing is awaited between deciding and taking: no other task can take the same use.
            uses = self.authority.take(events)
            try:
                await self._append(stream, events, after, now, fence)
            except Conflict as conflict:
                self.authority.give_back(uses)
                if conflict.code == "duplicate_key":
                    raise
                if conflict.code == "lease_used_up":
                    self.authority.exhaust(uses)
                    continue
                stream.cursor = Cursor()
                continue
            except HoldfastError:
                self.authority.give_back(uses)
                raise
            return after
        raise Conflict(f"{stream.id} is written by others all the time", code="contended")

    def _decided(
        self, stream: Stream, commands: Sequence[Command], now: Instant
    ) -> tuple[tuple[Event, ...], Task]:
        task = stream.task
        rules = self.authority.over(task)
        events: tuple[Event, ...] = ()
        for command in commands:
            fresh = decide(task, command, rules=rules, now=now)
            task = fold(fresh, task)
            events += fresh
        return events, task

    async def _append(
        self,
        stream: Stream,
        events: tuple[Event, ...],
        after: Task,
        now: Instant,
        fence: int | None,
    ) -> None:
        before, version = stream.task, stream.cursor.version
        # Shielded: a cancelled caller must not leave the memory behind the disk.
        with anyio.CancelScope(shield=True):
            stream.cursor = await self._journal.append(
                stream.id, stream.cursor, events, summary(after), at=now, fence=fence
            )
        stream.task = after
        self.authority.put(using.given(events))
        if self._live.watched(stream.id, ALL):
            for seq, event in enumerate(events, start=version + 1):
                self._live.tell(stream.id, Happened(seq=seq, at=now, event=event))
        stream.ring()
        self.changed(before, after)

    async def _read(self, stream: Stream) -> None:
        try:
            past = await self._journal.read(stream.id)
        except NotFound:
            stream.task, stream.cursor = Task(), Cursor()
            return
        stream.task = fold(recorded.event for recorded in past)
        stream.cursor = Cursor(version=past[-1].seq, head=past[-1].link)

    def _stream(self, task_id: TaskId) -> Stream:
        stream = self._streams.get(task_id)
        if stream is None:
            stream = self._streams[task_id] = Stream(task_id)
        else:
            self._streams.move_to_end(task_id)
        return stream

    def _trim(self) -> None:
        while len(self._streams) > _KEPT:
            oldest = next(iter(self._streams))
            stream = self._streams[oldest]
            if stream.users or stream.lock.locked():
                self._streams.move_to_end(oldest)
                return
            del self._streams[oldest]


def _nobody(_before: Task, _after: Task) -> None:
    """Nobody wants to know."""
