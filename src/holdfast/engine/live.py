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

ALL = TaskId("")
"""Watched for the events of every task."""

_BUFFER = 512
_PACE = 0.12
_PIECE = 200


class Happened(Struct, frozen=True, kw_only=True):
    """An event that is on disk."""

    seq: int
    at: Instant
    event: Event


class Watcher:
    """One reader's bounded queue. A reader that is too slow gets `gap` and reads the journal.

    Of a reply with pieces lost nothing counts: what was heard of it is reset. Words and thoughts
    run together and wait until 0.12 s have passed or 200 characters have come, so that many
    replies can be followed at once; events, calls and resets do not wait.
    """

    def __init__(self) -> None:
        self._items: deque[Happened | Delta] = deque()
        self._arrived, self._urgent = anyio.Event(), anyio.Event()
        self._taken = -_PACE
        self.gap = False

    def put(self, item: Happened | Delta) -> None:
        if len(self._items) >= _BUFFER:
            self._items.clear()
            self._items.append(Delta(reset=True))
            self.gap = True
        last = self._items[-1] if self._items else None
        if isinstance(item, Delta) and (longer := _run_on(last, item)):
            self._items[-1] = item = longer
        else:
            self._items.append(item)
        self._arrived.set()
        if not isinstance(item, Delta) or _is_urgent(item):
            self._urgent.set()

    async def take(self) -> list[Happened | Delta]:
        """Everything that has come since the last call; waits until there is something."""
        await self._arrived.wait()
        if not self._urgent.is_set():
            with anyio.move_on_after(self._taken + _PACE - anyio.current_time()):
                await self._urgent.wait()
        self._taken = anyio.current_time()
        self._arrived, self._urgent = anyio.Event(), anyio.Event()
        items = list(self._items)
        self._items.clear()
        return items


def _run_on(last: Happened | Delta | None, more: Delta) -> Delta | None:
    """Both as one piece, if they are words or thoughts of one run; else None."""
    if not isinstance(last, Delta) or last.reset or last.call or more.reset or more.call:
        return None
    if last.note and more.note:
        return more  # only how far it is now matters
    if last.text and more.text and not last.thought and not more.thought:
        return Delta(text=last.text + more.text) if len(last.text) < _PIECE else None
    if last.thought and more.thought and not last.text and not more.text:
        return Delta(thought=last.thought + more.thought) if len(last.thought) < _PIECE else None
    return None


def _is_urgent(delta: Delta) -> bool:
    return bool(delta.reset or delta.call) or len(delta.text) + len(delta.thought) >= _PIECE


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
        everybody = () if isinstance(item, Delta) else self._watchers.get(ALL, ())
        for watcher in (*self._watchers.get(task, ()), *everybody):
            watcher.put(item)

    def watched(self, *tasks: TaskId) -> bool:
        """True if somebody watches one of them."""
        return any(task in self._watchers for task in tasks)
