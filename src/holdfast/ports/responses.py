"""Answers that their client may come back to."""

from __future__ import annotations

from typing import Protocol


class Responses(Protocol):
    """What was answered, by id. An id is nobody's but its principal's; the oldest go at last."""

    async def keep(self, name: str, by: str, data: bytes) -> None:
        """Durable when this returns; the same name again replaces what was there."""

    async def find(self, name: str, by: str) -> bytes:
        """Raises `NotFound`, also for what is somebody else's."""
        ...

    async def forget(self, name: str, by: str) -> None:
        """Raises as `find`."""
