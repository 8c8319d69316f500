"""One place of a folder is put back: all of it or nothing, and as often as one likes.

Whatever stands there is looked at again just before it is touched. Contents are written beside it
under a name that is made of the undo and the place, so that what a killed process left is cleared
away by the next try.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from contextlib import suppress

from holdfast.adapters.tools.beneath import Denied, Folder, guarded
from holdfast.adapters.tools.content import explained, sync

from .plan import ELSE, Act
from .state import NOTHING, State, digest_of, state_of

_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class Changing(Exception):
    """Somebody has changed the place meanwhile."""


def put(folder: Folder, act: Act, data: bytes, undo: str) -> str:
    """Do it; why it was not done, empty if it was. Doing it again changes nothing."""
    path = act.step.path
    if guarded(path):
        return f"{path} is protected: it steers programs outside the box"
    try:
        if act.comes:
            _come(folder, act, data, _beside(undo, path))
        else:
            _go(folder, act)
    except Changing:
        return ELSE
    except Denied as denied:
        return str(denied)
    except OSError as error:
        return _explained(error, path)
    return ""


def finish(folder: Folder, act: Act) -> None:
    """A folder gets its permissions back at the end: before, they might forbid what is in it."""
    step = act.step
    if act.comes and step.now.kind == "dir" and state_of(folder, step.path).kind == "dir":
        with suppress(OSError), folder.opened(step.path, os.O_RDONLY | os.O_DIRECTORY) as opened:
            os.fchmod(opened, step.now.mode)


def _go(folder: Folder, act: Act) -> None:
    step = act.step
    state = state_of(folder, step.path)
    if state == NOTHING or (step.now.kind == state.kind != "none"):
        return  # it is gone already, or what comes has come
    if state.kind == "dir" == step.was.kind:
        with folder.parent(step.path) as (parent, last):
            os.rmdir(last, dir_fd=parent)
    elif state == step.was:
        with folder.parent(step.path) as (parent, last):
            os.unlink(last, dir_fd=parent)
    else:
        raise Changing
    sync(folder, posixpath.dirname(step.path))


def _come(folder: Folder, act: Act, data: bytes, beside: str) -> None:
    step = act.step
    if step.now.kind == "dir":
        _folder(folder, step.path)
        return
    replaces = step.was.has_content
    with folder.parent(step.path, make=True) as (parent, last):
        with suppress(FileNotFoundError):
            os.unlink(beside, dir_fd=parent)
        state = state_of(folder, step.path)
        if state == step.now:
            return
        if not _may(state, step.was, step.now):
            raise Changing
        try:
            _written(parent, beside, step.now, data, folder.stat(step.path))
            if state_of(folder, step.path) != state:
                raise Changing
            if replaces and state != NOTHING:
                os.replace(beside, last, src_dir_fd=parent, dst_dir_fd=parent)
            else:
                _linked(parent, beside, last)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(beside, dir_fd=parent)
    sync(folder, posixpath.dirname(step.path))


def _may(state: State, was: State, now: State) -> bool:
    """Whether this is what is to be replaced: as it was, or as far as an earlier try has come."""
    if was.has_content or was == NOTHING:
        return state == was
    return state == NOTHING and now.has_content


def _written(parent: int, name: str, state: State, data: bytes, old: os.stat_result | None) -> None:
    if digest_of(data) != state.digest:
        raise Denied("not_kept", "what stood there is no longer kept as it was")
    if state.kind == "link":
        os.symlink(os.fsdecode(data), name, dir_fd=parent)
        return
    with os.fdopen(os.open(name, _NEW, 0o600, dir_fd=parent), "wb") as file:
        file.write(data)
        file.flush()
        if old is not None:
            with suppress(PermissionError):
                os.fchown(file.fileno(), old.st_uid, old.st_gid)
        os.fchmod(file.fileno(), state.mode)
        os.fsync(file.fileno())


def _linked(parent: int, beside: str, last: str) -> None:
    """Made, and never in the place of something that has come there meanwhile."""
    try:
        os.link(beside, last, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.replace(beside, last, src_dir_fd=parent, dst_dir_fd=parent)


def _folder(folder: Folder, path: str) -> None:
    with folder.parent(path, make=True) as (parent, last):
        with suppress(FileExistsError):
            os.mkdir(last, 0o700, dir_fd=parent)
        about = os.stat(last, dir_fd=parent, follow_symlinks=False)
    if not stat.S_ISDIR(about.st_mode):
        raise Changing
    sync(folder, posixpath.dirname(path))


def _beside(undo: str, path: str) -> str:
    return f".holdfast-{digest_of(f'{undo} {path}'.encode())[:16]}"


def _explained(error: OSError, path: str) -> str:
    match error.errno:
        case errno.EEXIST | errno.ENOENT:
            return ELSE
        case errno.ENOTEMPTY:
            return "the folder holds something that this task did not make"
        case _:
            return str(explained(error, path))
