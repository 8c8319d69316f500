"""Time and chance, brought in from outside so that tests can choose them."""

from __future__ import annotations

from typing import Protocol

import anyio

from holdfast.core.ids import Instant


class Clock(Protocol):
    """What time it is, and new ids."""

    def now(self) -> Instant:
        """Wall clock; may jump either way."""
        ...

    def new_id(self, prefix: str) -> str:
        """A fresh sortable id (`core.ids.sortable`)."""
        ...

    async def wait(self, event: anyio.Event, until: Instant | None) -> None:
        """Return when `event` is set or `until` has come by the wall clock; None waits for ever."""
        ...
