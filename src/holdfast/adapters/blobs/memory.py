"""Blobs in memory, for tests and trials."""

from __future__ import annotations

import hashlib

from holdfast.core.error import NotFound


class MemoryBlobs:
    """A dictionary that keeps the contract."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    async def put(self, data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()
        self._kept[name] = bytes(data)
        return name

    async def get(self, name: str) -> bytes:
        if name not in self._kept:
            raise NotFound(f"there is no blob {name!r}")
        return self._kept[name]

    async def keep_only(self, names: frozenset[str]) -> int:
        unwanted = self._kept.keys() - names
        for name in unwanted:
            del self._kept[name]
        return len(unwanted)
