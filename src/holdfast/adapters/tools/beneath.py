"""A folder whose files are reached without ever leaving it.

A path is first made plain by its words (`a/../b` is `b`), then by its links; what remains is
opened by a descriptor of the folder with links forbidden, so that a link put there in between
cannot lead out. Links that stay inside are followed. What is in `.holdfast` is for no tool at
all; changing besides refuses what steers git.
"""

from __future__ import annotations

import ctypes
import errno
import os
import posixpath
import re
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x02, 0x04, 0x08
_WINDOWS = re.compile(r"[A-Za-z]:|\\\\")
_GIT_GUARDED = frozenset({"hooks", "config", "config.worktree", "commondir", "gitdir"})
_OURS = ".holdfast"
_PATH = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC

Opener = Callable[[int, str, int], int]
"""Open a plain relative path below a folder's descriptor, following no link."""


class Denied(Exception):
    """Something a tool will not or cannot do; becomes a `Failed` for the model.

    `sources`: who had a word in it, as in an outcome.
    """

    def __init__(self, code: str, text: str, sources: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.code, self.sources = code, sources


class Folder:
    """A folder, and the files beneath it by their names: plain paths relative to it."""

    def __init__(self, root: Path, *, opener: Opener | None = None) -> None:
        self._given = root
        self.root = root.resolve()
        self._open = opener or open_beneath

    def locate(self, path: str, *, follow: bool = True) -> str:
        """The name of what `path` means; it need not exist. Raises `Denied` if it is outside.

        With `follow=False` a link at the end is meant itself, not what it leads to.
        """
        plain = self._plain(path)
        head, last = (plain, "") if follow else posixpath.split(plain)
        real = Path(os.path.realpath(self.root / head)) / last
        if not real.is_relative_to(self.root):
            raise _outside(path, self.root, "a link on the way leads out of it")
        name = real.relative_to(self.root).as_posix()
        if _OURS in (part.casefold() for part in real.relative_to(self.root).parts):
            raise Denied("protected_path", f"{name} belongs to Holdfast and is not for tools")
        return name

    def changeable(self, path: str, *, follow: bool = True) -> str:
        """Like `locate`, for something about to be changed. Raises `Denied` for guarded names."""
        name = self.locate(path, follow=follow)
        if name == ".":
            raise Denied("protected_path", "the workspace itself cannot be changed")
        if guarded(name):
            raise Denied(
                "protected_path",
                f"{name} is protected: hooks and settings that run or steer programs outside "
                "the box are not for tools to change",
            )
        return name

    @contextmanager
    def opened(self, name: str, flags: int) -> Generator[int]:
        """A descriptor of what `name` is."""
        with self._top() as top:
            descriptor = self._open(top, name, flags | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def parent(self, name: str, *, make: bool = False) -> Generator[tuple[int, str]]:
        """A descriptor of the folder that holds `name`, and its name there."""
        head, last = posixpath.split(name)
        if make and head:
            self._make(head)
        with self.opened(head or ".", _PATH) as descriptor:
            yield descriptor, last

    def stat(self, name: str) -> os.stat_result | None:
        """What is there, links not followed; None if nothing is."""
        try:
            with self.parent(name) as (folder, last):
                return os.stat(last or ".", dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _make(self, head: str) -> None:
        made = ""
        for part in PurePosixPath(head).parts:
            with self.opened(made or ".", _PATH) as folder, suppress(FileExistsError):
                os.mkdir(part, dir_fd=folder)
            made = posixpath.join(made, part)

    @contextmanager
    def _top(self) -> Generator[int]:
        descriptor = os.open(self.root, _PATH)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _plain(self, path: str) -> str:
        if why := _odd(path):
            raise _outside(path, self.root, why)
        if path.startswith("/"):
            return self._relative(posixpath.normpath("/" + path.lstrip("/")), path)
        plain = posixpath.normpath(path)
        if PurePosixPath(plain).parts[:1] == ("..",):
            raise _outside(path, self.root, "it climbs above it")
        return plain

    def _relative(self, absolute: str, path: str) -> str:
        for root in (self._given, self.root):
            if PurePosixPath(absolute).is_relative_to(root):
                return PurePosixPath(absolute).relative_to(root).as_posix()
        raise _outside(path, self.root, "it begins elsewhere; paths are relative to the workspace")


def guarded(name: str) -> bool:
    """True for what steers programs outside the box: git's hooks and settings, and our own.

    Also true for a repository's whole `.git`, which could be moved away and back.
    """
    parts = [part.casefold() for part in PurePosixPath(name).parts]
    if _OURS in parts:
        return True
    if ".git" not in parts:
        return False
    rest = parts[parts.index(".git") + 1 :]
    return not rest or not _GIT_GUARDED.isdisjoint(rest)


def _odd(path: str) -> str:
    if not path.strip():
        return "it is empty"
    if "\0" in path:
        return "it contains a NUL character"
    if _WINDOWS.match(path):
        return "it is a Windows path"
    if path == "~" or path.startswith("~/"):
        return "`~` is not part of it"
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    return ""


def _outside(path: str, root: Path, why: str) -> Denied:
    return Denied("outside_workspace", f"{path!r} is outside the workspace {root}: {why}")


class _How(ctypes.Structure):
    """`struct open_how` of openat2(2)."""

    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_libc = ctypes.CDLL(None, use_errno=True)


def open_beneath(top: int, name: str, flags: int) -> int:
    """Open by openat2; where the kernel or a filter has none, component by component."""
    how = _How(flags, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_SYMLINKS)
    path = ctypes.c_char_p(os.fsencode(name))
    size = ctypes.c_size_t(ctypes.sizeof(how))
    found: int = _libc.syscall(ctypes.c_long(_OPENAT2), top, path, ctypes.byref(how), size)
    if found >= 0:
        return found
    number = ctypes.get_errno()
    if number in {errno.ENOSYS, errno.EPERM}:
        return open_stepwise(top, name, flags)
    raise OSError(number, os.strerror(number), name)


def open_stepwise(top: int, name: str, flags: int) -> int:
    """The same without openat2: every folder on the way is opened by itself, links refused."""
    *heads, last = PurePosixPath(name).parts or (".",)
    here = os.dup(top)
    try:
        for head in heads:
            below = os.open(head, _PATH | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = below
        found = os.open(last, flags | os.O_NOFOLLOW, dir_fd=here)
    finally:
        os.close(here)
    if flags & os.O_PATH and stat.S_ISLNK(os.fstat(found).st_mode):
        os.close(found)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    return found
