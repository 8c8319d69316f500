"""Where results go, besides to whoever is watching."""

from __future__ import annotations

from typing import Protocol

from holdfast.core.view import Summary


class Channel(Protocol):
    """A way out. The same `delivery` id may come twice; it must arrive once."""

    @property
    def name(self) -> str: ...

    async def deliver(self, delivery: str, result: Summary) -> None:
        """Bring the result. Raises `Unavailable` if it should be tried again later."""
        ...
