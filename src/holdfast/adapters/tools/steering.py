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

What cannot be looked at afterwards (no right to read it, too much of it, too deep) counts as
changed: it is moved aside, and what was there before is put back.
"""

from __future__ import annotations

import logging
import os
import posixpath
import secrets
import stat
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import anyio
from anyio import CancelScope, to_thread

from .beneath import Denied, Folder
from .content import Content, put_back, remove, walk, whole

_log = logging.getLogger("holdfast.tools")
_GIT = ".git"
_NOT_ENTERED = frozenset({_GIT, ".holdfast"})
_DEPTH, _MOST_FOLDERS, _MOST_KNOWN = 3, 1_000, 10_000
_SETTLED = 100_000_000
"""Nanoseconds after which one more change of a folder shows in its time: its clock is coarse."""
_DEEPEST = 16
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

    `hidden` are the names of what could not be looked at.
    """

    folder: Folder
    files: dict[str, Content]
    hidden: set[str]
    users: int = 0

    def there(self) -> set[str]:
        """The `.git` of each repository that was there, and is."""
        places = {_place(name) for name in self.files} - {""}
        return {place for place in places if _about(self.folder, place) is not None}


class Steering:
    """All workspaces in which commands are at work."""

    def __init__(self) -> None:
        self._looks: dict[Path, _Look] = {}
        self._lost: dict[Path, dict[str, Content]] = {}
        self._listings = _Listings()
        self._lock = anyio.Lock()

    @asynccontextmanager
    async def kept(self, workspace: Path) -> AsyncGenerator[list[str]]:
        """Around a command; afterwards the list names what had to be put back."""
        restored: list[str] = []
        async with self._lock:
            lost = self._lost.get(workspace, {})
            look = self._looks.get(workspace) or await to_thread.run_sync(
                self._look, workspace, lost
            )
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
                    self._lost.pop(workspace, None)
                    if lost := await to_thread.run_sync(_taken_away, look):
                        self._lost[workspace] = lost

    def _look(self, workspace: Path, lost: dict[str, Content]) -> _Look:
        """`lost` is what steered repositories that earlier commands have taken away."""
        folder = Folder(workspace)
        files, hidden = _files(folder, _repositories(folder, self._listings))
        found = {_place(name) for name in files}
        lost = {name: each for name, each in lost.items() if _place(name) not in found}
        return _Look(folder, lost | files, hidden)


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


def _taken_away(look: _Look) -> dict[str, Content]:
    """Moved away by one command and back by the next, a repository is still the same."""
    stay = {"", *look.there()}
    return {name: each for name, each in look.files.items() if _place(name) not in stay}


def _restore(look: _Look) -> list[str]:
    """A repository that was never there before is the command's own; one that is gone stays so.

    A link where there was a folder on the way to one is removed: it would show another's.
    """
    folder = look.folder
    if not folder.root.is_dir():
        return []
    places = sorted({_place(name) for name in look.files} - {""})
    for place in places or [_GIT]:
        _unlock(folder, f"{place}/hooks/here")
    links = sorted({link for place in places if (link := _link_on_the_way(folder, place))})
    for link in links:
        remove(folder, link)
    there = look.there()
    now, hidden = _files(folder, sorted(there))
    names = {
        name for name in now.keys() | look.files.keys() if now.get(name) != look.files.get(name)
    }
    names |= hidden - look.hidden
    changed = sorted(name for name in names if _place(name) in {"", *there})
    for name in changed:
        _clear(folder, name, whole_of_it=name in hidden)
    for name in changed:
        if name in look.files:
            _put_back(folder, look.files[name])
    return [*links, *changed]


def _clear(folder: Folder, name: str, *, whole_of_it: bool) -> None:
    """Out of the way, whatever it is."""
    _unlock(folder, name)
    if folder.stat(name) is None:
        return
    try:
        if whole_of_it:
            _move_aside(folder, name)
        else:
            remove(folder, name)
    except (OSError, RecursionError):
        _move_aside(folder, name)


def _move_aside(folder: Folder, name: str) -> None:
    with folder.parent(name) as (parent, last):
        aside = f"{last}.put-aside-{secrets.token_hex(4)}"
        os.rename(last, aside, src_dir_fd=parent, dst_dir_fd=parent)


def _put_back(folder: Folder, content: Content) -> None:
    try:
        put_back(folder, content)
    except (Denied, OSError) as error:
        _log.warning("%s could not be put back: %s", content.name, error)


def _unlock(folder: Folder, name: str) -> None:
    """The folders above `name` let their owner in: a command may have taken that right away."""
    with suppress(OSError):
        _let_in(Path(folder.root))
    for above in reversed(PurePosixPath(name).parents):
        with suppress(OSError), folder.opened(str(above), os.O_PATH | os.O_DIRECTORY) as opened:
            _let_in(Path(f"/proc/self/fd/{opened}"))


def _let_in(place: Path) -> None:
    about = place.stat()
    if about.st_uid == os.geteuid() and about.st_mode & stat.S_IRWXU != stat.S_IRWXU:
        place.chmod(stat.S_IMODE(about.st_mode) | stat.S_IRWXU)


def _place(name: str) -> str:
    """The `.git` to which a file belongs; "" for what belongs to no repository."""
    before, found, _ = f"/{name}/".partition(f"/{_GIT}/")
    return f"{before}/{_GIT}"[1:] if found else ""


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


def _files(folder: Folder, places: list[str]) -> tuple[dict[str, Content], set[str]]:
    """What steers, and the names of what cannot be looked at."""
    found: dict[str, Content] = {}
    hidden: set[str] = set()
    in_git = [name for place in places for name in _in_git(folder, place, hidden)]
    for name in (*in_git, *_STARTING):
        seen = name
        try:
            seen = _link_above(folder, name) or name
            found |= {each.name: each for each in whole(folder, seen)}
        except (Denied, OSError, RecursionError):
            hidden.add(seen)
    return found, hidden


def _in_git(folder: Folder, place: str, hidden: set[str]) -> list[str]:
    """What steers a repository, its submodules and its other worktrees."""
    about = _about(folder, place)
    if about is None:
        return []
    if not stat.S_ISDIR(about.st_mode):
        return [place]
    places = [place]
    for name in (f"{place}/modules", f"{place}/worktrees"):
        try:
            places += _inner(folder, name)
        except (OSError, RecursionError):
            hidden.add(name)
    return [f"{each}/{name}" for each in places for name in _STEERING]


def _about(folder: Folder, name: str) -> os.stat_result | None:
    """What is there: nothing, if another command swaps a link for the way to it just now."""
    with suppress(OSError):
        return folder.stat(name)
    return None


def _inner(folder: Folder, name: str, deep: int = 0) -> list[str]:
    """Repositories below a folder; the name of a submodule may have slashes."""
    if deep > _DEEPEST:
        raise RecursionError(name)
    found: list[str] = []
    if folder.stat(name) is None:
        return found
    for entry in walk(folder, name, recursive=False, hidden=True):
        if entry.kind == "dir" and folder.stat(f"{entry.name}/HEAD") is None:
            found += _inner(folder, entry.name, deep + 1)
        elif entry.kind == "dir":
            found += [entry.name, *_inner(folder, f"{entry.name}/modules", deep + 1)]
    return found


def _link_above(folder: Folder, name: str) -> str:
    """The folder of `name` if it is a link: what it leads to would steer as well."""
    above = posixpath.dirname(name)
    about = folder.stat(above) if above else None
    return above if about is not None and stat.S_ISLNK(about.st_mode) else ""
