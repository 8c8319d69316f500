"""What runs outside the box by itself, put back if a command inside changed it.

A hook or a setting planted in `.git` would run on the host the next time its owner uses git; so
would what shells, editors and agents start with when they come to the folder. It cannot be mounted
read-only: a second command could swap a folder for a link between our look and the mount, and the
box would show what the link names. So it is looked at before, and put back after, when no process
of the command is left. Commands at work in one folder at the same time
share the first look, or one could make another put back what it had planted.
"""

from __future__ import annotations

import stat
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio import CancelScope, to_thread

from .beneath import Denied, Folder
from .content import Content, put_back, remove, walk, whole

_GIT = ".git"
_STEERING = ("hooks", "config", "config.worktree", "commondir", "gitdir")
_STARTED = (
    *(".bash_profile", ".bashrc", ".envrc", ".gitconfig", ".profile", ".zprofile", ".zshenv"),
    *(".zshrc", ".mcp.json", ".cursor/mcp.json", ".claude/settings.json"),
    *(".claude/settings.local.json", ".vscode/launch.json", ".vscode/mcp.json"),
    *(".vscode/settings.json", ".vscode/tasks.json"),
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
    folder, before, now = look.folder, look.files, _files(look.folder)
    if not _of_git(before) or folder.stat(_GIT) is None:
        before, now = _without_git(before), _without_git(now)
    names = now.keys() | before.keys()
    changed = sorted(name for name in names if now.get(name) != before.get(name))
    for name in changed:
        if name in now:
            remove(folder, name)
    for name in changed:
        if name in before:
            put_back(folder, before[name])
    return changed


def _of_git(files: Mapping[str, Content]) -> bool:
    return any(name == _GIT or name.startswith(f"{_GIT}/") for name in files)


def _without_git(files: Mapping[str, Content]) -> dict[str, Content]:
    return {name: each for name, each in files.items() if not _of_git({name: each})}


def _files(folder: Folder) -> dict[str, Content]:
    found: dict[str, Content] = {}
    for name in (*_STARTED, *_in_git(folder)):
        try:
            found |= {each.name: each for each in whole(folder, name)}
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
            if entry.kind != "dir":
                continue
            inside = f"{entry.name}/modules"
            if folder.stat(f"{entry.name}/HEAD") is None:
                inside = entry.name
            else:
                found.append(entry.name)
            found += _inner(folder, inside)
    return found
