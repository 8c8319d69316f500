"""What the porter asks of the kernel: namespaces entered, trees mounted, failures in words."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
import subprocess
from typing import Any

NEWNS, NEWUTS, NEWIPC, NEWUSER = 0x00020000, 0x04000000, 0x08000000, 0x10000000
NEWPID, NEWNET = 0x20000000, 0x40000000
NAMESPACES = (("net", NEWNET), ("ipc", NEWIPC), ("uts", NEWUTS), ("mnt", NEWNS))
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 2, 4, 8, 32
DEATH_SIGNAL, SET_DUMPABLE, SET_SECCOMP, CAPBSET_DROP = 1, 4, 22, 24
NO_NEW_PRIVS, SUBREAPER, SECCOMP_FILTER, LAST_CAPABILITY = 38, 36, 2, 63
OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR, OPENAT2 = 428, 429, 442, 437
FSOPEN, FSCONFIG, FSMOUNT = 430, 431, 432
NO_MAGIC, NO_LINKS = 2, 4
MOVE_FROM_EMPTY, MOVE_TO_EMPTY = 4, 0x40
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV, ATTR_IDMAP = 1, 2, 4, 0x00100000
MOST_DESCRIPTORS = 32
DEFAULT_SIGNALS = [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD]

Asked = dict[str, Any]

LIBC = ctypes.CDLL(None, use_errno=True)


class CannotError(Exception):
    """The request cannot be served; the text says why."""


WRONG = (ValueError, TypeError, LookupError, AttributeError, NameError, ctypes.ArgumentError)
TROUBLE = (CannotError, OSError, struct.error, subprocess.SubprocessError, *WRONG)


def checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise CannotError(f"{what}: {os.strerror(number)}")
    return result


def mounted(source: bytes, place: str, kind: bytes, flags: int, option: str = "") -> None:
    target, words = os.fsencode(place), option.encode() or None
    checked(LIBC.mount(source, target, kind, ctypes.c_ulong(flags), words), f"mount {place}")


def attached(tree: int, place: str) -> None:
    """Mount at `place`, following no link: a command of another box may be changing folders."""
    how = struct.pack("QQQ", os.O_PATH | os.O_CLOEXEC, 0, NO_MAGIC | NO_LINKS)
    target = LIBC.syscall(OPENAT2, -100, os.fsencode(place), how, len(how))
    if target < 0 and ctypes.get_errno() == errno.ENOENT:
        raise FileNotFoundError(place)
    checked(target, f"show {place}")
    flags = MOVE_FROM_EMPTY | MOVE_TO_EMPTY
    checked(LIBC.syscall(MOVE_MOUNT, tree, b"", target, b"", flags), f"mount {place}")
    os.close(target)


def sealed() -> int:
    """An empty folder that nothing can be put into, mounted nowhere yet."""
    made = checked(LIBC.syscall(FSOPEN, b"tmpfs", 1), "hide a folder")
    checked(LIBC.syscall(FSCONFIG, made, 1, b"size", b"4096", 0), "hide a folder")
    checked(LIBC.syscall(FSCONFIG, made, 6, None, None, 0), "hide a folder")
    attributes = ATTR_NOSUID | ATTR_NODEV | ATTR_RDONLY
    return checked(LIBC.syscall(FSMOUNT, made, 1, attributes), "hide a folder")


def entered(users: int) -> None:
    """Join a user namespace. An engine's box may share ours, which nobody can enter again."""
    theirs, ours = os.fstat(users), os.stat("/proc/self/ns/user")
    if (theirs.st_dev, theirs.st_ino) != (ours.st_dev, ours.st_ino):
        checked(LIBC.setns(users, NEWUSER), "enter the user namespace")


def whole(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
