"""Takes tasks off the queue, gives each a driver, recovers what was lost."""

from __future__ import annotations

import logging
from collections import Counter

import anyio
from anyio.abc import TaskGroup, TaskStatus
from msgspec import Struct

from holdfast.core.command import Cancel, Claim, Recover, Start, Submit
from holdfast.core.error import Broken, Refused, Saturated, Unavailable
from holdfast.core.ids import TaskId
from holdfast.core.task import ENDED, Request, Status, Task
from holdfast.core.view import Summary
from holdfast.ports.clock import Clock
from holdfast.ports.journal import Journal

from .drive import Driver
from .history import history
from .perform import Performer
from .record import Recorder, Stream
from .timekeep import Timekeeper

_log = logging.getLogger("holdfast.engine")
LEASE = 30_000
HEARTBEAT = 10_000
_PAUSE = 1.0
_BATCH = 64
_ALL = 1_000_000


class Intake(Struct, frozen=True, kw_only=True):
    """How much at once: `lanes` tasks at work, `depth` queued (0 for no limit).

    `drain` is how many seconds a stop waits for what is in flight.
    """

    lanes: int = 16
    depth: int = 1000
    drain: float = 5.0


class Supervisor:
    """The engine's root: everything that moves a task is a child of `run`."""

    def __init__(
        self,
        journal: Journal,
        recorder: Recorder,
        performer: Performer,
        timekeeper: Timekeeper,
        clock: Clock,
        intake: Intake,
    ) -> None:
        self._journal, self._recorder, self._performer = journal, recorder, performer
        self._timekeeper, self._clock, self._intake = timekeeper, clock, intake
        self.owner = clock.new_id("worker")
        self._drivers: dict[TaskId, Driver] = {}
        self._agents: Counter[str] = Counter()
        self._lanes: dict[str, int] = {}
        self._claiming: set[TaskId] = set()
        self._damaged: set[TaskId] = set()
        self._counts: Counter[Status] = Counter()
        self._backlog = True
        self._work = anyio.Event()
        self._stopping = False
        self._stopped = anyio.Event()
        recorder.changed = self._changed

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Recover, report ready, then work until `stop`."""
        await self._recover()
        self._counts = Counter(await self._journal.count())
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._timekeeper.run)
                group.start_soon(self._heartbeat)
                task_status.started()
                while not self._stopping:
                    self._work = anyio.Event()
                    await self._take(group)
                    await self._work.wait()
                await self._drained()
                group.cancel_scope.cancel()
        finally:
            self._stopped.set()

    async def stop(self) -> None:
        """Take nothing more, let what is in flight end (bounded); returns when `run` is over."""
        self._stopping = True
        self._work.set()
        await self._stopped.wait()

    async def submit(self, task_id: TaskId, request: Request) -> Task:
        """Put a task on the queue. Raises `Saturated` when too many wait, `Conflict` on its key."""
        if self._stopping:
            raise Unavailable("the daemon is stopping", code="stopping", hint="try again shortly")
        depth, queued = self._intake.depth, self._counts[Status.QUEUED]
        if depth and queued >= depth and request.parent is None:
            hint = "try again shortly, or raise engine.queue_depth in the configuration"
            full = f"{queued} tasks are waiting, the limit is {depth}"
            raise Saturated(full, retry_after=1, hint=hint)
        return await self._recorder.tell(task_id, Submit(id=task_id, request=request))

    @property
    def counts(self) -> dict[Status, int]:
        return {status: count for status, count in self._counts.items() if count}

    @property
    def running(self) -> int:
        return len(self._drivers)

    def _changed(self, before: Task, after: Task) -> None:
        if before.status is not after.status:
            if before.status is not Status.NEW:
                self._counts[before.status] -= 1
            self._counts[after.status] += 1
            if after.status is Status.QUEUED or after.ended:
                self._backlog = True
                self._work.set()
        if after.ended and not before.ended:
            failed = after.fault if after.status is not Status.SUCCEEDED else None
            why = f": {failed.code}" if failed else ""
            _log.info("%s%s", after.status, why, extra={"task": after.id})
        self._timekeeper.noticed(after)

    async def _take(self, group: TaskGroup) -> None:
        while self._backlog and not self._stopping:
            free = self._intake.lanes - len(self._drivers)
            if free <= 0:
                return
            self._backlog = False
            limit = free + len(self._claiming) + len(self._damaged)
            try:
                found = await self._journal.ready(limit, skip_agents=self._full())
            except Unavailable as failure:
                _log.warning("the queue cannot be read: %s", failure)
                self._backlog = True
                await anyio.sleep(1)
                continue
            for row in found:
                if row.id not in self._drivers and row.id not in self._damaged:
                    await self._begin(group, row)
            if len(found) >= limit:
                self._backlog = True

    def _full(self) -> list[str]:
        return [name for name, n in self._agents.items() if n >= self._lanes.get(name, 1 << 30)]

    async def _begin(self, group: TaskGroup, row: Summary) -> None:
        if self._agents[row.agent] >= self._lanes.get(row.agent, 1 << 30):
            return
        try:
            task = await self._recorder.load(row.id)
        except Broken as damage:
            self._damaged.add(row.id)
            _log.error("set aside until the next start: %s", damage, extra={"task": row.id})
            return
        agent = task.request.agent
        self._lanes[agent.name] = agent.lanes
        self._agents[agent.name] += 1
        stream = self._recorder.stream(row.id)
        stream.users += 1
        self._claiming.add(row.id)
        self._drivers[row.id] = Driver(stream, self._recorder, self._performer)
        group.start_soon(self._work_on, row.id, agent.name)

    async def _work_on(self, task_id: TaskId, agent: str) -> None:
        stream = self._recorder.stream(task_id)
        try:
            if driver := await self._claimed(stream):
                await driver.run()
        except* Refused as failures:
            _log.info("not taken: %s", failures.exceptions[0], extra={"task": task_id})
        except* Unavailable as failures:
            _log.warning("not taken: %s", failures.exceptions[0], extra={"task": task_id})
        except* Exception:  # noqa: BLE001 - around a task: it must not take the others along
            self._damaged.add(task_id)
            _log.exception("the task cannot be driven", extra={"task": task_id})
        finally:
            if stream.task.status is Status.QUEUED and not self._stopping:
                await anyio.sleep(_PAUSE)  # it is next in the queue again: do not spin
            stream.users -= 1
            self._claiming.discard(task_id)
            del self._drivers[task_id]
            self._agents[agent] -= 1
            self._backlog = True
            self._work.set()

    async def _claimed(self, stream: Stream) -> Driver | None:
        task = stream.task
        parent = task.request.parent
        if parent and not await self._waits(parent.task):
            await self._recorder.tell(task.id, Cancel(by="house", reason="its parent ended"))
            return None
        start = Start(history=await history(self._journal, self._recorder, task))
        await self._recorder.tell(task.id, Claim(owner=self.owner), start)
        self._claiming.discard(task.id)
        driver = self._drivers[task.id] = Driver(stream, self._recorder, self._performer)
        if self._stopping:
            driver.drain()
        return driver

    async def _waits(self, parent: TaskId) -> bool:
        row = await self._journal.summary(parent)
        return row is not None and row.status not in ENDED

    async def _heartbeat(self) -> None:
        """Renew our leases while we have any; silent when idle."""
        while True:
            if self._drivers:
                try:
                    await self._journal.renew(self.owner, self._clock.now() + LEASE)
                except Unavailable as failure:
                    _log.warning("leases not renewed: %s", failure)
            until = self._clock.now() + HEARTBEAT
            await self._clock.wait(anyio.Event(), until)

    async def _recover(self) -> None:
        """Give back to the queue what a worker before us was doing."""
        await self._journal.release()
        lost = await self._journal.lost(self._clock.now() + 1, _ALL)
        limiter = anyio.CapacityLimiter(_BATCH)

        async def give_back(task_id: TaskId) -> None:
            async with limiter:
                try:
                    await self._recorder.tell(task_id, Recover(reason="the daemon died"))
                except Broken as damage:
                    _log.error("not recovered: %s", damage, extra={"task": task_id})

        async with anyio.create_task_group() as group:
            for task_id in lost:
                group.start_soon(give_back, task_id)

    async def _drained(self) -> None:
        for driver in self._drivers.values():
            driver.drain()
        with anyio.move_on_after(self._intake.drain):
            while self._drivers:
                self._work = anyio.Event()
                await self._work.wait()
