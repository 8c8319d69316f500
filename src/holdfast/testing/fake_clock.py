"""A clock that stands still until it is told to move."""

from __future__ import annotations

import anyio

from holdfast.core.ids import Instant, sortable


class FakeClock:
    """A `Clock` whose time a test decides. Ids count upwards, so that runs are alike."""

    def __init__(self, now: Instant = 1_800_000_000_000) -> None:
        self._now = now
        self._ids = 0
        self._moved = anyio.Event()

    def now(self) -> Instant:
        return self._now

    def new_id(self, prefix: str) -> str:
        self._ids += 1
        return sortable(prefix, self._now, self._ids.to_bytes(10, "big"))

    def advance(self, seconds: float) -> None:
        """Move time, either way; whoever waits for a moment that has come goes on."""
        self._now += round(seconds * 1000)
        self._moved.set()
        self._moved = anyio.Event()

    async def wait(self, event: anyio.Event, until: Instant | None) -> None:
        while not event.is_set() and (until is None or until > self._now):
            moved = self._moved
            async with anyio.create_task_group() as group:

                async def first(one: anyio.Event) -> None:
                    await one.wait()
                    group.cancel_scope.cancel()

                group.start_soon(first, event)
                group.start_soon(first, moved)
