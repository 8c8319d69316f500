"""Keeps boxes: one for each task while it works, and a fresh one ready for whoever comes next.

A task's commands share one box, so that what one leaves in `/tmp` the next one finds. A box that
has been idle for long is destroyed, and so is one whose specification is no longer wanted. For the
specification that was lent last a spare box is kept, made while nobody waits; a box is never given
to a second owner.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from math import inf

import anyio
import msgspec
from anyio import CancelScope
from anyio.abc import TaskGroup, TaskStatus

from holdfast.core.error import HoldfastError, Unavailable
from holdfast.ports.box import Box, BoxKind, BoxSpec, BoxStats, Capabilities, Lodger
from holdfast.ports.egress import Pass

from .connected import Attach, ConnectedBox

_STATS_SECONDS = 2.0
_log = logging.getLogger("holdfast.boxes")
_Key = tuple[str, bytes]


@dataclass(slots=True, kw_only=True, eq=False)
class _Room:
    """A box that is kept, by how many it is used now, and since when it is not."""

    id: str
    box: Box
    owner: str
    users: int = 0
    idle_since: float = 0.0
    unwanted: bool = False
    gone: anyio.Event = field(default_factory=anyio.Event)

    async def end(self) -> None:
        self.gone.set()
        await self.box.destroy()


@dataclass(slots=True)
class _Door:
    """Only one at a time makes the box of one owner."""

    lock: anyio.Lock = field(default_factory=anyio.Lock)
    waiting: int = 0


class Pool:
    """A `Boxes`. `run` makes spares and ends what is idle; without it boxes are made when needed.

    `attach` gives a box its way out while `run` is at work: else there is none. `at_once`: how
    many users of boxes there may be at a time, the others wait; `kept`: idle boxes at the most.
    """

    def __init__(
        self,
        kind: BoxKind,
        attach: Attach = lambda box, owner: None,
        *,
        idle_seconds: float = 300.0,
        kept: int = 64,
        at_once: int = 32,
        spares: bool = True,
    ) -> None:
        self._kind, self._idle, self._kept = kind, idle_seconds, kept
        self._attach = attach
        self._group: TaskGroup | None = None
        self._room = anyio.CapacityLimiter(at_once)
        self._rooms: dict[_Key, _Room] = {}
        self._spare: _Room | None = None
        self._wanted: BoxSpec | None = None
        self._spares = spares
        self._doors: dict[_Key, _Door] = {}
        self._bell = anyio.Event()
        self._numbers = itertools.count(1)

    @property
    def kind(self) -> BoxKind:
        return self._kind

    @asynccontextmanager
    async def lend(self, owner: str, spec: BoxSpec) -> AsyncGenerator[Box]:
        async with self._room:
            room = await self._entered(owner, spec)
            try:
                yield room.box
            finally:
                with CancelScope(shield=True):
                    await self._left(room)

    async def release(self, owner: str) -> None:
        for key, room in list(self._rooms.items()):
            if room.owner == owner:
                del self._rooms[key]
                room.unwanted = True
                if room.users == 0:
                    await room.end()

    async def all(self) -> Sequence[Lodger]:
        rooms = [*self._rooms.values(), *([self._spare] if self._spare else [])]
        used: dict[str, BoxStats] = {}
        with anyio.move_on_after(_STATS_SECONDS):
            async with anyio.create_task_group() as group:
                for room in rooms:
                    group.start_soon(_asked, room, used)
        return [_told(self._kind.name, room, used.get(room.id, BoxStats())) for room in rooms]

    async def probe(self) -> Capabilities:
        return await self._kind.probe()

    async def close(self) -> None:
        rooms = [*self._rooms.values(), *([self._spare] if self._spare else [])]
        self._rooms.clear()
        self._spare = None
        with CancelScope(shield=True):
            for room in rooms:
                await room.end()
            await self._kind.close()

    async def run(self) -> None:
        """Keep house until cancelled. Sleeps while there is nothing to keep."""
        async with anyio.create_task_group() as group:
            self._group = group
            try:
                await self._keep_house()
            finally:
                self._group = None

    async def _keep_house(self) -> None:
        while True:
            with anyio.move_on_after(self._until_due()):
                await self._bell.wait()
            self._bell = anyio.Event()
            await self._tidied()
            await self._prepared()

    def _until_due(self) -> float:
        """Seconds until something has been idle for too long; for ever while nothing is idle."""
        rooms = [room for room in self._rooms.values() if room.users == 0]
        since = [room.idle_since for room in (*rooms, *([self._spare] if self._spare else []))]
        return max(0.0, min(since, default=inf) + self._idle - anyio.current_time())

    async def _entered(self, owner: str, spec: BoxSpec) -> _Room:
        key = (owner, msgspec.json.encode(spec, enc_hook=str))
        door = self._doors.setdefault(key, _Door())
        door.waiting += 1
        try:
            async with door.lock:
                room = self._rooms.get(key)
                if room is None:
                    room = await self._made(owner, spec)
                    self._rooms[key] = room
                    async with AsyncExitStack() as undo:
                        undo.push_async_callback(self._dropped, key, room)
                        await self._connect(room)
                        undo.pop_all()
                room.users += 1
        finally:
            door.waiting -= 1
            if door.waiting == 0:
                self._doors.pop(key, None)
        return room

    async def _dropped(self, key: _Key, room: _Room) -> None:
        """A box without the way out that it should have is not kept: the next one gets it."""
        if self._rooms.get(key) is room:
            del self._rooms[key]
        with CancelScope(shield=True):
            await room.end()

    async def _made(self, owner: str, spec: BoxSpec) -> _Room:
        spare = self._spare
        if spare is not None and spare.box.spec == spec:
            self._spare = None
            spare.owner = owner
            return spare
        return _Room(id=f"b{next(self._numbers)}", box=await self._kind.create(spec), owner=owner)

    async def _connect(self, room: _Room) -> None:
        """Its way out lives as long as the box. Without one it has no network, which is safe."""
        if self._group is None or room.box.spec.browser:
            return
        way = self._attach(room.box, room.owner)
        if way is not None:
            room.box = ConnectedBox(room.box, await self._group.start(_served, room, way))

    async def _left(self, room: _Room) -> None:
        room.users -= 1
        if room.users:
            return
        room.idle_since = anyio.current_time()
        # What belongs to a task's server or browser (`TASK mcp NAME`) is like no other's box.
        if self._spares and not room.box.spec.browser and " " not in room.owner:
            self._wanted = room.box.spec
        if room.unwanted:
            await room.end()
        self._bell.set()

    async def _tidied(self) -> None:
        now = anyio.current_time()
        idle = sorted(
            ((key, room) for key, room in self._rooms.items() if room.users == 0),
            key=lambda found: found[1].idle_since,
        )
        too_many = len(idle) - self._kept
        for number, (key, room) in enumerate(idle):
            if number < too_many or now - room.idle_since >= self._idle:
                del self._rooms[key]
                await _ended(room)
        spare = self._spare
        if spare is not None and now - spare.idle_since >= self._idle:
            self._spare, self._wanted = None, None
            await _ended(spare)

    def _spare_due(self) -> bool:
        wanted, spare = self._wanted, self._spare
        return wanted is not None and (spare is None or spare.box.spec != wanted)

    async def _prepared(self) -> None:
        if not self._spare_due():
            return
        wanted, old = self._wanted, self._spare
        self._spare = None
        try:
            if old is not None:
                await old.end()
            assert wanted is not None  # noqa: S101 - a spare is due only when one is wanted
            box = await self._kind.create(wanted)
        except (HoldfastError, OSError) as error:  # the workspace may be out of reach meanwhile
            self._wanted = None
            _log.warning("no spare box: %s", error)
            return
        number = f"b{next(self._numbers)}"
        self._spare = _Room(id=number, box=box, owner="", idle_since=anyio.current_time())


async def _ended(room: _Room) -> None:
    """Keeping house goes on, whatever one box does."""
    try:
        await room.end()
    except (HoldfastError, OSError) as error:
        _log.warning("the box %s could not be ended: %s", room.id, error)


async def _served(
    room: _Room,
    way: AbstractAsyncContextManager[Pass],
    *,
    task_status: TaskStatus[Pass],
) -> None:
    why, started = "", False
    try:
        async with way as passed:
            task_status.started(passed)
            started = True
            await room.gone.wait()
    except* (HoldfastError, OSError) as failures:
        why = str(failures.exceptions[0])
        _log.warning("the way out of box %s has failed: %s", room.id, why)
    if why and not started:
        raise Unavailable(f"the box has no way out: {why}")


async def _asked(room: _Room, used: dict[str, BoxStats]) -> None:
    """What a box uses now. One that does not say is listed all the same."""
    with suppress(HoldfastError, OSError):
        used[room.id] = await room.box.stats()


def _told(kind: str, room: _Room, stats: BoxStats) -> Lodger:
    spec, now = room.box.spec, anyio.current_time()
    return Lodger(
        id=room.id,
        kind=kind,
        owner=room.owner,
        agent=spec.agent,
        workspace=str(spec.workspace),
        state="in use" if room.users else "idle" if room.owner else "spare",
        idle_seconds=0.0 if room.users else now - room.idle_since,
        stats=stats,
    )
