"""Whole files of a folder: read, replaced atomically, removed, moved, walked."""

from __future__ import annotations

import errno
import os
import posixpath
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress

from anyio import NoEventLoopError, from_thread
from msgspec import Struct

from .beneath import Denied, Folder

LARGEST = 64 << 20
"""Bytes that a changing tool will take on: more cannot be kept for undoing."""

_MOST_FILES = 5_000
_READ = os.O_RDONLY | os.O_NONBLOCK


class Content(Struct, frozen=True, kw_only=True):
    """A file as it is: a link's content is where it leads, and its mode says that it is one."""

    name: str
    data: bytes
    mode: int


class Entry(Struct, frozen=True, kw_only=True):
    """One thing in a folder. `folder` is a descriptor of its folder, good during the walk."""

    name: str
    kind: str
    size: int
    folder: int
    last: str


def explained(error: OSError, path: str) -> Denied:
    """What an error of the system means to a model."""
    match error.errno:
        case errno.ENOENT:
            return Denied("not_found", f"there is no {path}")
        case errno.ELOOP | errno.EXDEV:
            return Denied("outside_workspace", f"{path!r}: a link on the way leads elsewhere")
        case errno.ENOTDIR:
            return Denied("not_a_folder", f"{path}: a part of the path is not a folder")
        case errno.EISDIR:
            return Denied("not_a_file", f"{path} is a folder")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return Denied("no_permission", f"{path}: {os.strerror(error.errno)}")
        case errno.ENOSPC | errno.EDQUOT:
            return Denied("disk_full", f"{path}: the disk is full; nothing was changed")
        case _:
            return Denied("io_error", f"{path}: {error.strerror or error}")


def load(folder: Folder, name: str) -> Content:
    """A whole regular file. Raises `Denied` if it is missing, something else or too large."""
    with folder.opened(name, _READ) as descriptor:
        about = regular(descriptor, name)
        if about.st_size > LARGEST:
            raise _too_large(name, about.st_size)
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise _too_large(name, len(data))
    return Content(name=name, data=data, mode=stat.S_IMODE(about.st_mode))


def load_if_there(folder: Folder, name: str) -> Content | None:
    return None if folder.stat(name) is None else load(folder, name)


def regular(descriptor: int, name: str) -> os.stat_result:
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        raise Denied("not_a_file", f"{name} is {_KINDS.get(stat.S_IFMT(about.st_mode), 'no file')}")
    return about


def store(folder: Folder, name: str, data: bytes) -> None:
    """Replace or make a file: all of it or nothing, on disk on return; mode and owner stay."""
    if len(data) > LARGEST:
        raise _too_large(name, len(data))
    with folder.parent(name, make=True) as (parent, last):
        old = folder.stat(name)
        if old is not None and not stat.S_ISREG(old.st_mode):
            raise Denied("not_a_file", f"{name} is {_KINDS.get(stat.S_IFMT(old.st_mode), 'odd')}")
        temporary = f".holdfast-{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o666, dir_fd=parent), "wb") as file:
            try:
                file.write(data)
                file.flush()
                if old is not None:
                    _like(file.fileno(), old)
                os.fsync(file.fileno())
                os.replace(temporary, last, src_dir_fd=parent, dst_dir_fd=parent)
            except OSError:
                os.unlink(temporary, dir_fd=parent)
                raise
    sync(folder, posixpath.dirname(name))


def put_back(folder: Folder, content: Content) -> None:
    """Make a file or link what it was; whatever is there now is replaced."""
    if folder.stat(content.name) is not None:
        remove(folder, content.name)
    if not stat.S_ISLNK(content.mode):
        store(folder, content.name, content.data)
    with folder.parent(content.name, make=True) as (parent, last):
        if stat.S_ISLNK(content.mode):
            os.symlink(os.fsdecode(content.data), last, dir_fd=parent)
        else:
            os.chmod(last, content.mode, dir_fd=parent, follow_symlinks=True)


