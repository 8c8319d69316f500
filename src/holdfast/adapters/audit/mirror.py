"""The audit once more, as lines of a plain file: appended behind the database, and synced.

A killed writer leaves at most part of a line behind the last whole one; that is cut off, and what
is missing follows. So there is never a gap and nothing twice. The file only grows: what is taken
out of the audit later is still here, and it holds names and hashes, nothing that was said.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio import to_thread

from holdfast.adapters import private
from holdfast.core.audit.chain import line
from holdfast.core.error import Unavailable
from holdfast.ports.audit import Audit

_AT_ONCE = 1_000
_AGAIN = 10.0
_BLOCK = 1 << 16
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_LINE = re.compile(rb'\{"seq":([0-9]{1,16}),"leaf":"[0-9a-f]{64}","hash":"([0-9a-f]{64})",')
_FIRST = b'{"seq":1,'
_log = logging.getLogger("holdfast.audit")


class _Last(NamedTuple):
    """The last whole line of the file: the record's number and hash."""

    seq: int = 0
    hash: bytes = b""


class Mirror:
    """Keeps the file `path` as complete as the audit."""

    def __init__(self, path: Path, audit: Audit) -> None:
        self._path, self._audit = path, audit

    async def run(self) -> None:
        """For ever. What the disk refuses is said, and tried again."""
        while True:
            try:
                await self._follow()
            except (OSError, Unavailable) as failure:
                _log.warning("the mirror of the audit is behind: %s", failure)
            await anyio.sleep(_AGAIN)

    async def catch_up(self) -> int:
        """Everything that is there now; the number of the last record."""
        return await self._write(await self._begin())

    async def _follow(self) -> None:
        done = await self._begin()
        while True:
            done = await self._write(done)
            await self._audit.more(done)

    async def _write(self, done: int) -> int:
        while rows := await self._audit.read(done, _AT_ONCE):
            await to_thread.run_sync(_append, self._path, [line(row) for row in rows])
            done = rows[-1].seq
        return done

    async def _begin(self) -> int:
        """How far the file is; one that is of another audit is put aside."""
        last = await to_thread.run_sync(_end_of, self._path)
        if not last.seq:
            return 0
        found = await self._audit.read(last.seq - 1, 1)
        if found and (found[0].seq, found[0].hash) == last:
            return last.seq
        aside = await to_thread.run_sync(_put_aside, self._path)
        _log.warning("%s is not of this audit: it is %s now, and begun anew", self._path, aside)
        return 0


def _append(path: Path, lines: Sequence[bytes]) -> None:
    with os.fdopen(os.open(path, _FLAGS | os.O_APPEND, 0o600), "ab") as file:
        file.write(b"".join(lines))
        file.flush()
        os.fsync(file.fileno())


def _end_of(path: Path) -> _Last:
    """The last whole line; what stands behind it is cut off, unless the file is no mirror."""
    fresh = not path.exists()
    with os.fdopen(os.open(path, _FLAGS, 0o600), "r+b") as file:
        if fresh:
            private.sync(path.parent)
        size = file.seek(0, os.SEEK_END)
        begin, whole, part = size, list[bytes](), b""
        while begin and len(whole) < 2:  # the first may be half of a line
            begin = max(0, size - max(_BLOCK, 2 * (size - begin)))
            file.seek(begin)
            *whole, part = file.read(size - begin).split(b"\n")
        told = _LINE.match(whole[-1]) if whole else None
        ours = told or (not whole and part.startswith(_FIRST[: len(part)]))
        if ours:
            file.truncate(size - len(part))
            os.fsync(file.fileno())
    if told is None:
        return _Last(0 if ours else -1)
    return _Last(int(told[1]), bytes.fromhex(told[2].decode()))


def _put_aside(path: Path) -> Path:
    names = (path.with_name(f"{path.name}.{number}") for number in itertools.count(1))
    aside = next(name for name in names if not name.exists())
    path.rename(aside)
    private.sync(path.parent)
    return aside
