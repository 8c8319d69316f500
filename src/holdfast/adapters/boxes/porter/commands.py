"""The command itself: started, waited for, its code told."""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
import socket
from contextlib import suppress
from typing import Any

from .kernel import DEFAULT_SIGNALS, Asked

NOT_FOUND, NOT_RUNNABLE = 127, 126


def commanded(asked: Asked, stdio: list[int], reply: socket.socket) -> int:
    """Start the command and wait for its end or for that of the daemon; its code."""
    resource.setrlimit(resource.RLIMIT_CPU, (asked["cpu"], asked["cpu"]))
    for number, descriptor in enumerate(stdio):
        os.dup2(descriptor, number)
        os.close(descriptor)
    try:
        os.chdir(asked["cwd"])
    except OSError as error:
        return said(f"{asked['cwd']}: {error.strerror}", NOT_FOUND)
    ended, ending = os.pipe()
    os.set_blocking(ending, False)
    codes: dict[int, int] = {}

    def reap(_number: int, _frame: object) -> None:
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                codes[found[0]] = found[1]
        with suppress(BlockingIOError):
            os.write(ending, b".")

    signal.signal(signal.SIGCHLD, reap)
    try:
        command = spawned(asked["argv"], asked["environment"])
    except OSError as error:
        missing = error.errno in {errno.ENOENT, errno.ENOTDIR}
        words = f"{asked['argv'][0]}: {'not found' if missing else error.strerror}"
        return said(words, NOT_FOUND if missing else NOT_RUNNABLE)
    os.closerange(0, 3)
    while command not in codes:
        ready, _, _ = select.select([ended, reply], [], [])
        if reply in ready:  # the daemon has hung up
            os._exit(0)
        os.read(ended, 4096)
    return os.waitstatus_to_exitcode(codes[command])


def said(words: str, code: int) -> int:
    with suppress(OSError):
        os.write(2, f"{words}\n".encode(errors="replace"))
    return code


def spawned(argv: list[str], environment: dict[str, str]) -> int:
    path = found(argv[0], environment.get("PATH", "/usr/bin:/bin"))
    how: dict[str, Any] = {"setsigdef": DEFAULT_SIGNALS, "setsigmask": []}
    try:
        return os.posix_spawn(path, argv, environment, **how)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        return os.posix_spawn("/bin/sh", ["sh", path, *argv[1:]], environment, **how)


def found(name: str, folders: str) -> str:
    if "/" in name:
        return name
    for folder in folders.split(":"):
        path = f"{folder or '.'}/{name}"
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    raise FileNotFoundError(errno.ENOENT, "not found")
