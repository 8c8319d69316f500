"""Where whole files are kept, by content, and who may still speak of one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from holdfast.core.ids import Instant


class Blobs(Protocol):
    """Content-addressed storage: a blob's name is the SHA-256 (hex) of its bytes.

    Whoever is about to write a name down has put or renewed it just before: so nothing that is
    fresh is dropped, whatever has not been written down of it yet.
    """

    async def put(self, data: bytes) -> str:
        """Store durably (fsync) and return the name. Storing the same bytes twice is one blob,
        and a fresh one."""
        ...

    async def get(self, name: str) -> bytes:
        """Raises `NotFound`, and `Broken` if the bytes do not match the name."""
        ...

    async def renew(self, names: Iterable[str]) -> None:
        """Those that are there are as fresh as if they had just been put."""
        ...

    async def stale(self, before: Instant) -> frozenset[str]:
        """All that were neither put nor renewed since."""
        ...

    async def drop(self, names: Iterable[str], before: Instant) -> tuple[int, int]:
        """Delete those of them that still were not; how many, and their bytes."""
        ...


class Mentions(Protocol):
    """Something written down that may speak of blobs."""

    async def unmentioned(self, names: frozenset[str]) -> frozenset[str]:
        """Those of which nothing is said there, of all that was said when this began."""
        ...
