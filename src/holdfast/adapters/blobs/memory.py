"""Blobs in memory, for tests and trials."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable

from holdfast.core.error import NotFound
from holdfast.core.ids import Instant


class MemoryBlobs:
    """A dictionary that keeps the contract."""

    def __init__(self, now: Callable[[], Instant] = lambda: time.time_ns() // 1_000_000) -> None:
        self._kept: dict[str, bytes] = {}
        self._touched: dict[str, Instant] = {}
        self._now = now

    async def put(self, data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()
        self._kept[name], self._touched[name] = bytes(data), self._now()
        return name

    async def get(self, name: str) -> bytes:
        if name not in self._kept:
            raise NotFound(f"there is no blob {name!r}")
        return self._kept[name]

    async def renew(self, names: Iterable[str]) -> None:
        self._touched |= dict.fromkeys(self._kept.keys() & set(names), self._now())

    async def stale(self, before: Instant) -> frozenset[str]:
        return frozenset(name for name, at in self._touched.items() if at <= before)

    async def drop(self, names: Iterable[str], before: Instant) -> tuple[int, int]:
        gone = set(names) & await self.stale(before)
        size = sum(len(self._kept.pop(name)) for name in gone)
        for name in gone:
            del self._touched[name]
        return len(gone), size
