"""What steers programs outside the box, put back if a command inside changed it.

A hook or a setting planted in `.git`, a shell's start file or an editor's task would run on the
host the next time its owner uses git, a shell or an editor there. The tools that write files may
change these, for there the gate sees the name; a command may not. They cannot be mounted
read-only: a second command could swap a folder for a link between our look and the mount, and the
box would show what the link names. So they are looked at before, and put back after, when no
process of the command is left. Commands at work in one folder at the same time share the first
look, or one could make another put back what it had planted.

What cannot be looked at afterwards (no right to read it, too much of it, too deep) counts as
changed: it is moved aside, and what was there before is put back.
"""

from __future__ import annotations

import logging
import os
import posixpath
import secrets
import stat
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
    """The steering files of one workspace as they were, and how many commands rely on it."""

    folder: Folder
    files: dict[str, Content]
    hidden: set[str]
    users: int = 0


class Steering:
    """All workspaces in which commands are at work."""

    def __init__(self) -> None:
        self._looks: dict[Path, _Look] = {}
        self._lost: dict[Path, dict[str, Content]] = {}
        self._lock = anyio.Lock()

    @asynccontextmanager
    async def kept(self, workspace: Path) -> AsyncGenerator[list[str]]:
        """Around a command; afterwards the list names what had to be put back."""
        restored: list[str] = []
        async with self._lock:
            lost = self._lost.get(workspace, {})
            look = self._looks.get(workspace) or await to_thread.run_sync(_look, workspace, lost)
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


def _look(workspace: Path, lost: dict[str, Content]) -> _Look:
    """`lost` is what steered a repository that an earlier command has taken away."""
    folder = Folder(workspace)
    files, hidden = _files(folder)
    return _Look(folder, files if folder.stat(_GIT) else lost | files, hidden)


def _taken_away(look: _Look) -> dict[str, Content]:
    """Moved away by one command and back by the next, a repository is still the same."""
    if look.folder.stat(_GIT) is not None:
        return {}
    return {name: each for name, each in look.files.items() if _of_git(name)}


def _restore(look: _Look) -> list[str]:
    """A repository that was never there before is the command's own; one that is gone stays so."""
    folder = look.folder
    if not folder.root.is_dir():
        return []
    _unlock(folder, f"{_GIT}/hooks/here")
    had = any(_of_git(name) for name in look.files)
    now, hidden = _files(folder)
    names = now.keys() | look.files.keys()
    names = {name for name in names if now.get(name) != look.files.get(name)}
    names |= hidden - look.hidden
    if not had or folder.stat(_GIT) is None:
        names = {name for name in names if not _of_git(name)}
    changed = sorted(names)
    for name in changed:
        _clear(folder, name, whole_of_it=name in hidden)
    for name in changed:
        if name in look.files:
            _put_back(folder, look.files[name])
    return changed


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


def _of_git(name: str) -> bool:
    return PurePosixPath(name).parts[0] == _GIT


def _files(folder: Folder) -> tuple[dict[str, Content], set[str]]:
    """What steers, and the names of what cannot be looked at."""
    found: dict[str, Content] = {}
    in_git, hidden = _in_git(folder)
    for name in (*in_git, *_STARTING):
        seen = name
        try:
            seen = _link_above(folder, name) or name
            found |= {each.name: each for each in whole(folder, seen)}
        except (Denied, OSError, RecursionError):
            hidden.add(seen)
    return found, hidden


def _in_git(folder: Folder) -> tuple[list[str], set[str]]:
    """What steers the repository, its submodules and its other worktrees."""
    about, hidden = folder.stat(_GIT), set[str]()
    if about is None:
        return [], hidden
    if not stat.S_ISDIR(about.st_mode):
        return [_GIT], hidden
    places = [_GIT]
    for name in (f"{_GIT}/modules", f"{_GIT}/worktrees"):
        try:
            places += _inner(folder, name)
        except (OSError, RecursionError):
            hidden.add(name)
    return [f"{place}/{name}" for place in places for name in _STEERING], hidden


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
