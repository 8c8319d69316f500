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

    async def tidy(self, before: int) -> None:
        """What was kept before that moment goes, and what is too old in any case."""

    async def purge(self, words: tuple[str, ...]) -> None:
        """Everything in which one of these ids stands goes, whoever's it is."""
