"""Writes down which servers there are besides the configured ones, and what was agreed to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import anyio
from anyio import to_thread
from msgspec.structs import replace

from holdfast.core.mcp import ServerSpec

from . import lock, saved, standing
from .lock import Entry
from .standing import ADDED, LOCKFILE, Books


class Keeping:
    """The books of one home, one change at a time; `changed` is called after each."""

    def __init__(self, home: Path, changed: Callable[[], None]) -> None:
        self._home, self._writing, self._changed = home, anyio.Lock(), changed
        self.books = standing.books(home)

    async def enter(self, name: str, entry: Entry | None) -> None:
        """Write down what is agreed to about one server. Raises `Broken`, `Unavailable`."""
        async with self._writing:
            kept = self._sound()
            fresh = kept.lock.having(name, entry)
            await to_thread.run_sync(partial(lock.write, self._home / LOCKFILE, fresh))
            self.books = replace(kept, lock=fresh)
        self._changed()

    async def save(self, servers: Mapping[str, ServerSpec]) -> None:
        async with self._writing:
            kept = self._sound()
            await to_thread.run_sync(partial(saved.write, self._home / ADDED, servers))
            self.books = replace(kept, added=servers)
        self._changed()

    def _sound(self) -> Books:
        """What is damaged is not overwritten, but read again: somebody may have mended it."""
        if self.books.problem is not None:
            self.books = standing.books(self._home)
            if self.books.problem is not None:
                raise self.books.problem
        return self.books
