"""What is happening right now, for whoever watches. Nothing here is kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from contextlib import contextmanager

import anyio
from msgspec import Struct

from holdfast.core.event import Event
from holdfast.core.ids import Instant, TaskId
from holdfast.ports.model import Delta

_BUFFER = 512


class Happened(Struct, frozen=True, kw_only=True):
    """An event that is on disk."""

    seq: int
    at: Instant
    event: Event


class Watcher:
    """One reader's bounded queue. A reader that is too slow gets `gap` and reads the journal.

    Of a reply with pieces lost nothing counts: what was heard of it is reset.
    """

    def __init__(self) -> None:
        self._items: deque[Happened | Delta] = deque()
        self._arrived = anyio.Event()
        self.gap = False

    def put(self, item: Happened | Delta) -> None:
        if len(self._items) >= _BUFFER:
            self._items.clear()
            self._items.append(Delta(reset=True))
            self.gap = True
        self._items.append(item)
        self._arrived.set()

    async def take(self) -> list[Happened | Delta]:
        """Everything that has come since the last call; waits until there is something."""
        await self._arrived.wait()
        self._arrived = anyio.Event()
        items = list(self._items)
        self._items.clear()
        return items


class Live:
    """Who watches what."""

    def __init__(self) -> None:
        self._watchers: dict[TaskId, set[Watcher]] = {}

    @contextmanager
    def watching(self, task: TaskId) -> Generator[Watcher]:
        watcher = Watcher()
        self._watchers.setdefault(task, set()).add(watcher)
        try:
            yield watcher
        finally:
            self._watchers[task].discard(watcher)
            if not self._watchers[task]:
                del self._watchers[task]

    def tell(self, task: TaskId, item: Happened | Delta) -> None:
        for watcher in self._watchers.get(task, ()):
            watcher.put(item)

    def watched(self, task: TaskId) -> bool:
        return task in self._watchers