def sync(folder: Folder, name: str) -> None:
    with folder.opened(name or ".", os.O_RDONLY | os.O_DIRECTORY) as descriptor:
        os.fsync(descriptor)


def remove(folder: Folder, name: str) -> None:
    """Remove a file, a link or a whole folder."""
    with folder.parent(name) as (parent, last):
        about = os.stat(last, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(about.st_mode):
            try:
                shutil.rmtree(last, dir_fd=parent)
            except RecursionError:
                raise Denied("too_large", f"{name} is too deep to be removed at once") from None
        else:
            os.unlink(last, dir_fd=parent)
    sync(folder, posixpath.dirname(name))


def rename(folder: Folder, source: str, to: str) -> None:
    with folder.parent(source) as (old, last), folder.parent(to, make=True) as (new, first):
        os.replace(last, first, src_dir_fd=old, dst_dir_fd=new)
    for head in {posixpath.dirname(source), posixpath.dirname(to)}:
        sync(folder, head)


def whole(folder: Folder, name: str) -> list[Content]:
    """Every file and link at or below `name`. Raises `Denied` if that is too much to keep."""
    about = folder.stat(name)
    if about is None:
        return []
    if not stat.S_ISDIR(about.st_mode):
        return [_one(folder, name, about.st_mode)]
    found: list[Content] = []
    size = 0
    for entry in walk(folder, name, hidden=True):
        if entry.kind != "dir":
            size += entry.size
            if len(found) >= _MOST_FILES or size > LARGEST:
                raise _too_large(name, size)
            mode = stat.S_IFLNK if entry.kind == "link" else 0
            found.append(_one(folder, entry.name, mode))
    return found


def walk(
    folder: Folder, name: str, *, recursive: bool = True, hidden: bool = False
) -> Iterator[Entry]:
    """What is below `name`, in order of names, links not followed; a cancelled call stops it.

    Leaves out `.git` and `.holdfast` below `name` unless `hidden`.
    """
    with folder.opened(name, os.O_RDONLY | os.O_DIRECTORY) as top:
        for path, folders, files, descriptor in os.fwalk(".", dir_fd=top):
            _stop_if_cancelled()
            here = posixpath.normpath(posixpath.join(name, path))
            if not hidden:
                folders[:] = [each for each in folders if each not in {".git", ".holdfast"}]
            folders.sort()
            for last in sorted([*folders, *files]):
                if entry := _entry(descriptor, posixpath.normpath(f"{here}/{last}"), last):
                    yield entry
            if not recursive:
                return


def _entry(descriptor: int, name: str, last: str) -> Entry | None:
    with suppress(FileNotFoundError):
        about = os.stat(last, dir_fd=descriptor, follow_symlinks=False)
        kind = _WORDS.get(stat.S_IFMT(about.st_mode), "other")
        return Entry(name=name, kind=kind, size=about.st_size, folder=descriptor, last=last)
    return None


def _one(folder: Folder, name: str, mode: int) -> Content:
    if not stat.S_ISLNK(mode):
        return load(folder, name)
    with folder.parent(name) as (parent, last):
        target = os.readlink(last, dir_fd=parent)
    return Content(name=name, data=os.fsencode(target), mode=stat.S_IFLNK | 0o777)


def _like(descriptor: int, old: os.stat_result) -> None:
    with suppress(PermissionError):
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def _too_large(name: str, size: int) -> Denied:
    return Denied(
        "too_large",
        f"{name} is too large to be changed so that it can be undone: {size:,} bytes or many "
        f"files, the limit is {LARGEST:,} bytes and {_MOST_FILES:,} files",
    )


def _stop_if_cancelled() -> None:
    with suppress(NoEventLoopError):
        from_thread.check_cancelled()


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_WORDS = {stat.S_IFDIR: "dir", stat.S_IFREG: "file", stat.S_IFLNK: "link"}
