"""The files that a task has made or changed, as they are now in its folder."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import PurePosixPath

from anyio import to_thread
from msgspec import Struct

from holdfast.core.task import Task

_MOST = 64
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Produced(Struct, frozen=True, kw_only=True):
    """One file; `data` is None for one that is too large to be handed over, or gone."""

    path: str
    data: bytes | None


async def produced(task: Task, most: int) -> tuple[Produced, ...]:
    """At most 64 of them and `most` bytes in all. No link is followed: it may lead anywhere."""
    paths = list(dict.fromkeys(change.path for change in task.changes))[:_MOST]
    if not paths:
        return ()
    return await to_thread.run_sync(_read, task.request.workspace, paths, most)


def _read(folder: str, paths: list[str], most: int) -> tuple[Produced, ...]:
    found: list[Produced] = []
    for path in paths:
        data: bytes | None = None
        with suppress(OSError, ValueError):
            data = _bytes(folder, PurePosixPath(path), most)
        most -= len(data or b"")
        found.append(Produced(path=path, data=data))
    return tuple(found)


def _bytes(folder: str, path: PurePosixPath, most: int) -> bytes | None:
    if path.is_absolute() or not path.parts or {"..", ".holdfast"} & set(path.parts):
        return None
    # The workspace itself is named by a person; what is below it may be the agent's doing.
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in path.parts[:-1]:
            inner = os.open(name, _FOLDER, dir_fd=here)
            os.close(here)
            here = inner
        file = os.open(path.name, _FILE, dir_fd=here)
    finally:
        os.close(here)
    with os.fdopen(file, "rb") as opened:
        told = os.fstat(opened.fileno())
        if not stat.S_ISREG(told.st_mode) or told.st_size > most:
            return None
        data = opened.read(most + 1)
    return data if len(data) <= most else None
