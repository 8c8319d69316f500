"""Where whole files are kept, by content."""

from __future__ import annotations

from typing import Protocol


class Blobs(Protocol):
    """Content-addressed storage: a blob's name is the SHA-256 (hex) of its bytes."""

    async def put(self, data: bytes) -> str:
        """Store durably (fsync) and return the name. Storing the same bytes twice is one blob."""
        ...

    async def get(self, name: str) -> bytes:
        """Raises `NotFound`, and `Broken` if the bytes do not match the name."""
        ...

    async def keep_only(self, names: frozenset[str]) -> int:
        """Delete every other blob; returns how many."""
        ...
