"""What steers git outside the box, put back if a command inside changed it.

A hook or a setting planted in `.git` would run on the host the next time its owner uses git. It
cannot be mounted read-only: a second command could swap a folder for a link between our look and
the mount, and the box would show what the link names. So it is looked at before, and put back
after, when no process of the command is left. Commands at work in one folder at the same time
share the first look, or one could make another put back what it had planted.
"""

from __future__ import annotations

import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio import CancelScope, to_thread

from .beneath import Denied, Folder
from .content import Content, put_back, remove, whole

_GIT = ".git"
_STEERING = (".git/hooks", ".git/config", ".git/config.worktree")


@dataclass(slots=True)
class _Look:
    """The steering files of one workspace as they were, and how many commands rely on it."""

    folder: Folder
    files: dict[str, Content]
    users: int = 0


class Steering:
    """All workspaces in which commands are at work."""

    def __init__(self) -> None:
        self._looks: dict[Path, _Look] = {}
        self._lock = anyio.Lock()

    @asynccontextmanager
    async def kept(self, workspace: Path) -> AsyncGenerator[list[str]]:
        """Around a command; afterwards the list names what had to be put back."""
        restored: list[str] = []
        async with self._lock:
            look = self._looks.get(workspace) or await to_thread.run_sync(_look, workspace)
            self._looks[workspace] = look
            look.users += 1
        try:
            yield restored
        finally:
            with CancelScope(shield=True):
                async with self._lock:
                    look.users -= 1
                    if look.users == 0:
                        del self._looks[workspace]
                    restored += await to_thread.run_sync(_restore, look)


def _look(workspace: Path) -> _Look:
    folder = Folder(workspace)
    return _Look(folder, _files(folder))


def _restore(look: _Look) -> list[str]:
    """A repository that was not there before is the command's own; one that is gone stays so."""
    folder = look.folder
    if not look.files or folder.stat(_GIT) is None:
        return []
    now = _files(folder)
    names = now.keys() | look.files.keys()
    changed = sorted(name for name in names if now.get(name) != look.files.get(name))
    for name in changed:
        if name in now:
            remove(folder, name)
    for name in changed:
        if name in look.files:
            put_back(folder, look.files[name])
    return changed


def _files(folder: Folder) -> dict[str, Content]:
    about = folder.stat(_GIT)
    if about is None:
        return {}
    names = _STEERING if stat.S_ISDIR(about.st_mode) else (_GIT,)
    found: dict[str, Content] = {}
    for name in names:
        try:
            found |= {each.name: each for each in whole(folder, name)}
        except (Denied, OSError):
            continue
    return found
