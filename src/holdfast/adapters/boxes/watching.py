"""Notices that a command fills the disk or makes too many files.

A workspace is a folder of the user's own file system, which has no bound for one folder. So we
look at the file system's counters, which costs nothing, many times a second; only when these say
that more is gone than the command may use is it held, and are the files counted that have changed
since it began. What it wrote between two looks is over the limit: this wall is soft.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import anyio
from anyio import to_thread

_LOOK = 0.01
_BLOCK = 512
_ENOUGH = 1 << 20


async def overgrown(
    workspace: Path, disk: int, inodes: int, held: Callable[[], AbstractContextManager[None]]
) -> str:
    """Return, in words, when what was written since now is more; 0 is no limit."""
    began, before = time.time(), await _counters(workspace)
    least = 1.0
    while True:
        await anyio.sleep(_LOOK)
        now = await _counters(workspace)
        if before is None or now is None:
            return "its workspace is gone"
        used = (before.f_bfree - now.f_bfree) * before.f_frsize
        made = before.f_ffree - now.f_ffree
        if not ((disk and used > disk * least) or (inodes and made > inodes * least)):
            continue
        count = partial(_changed, workspace, began - 1, disk or 1 << 62, inodes or _ENOUGH)
        with held():
            size, number = await to_thread.run_sync(count)
        if disk and size > disk:
            return f"it wrote more than {disk >> 20} MiB into the workspace"
        if inodes and number > inodes:
            return f"it made more than {inodes:,} files"
        least *= 1.25  # somebody else fills this file system: do not count at every look


async def _counters(workspace: Path) -> os.statvfs_result | None:
    """A file system of the network may not answer: nobody else waits for it."""
    return await to_thread.run_sync(_asked, workspace, abandon_on_cancel=True)


def _asked(workspace: Path) -> os.statvfs_result | None:
    try:
        return os.statvfs(workspace)
    except OSError:
        return None


def _changed(workspace: Path, since: float, disk: int, inodes: int) -> tuple[int, int]:
    """Bytes and number of the files that changed since; stops when either is too much."""
    size = number = 0
    for about in _files(workspace):
        if about.st_ctime >= since:
            size, number = size + about.st_blocks * _BLOCK, number + 1
            if size > disk or number > inodes:
                break
    return size, number


def _files(folder: Path) -> Iterator[os.stat_result]:
    folders = [str(folder)]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    yield entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
        except OSError:
            continue  # gone while we looked
