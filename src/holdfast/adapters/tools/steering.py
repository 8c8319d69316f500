"""What steers programs outside the box, put back if a command inside changed it.

A hook or a setting planted in `.git`, a shell's start file or an editor's task would run on the
host the next time its owner uses git, a shell or an editor there. The tools that write files may
change these, for there the gate sees the name; a command may not. They cannot be mounted
read-only: a second command could swap a folder for a link between our look and the mount, and the
box would show what the link names. So they are looked at before, and put back after, when no
process of the command is left. Commands at work in one folder at the same time share the first
look, or one could make another put back what it had planted.
"""

from __future__ import annotations

import posixpath
import stat
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio import CancelScope, to_thread

from .beneath import Denied, Folder
from .content import Content, put_back, remove, walk, whole

_GIT = ".git"
_STEERING = ("hooks", "config", "config.worktree", "commondir", "gitdir")
_STARTING = (
    *(".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".profile"),
    *(".zshrc", ".zshenv", ".zprofile", ".zlogin", ".envrc", ".gitconfig", ".mcp.json"),
    *(".vscode/tasks.json", ".vscode/settings.json", ".vscode/launch.json"),
    *(".cursor/mcp.json", ".claude/settings.json", ".claude/settings.local.json"),
    *(".ssh/authorized_keys", ".ssh/config", ".ssh/rc"),
)


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
    had = len(_without_git(look.files)) < len(look.files)
    now, before = _files(folder), look.files
    if not had or folder.stat(_GIT) is None:
        now, before = _without_git(now), _without_git(before)
    names = now.keys() | before.keys()
    changed = sorted(name for name in names if now.get(name) != before.get(name))
    for name in changed:
        if name in now:
            remove(folder, name)
    for name in changed:
        if name in before:
            put_back(folder, before[name])
    return changed


def _without_git(files: dict[str, Content]) -> dict[str, Content]:
    return {name: each for name, each in files.items() if name.split("/")[0] != _GIT}


def _files(folder: Folder) -> dict[str, Content]:
    found: dict[str, Content] = {}
    for name in (*_in_git(folder), *_STARTING):
        try:
            found |= {each.name: each for each in whole(folder, _link_above(folder, name) or name)}
        except (Denied, OSError):
            continue
    return found


def _in_git(folder: Folder) -> Iterator[str]:
    """What steers the repository, its submodules and its other worktrees."""
    about = folder.stat(_GIT)
    if about is None:
        return
    if not stat.S_ISDIR(about.st_mode):
        yield _GIT
        return
    for place in (_GIT, *_inner(folder, f"{_GIT}/modules"), *_inner(folder, f"{_GIT}/worktrees")):
        yield from (f"{place}/{name}" for name in _STEERING)


def _inner(folder: Folder, name: str) -> list[str]:
    """Repositories below a folder; the name of a submodule may have slashes."""
    found: list[str] = []
    with suppress(OSError):
        for entry in walk(folder, name, recursive=False, hidden=True):
            if entry.kind == "dir" and folder.stat(f"{entry.name}/HEAD") is None:
                found += _inner(folder, entry.name)
            elif entry.kind == "dir":
                found += [entry.name, *_inner(folder, f"{entry.name}/modules")]
    return found


def _link_above(folder: Folder, name: str) -> str:
    """The folder of `name` if it is a link: what it leads to would steer as well."""
    above = posixpath.dirname(name)
    about = folder.stat(above) if above else None
    return above if about is not None and stat.S_ISLNK(about.st_mode) else ""
