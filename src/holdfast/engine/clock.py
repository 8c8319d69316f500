"""The real clock."""

from __future__ import annotations

import secrets
import time

import anyio

from holdfast.core.ids import Instant, sortable

_LONGEST = 60.0


class SystemClock:
    """Wall time, in steps of at most a minute, so that a clock that jumps is noticed."""

    def now(self) -> Instant:
        return time.time_ns() // 1_000_000

    def new_id(self, prefix: str) -> str:
        return sortable(prefix, self.now(), secrets.token_bytes(10))

    async def wait(self, event: anyio.Event, until: Instant | None) -> None:
        if until is None:
            await event.wait()
            return
        while not event.is_set() and (left := until - self.now()) > 0:
            with anyio.move_on_after(min(left / 1000, _LONGEST)):
                await event.wait()
