"""Files of a workspace from outside, past whatever links a command has planted in it."""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import subprocess
from pathlib import Path

from holdfast.core.error import Invalid, NotFound, Unavailable

_OPENAT2 = 437
_BENEATH = 0x08 | 0x04 | 0x02
"""RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS and RESOLVE_NO_MAGICLINKS."""
_NO_LINKS = 0x04 | 0x02
_HERE = -100
_LIBC = ctypes.CDLL(None, use_errno=True)


def put(workspace: Path, path: str, data: bytes) -> None:
    """Write a file as its folder's owner would. Raises `Invalid`, `Unavailable`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK
    with _root(workspace) as root, _opened(root.fd, path, flags, 0o644) as file:
        os.ftruncate(file.fd, 0)
        owner = os.fstat(root.fd)
        if os.geteuid() == 0:
            os.fchown(file.fd, owner.st_uid, owner.st_gid)
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(file.fd, rest) :]
        except OSError as error:
            raise Unavailable(f"{path} cannot be written: {error.strerror}") from error


def get(workspace: Path, path: str, most: int) -> bytes:
    """The first bytes of a file. Raises `NotFound`, `Invalid`."""
    with _root(workspace) as root, _opened(root.fd, path, os.O_RDONLY | os.O_NONBLOCK, 0) as file:
        pieces = bytearray()
        while len(pieces) < most and (piece := os.read(file.fd, most - len(pieces))):
            pieces += piece
        return bytes(pieces)


def place(path: str) -> int:
    """A descriptor of a place by its real path, which must lead through no link any more.

    Raises `Invalid` if somebody has put one there since it was resolved.
    """
    how = struct.pack("QQQ", os.O_PATH | os.O_CLOEXEC, 0, _NO_LINKS)
    found = _LIBC.syscall(_OPENAT2, _HERE, os.fsencode(path), how, len(how))
    if found < 0:
        raise Invalid(f"{path} cannot be shown: {os.strerror(ctypes.get_errno())}")
    return found


def remove_tree(folder: Path) -> None:
    """A folder that commands could write to: it may be deeper than our own calls can go."""
    subprocess.run(["/bin/rm", "-rf", "--", folder], check=False, env={})  # noqa: S603


class _Open:
    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __enter__(self) -> _Open:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def _root(workspace: Path) -> _Open:
    return _Open(os.open(workspace, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))


def _opened(root: int, path: str, flags: int, mode: int) -> _Open:
    if not path or path.startswith("/") or "\0" in path:
        raise Invalid(f"{path!r} is not the name of a file below the workspace")
    how = struct.pack("QQQ", flags | os.O_CLOEXEC | os.O_NOFOLLOW, mode, _BENEATH)
    found = _LIBC.syscall(_OPENAT2, root, os.fsencode(path), how, len(how))
    if found < 0:
        error = OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        if isinstance(error, FileNotFoundError):
            raise NotFound(f"there is no {path} in the workspace")
        raise Invalid(f"{path} is no file below the workspace: {error.strerror}")
    file = _Open(found)
    if not stat.S_ISREG(os.fstat(found).st_mode) or os.fstat(found).st_nlink > 1:
        os.close(found)
        raise Invalid(f"{path} is no plain file of the workspace alone")
    return file
