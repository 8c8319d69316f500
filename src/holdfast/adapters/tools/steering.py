"""What steers programs outside the box, put back if a command inside changed it.

A hook or a setting planted in `.git`, a shell's start file or an editor's task would run on the
host the next time its owner uses git, a shell or an editor there. The tools that write files refuse
those of git and may change the others, for there the gate sees the name; a command may not. They
cannot be mounted read-only: a second command could swap a folder for a link between our look and
the mount, and the box would show what the link names. So they are looked at before, and put back
after, when no process of the command is left. Commands at work in one folder at the same time share
the first look, or one could make another put back what it had planted.

Repositories count down to three folders below the workspace, of the first thousand folders by
depth. One that a command makes or moves is its own: nobody on the host has used it there yet.
"""

from __future__ import annotations

import os
import posixpath
import stat
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import anyio
from anyio import CancelScope, to_thread

from .beneath import Denied, Folder
from .content import Content, put_back, remove, walk, whole

_GIT = ".git"
_NOT_ENTERED = frozenset({_GIT, ".holdfast"})
_DEPTH, _MOST_FOLDERS, _MOST_KNOWN = 3, 1_000, 10_000
_SETTLED = 100_000_000
"""Nanoseconds after which one more change of a folder shows in its time: its clock is coarse."""
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
    """The steering files of one workspace as they were, and how many commands rely on it.

    `places` are the `.git` of its repositories.
    """

    folder: Folder
    places: list[str]
    files: dict[str, Content]
    users: int = 0


class Steering:
    """All workspaces in which commands are at work."""

    def __init__(self) -> None:
        self._looks: dict[Path, _Look] = {}
        self._listings = _Listings()
        self._lock = anyio.Lock()

    @asynccontextmanager
    async def kept(self, workspace: Path) -> AsyncGenerator[list[str]]:
        """Around a command; afterwards the list names what had to be put back."""
        restored: list[str] = []
        async with self._lock:
            look = self._looks.get(workspace) or await to_thread.run_sync(self._look, workspace)
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

    def _look(self, workspace: Path) -> _Look:
        folder = Folder(workspace)
        places = _repositories(folder, self._listings)
        return _Look(folder, places, _files(folder, places))


class _Listings:
    """The folders in folders, read again only after a change: the next command waits for this."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, int, int], list[str]]] = {}

    def folders(self, place: str) -> list[str]:
        """The folders in a folder, and `.git` whatever it is."""
        try:
            about = os.lstat(place)
            stamp = (about.st_dev, about.st_ino, about.st_ctime_ns)
            known = self._known.get(place)
            if known is not None and known[0] == stamp:
                return known[1]
            with os.scandir(place) as entries:
                found = sorted(
                    each.name for each in entries if each.name == _GIT or _is_folder(each)
                )
        except OSError:
            return []
        if time.time_ns() - about.st_ctime_ns > _SETTLED:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[place] = (stamp, found)
        return found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _restore(look: _Look) -> list[str]:
    """A repository that was not there before is the command's own; one that is gone stays so.

    A link where there was a folder on the way to one is removed: it would show another's.
    """
    folder, before = look.folder, look.files
    links = sorted({link for place in look.places if (link := _link_on_the_way(folder, place))})
    for link in links:
        remove(folder, link)
    there = [place for place in look.places if _about(folder, place) is not None]
    gone = tuple(f"{place}/" for place in look.places if place not in there)
    now = _files(folder, there)
    names = {name for name in now.keys() | before.keys() if not f"{name}/".startswith(gone)}
    changed = sorted(name for name in names if now.get(name) != before.get(name))
    for name in changed:
        if name in now:
            remove(folder, name)
    for name in changed:
        if name in before:
            put_back(folder, before[name])
    return [*links, *changed]


def _repositories(folder: Folder, listings: _Listings) -> list[str]:
    """The `.git` of each repository. Names alone: what is at them is opened without links."""
    root, left = str(folder.root), _MOST_FOLDERS
    found, level = list[str](), [""]
    for _ in range(_DEPTH + 1):
        below: list[str] = []
        for name in level[:left]:
            inner = listings.folders(posixpath.join(root, name))
            found += [posixpath.join(name, _GIT)] if _GIT in inner else []
            below += [posixpath.join(name, last) for last in inner if last not in _NOT_ENTERED]
        left -= len(level)
        level = below if left > 0 else []
    return found


def _link_on_the_way(folder: Folder, place: str) -> str:
    """The first folder above a repository's `.git` that is a link now."""
    for above in reversed(PurePosixPath(place).parents[:-1]):
        about = _about(folder, str(above))
        if about is None:
            break
        if stat.S_ISLNK(about.st_mode):
            return str(above)
    return ""


def _files(folder: Folder, places: list[str]) -> dict[str, Content]:
    found: dict[str, Content] = {}
    for name in (*(one for place in places for one in _in_git(folder, place)), *_STARTING):
        try:
            found |= {each.name: each for each in whole(folder, _link_above(folder, name) or name)}
        except (Denied, OSError):
            continue
    return found


def _in_git(folder: Folder, place: str) -> Iterator[str]:
    """What steers a repository, its submodules and its other worktrees."""
    about = _about(folder, place)
    if about is None:
        return
    if not stat.S_ISDIR(about.st_mode):
        yield place
        return
    for one in (place, *_inner(folder, f"{place}/modules"), *_inner(folder, f"{place}/worktrees")):
        yield from (f"{one}/{name}" for name in _STEERING)


def _about(folder: Folder, name: str) -> os.stat_result | None:
    """What is there: nothing, if another command swaps a link for the way to it just now."""
    with suppress(OSError):
        return folder.stat(name)
    return None


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
