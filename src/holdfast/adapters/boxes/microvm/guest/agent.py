"""The first process of the machine: does what the host says, and believes nothing a command does.

Commands run as a user without any privilege, each in a control group below the box's.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import selectors
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from .commands import Command, limit, processes
from .doorway import Doorway
from .frames import WINDOW
from .tree import USER, Frame, Tree, as_user, real_name
from .wire import Order, Wire

_READ_ONLY, _NO_SUID, _NO_DEV, _REMOUNT, _BIND = 1, 2, 4, 32, 4096
_LIBC = ctypes.CDLL(None, use_errno=True)
_HOME = "/run/home"
_SETTINGS = {
    "user/max_user_namespaces": "0",
    "kernel/dmesg_restrict": "1",
    "kernel/kptr_restrict": "2",
    "kernel/unprivileged_bpf_disabled": "2",
    "vm/overcommit_memory": "1",
}
_PATIENCE = 0.005
_ADD_ENTROPY, _RESEED = 0x40085203, 0x5207
_SET_INTERFACE, _UP = 0x8914, 0x1


def main() -> None:
    for name, value in _SETTINGS.items():
        with suppress(OSError):
            (Path("/proc/sys") / name).write_text(value)
    _mount("/proc/sys", "/proc/sys", "none", "", _BIND)
    _mount("none", "/proc/sys", "none", "", _BIND | _REMOUNT | _READ_ONLY)
    _cover("/sys/kernel")
    agent = Agent()
    while True:
        agent.turn()


class Agent:
    """What it is told comes as orders with a number; what it answers carries the same number."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._commands: dict[int, Command] = {}
        self._trees: list[Tree] = []
        self._filters: list[bytes] = []
        self._scan: tuple[int, int, Iterator[Frame]] | None = None
        self._doorway = Doorway(self._selector)
        self._wire = Wire(self._selector, "work", self._obey)
        self._wire.say(do="ready", id=0)

    def turn(self) -> None:
        """Wait for something to do, and do it."""
        ending = any(each.code is not None and not each.over for each in self._commands.values())
        for key, events in self._selector.select(_PATIENCE if ending else None):
            key.data(events)
        self._bury()
        for number, command in list(self._commands.items()):
            command.tell_end()
            if command.buried:
                del self._commands[number]

    def _obey(self, order: Order, body: bytes) -> None:
        try:
            self._do(order, body)
        except (OSError, ValueError, KeyError) as error:
            self._wire.say(do="failed", id=order["id"], why=f"{type(error).__name__}: {error}")

    def _do(self, order: Order, body: bytes) -> None:
        number = order["id"]
        match order["do"]:
            case "run":
                self._run(number, order)
            case "room" if self._scan and self._scan[0] == number:
                self._changes(number, self._scan[1] + order["room"], self._scan[2])
            case "data" | "end" | "room" | "kill" | "forget":
                if command := self._commands.get(number):
                    command.obey(order, body)
            case "put" | "gone":
                self._trees[int(order["tree"])].obey(order, body)
            case "changes":
                self._changes(number, WINDOW, self._trees[0].changes())
            case "settled":
                self._trees[0].settle()
            case _:
                self._wire.say(do="done", id=number, **self._serve(order))

    def _serve(self, order: Order) -> Order:
        """What is answered at once."""
        match order["do"]:
            case "box":
                self._box(order)
            case "listen":
                self._doorway.listen(order["port"])
            case "stats":
                return {"processes": processes()}
            case _:
                pass
        return {}

    def _run(self, number: int, order: Order) -> None:
        command = Command(number, self._wire, self._selector, self._filters)
        command.begin(order)
        self._commands[number] = command
        if command.process > 0:
            watcher = os.pidfd_open(command.process)
            self._selector.register(watcher, selectors.EVENT_READ, partial(self._left, watcher))

    def _left(self, watcher: int, _events: int) -> None:
        """A first process has ended; `_bury` learns how."""
        self._selector.unregister(watcher)
        os.close(watcher)

    def _bury(self) -> None:
        """Every dead process of the machine is our child in the end."""
        with suppress(ChildProcessError):
            while True:
                process, status = os.waitpid(-1, os.WNOHANG)
                if process == 0:
                    return
                for command in self._commands.values():
                    if command.process == process:
                        command.code = os.waitstatus_to_exitcode(status)

    def _changes(self, number: int, room: int, frames: Iterator[Frame]) -> None:
        """Tell as many changes as there is room for; the rest when there is more."""
        self._scan = (number, room, frames)
        while room > 0:
            frame = next(frames, None)
            if frame is None:
                self._scan = None
                self._wire.say(do="done", id=number)
                return
            head, body = frame
            self._wire.say(body, id=number, **head)
            room -= len(body) + 1
            self._scan = (number, room, frames)

    def _box(self, order: Order) -> None:
        time.clock_settime(time.CLOCK_REALTIME, order["time"])
        _reseed(bytes.fromhex(order["seed"]))
        _loopback_up()
        scratch = f"size={order['scratch']},nr_inodes=65536"
        for path, mode in (("/tmp", "1777"), ("/dev/shm", "1777"), (_HOME, "755")):  # noqa: S108
            os.makedirs(path, exist_ok=True)  # noqa: PTH103
            owner = f",uid={USER},gid={USER}" if path == _HOME else ""
            _mount("tmpfs", path, "tmpfs", f"{scratch},mode={mode}{owner}")
        workspace = real_name(order["workspace"])
        os.makedirs(workspace)  # noqa: PTH103
        _mount(_disk("workspace"), workspace, "ext4", "")
        os.rmdir(f"{workspace}/lost+found")  # noqa: PTH106
        os.chown(workspace, USER, USER)
        for name in order["hidden"]:
            _hide(f"{workspace}/{real_name(name)}")
        if order["alias"]:
            alias = Path(real_name(order["alias"]))
            alias.parent.mkdir(parents=True, exist_ok=True)
            alias.symlink_to(workspace)
        self._trees = [Tree(workspace, order["hidden"], shared=True)]
        for name in order["read_only"]:
            os.makedirs(real_name(name), exist_ok=True)  # noqa: PTH103
            self._trees.append(Tree(real_name(name), [], shared=False))
        self._filters = [bytes.fromhex(each) for each in order["filters"]]
        limit(order["memory"], order["processes"], order["cpus"])


def _hide(path: str) -> None:
    with as_user():
        os.makedirs(path, exist_ok=True)  # noqa: PTH103
    _cover(path)


def _cover(path: str) -> None:
    """There is nothing here, and nothing can be put here."""
    _mount("tmpfs", path, "tmpfs", "size=4096,nr_inodes=1,mode=755", _READ_ONLY)


def _mount(source: str, target: str, kind: str, options: str, flags: int = 0) -> None:
    flags |= _NO_SUID | _NO_DEV
    words = (source, target, kind)
    if _LIBC.mount(*(os.fsencode(word) for word in words), flags, options.encode()) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


def _disk(serial: str) -> str:
    for disk in Path("/sys/block").glob("vd*"):
        if (disk / "serial").read_text().strip() == serial:
            return f"/dev/{disk.name}"
    raise FileNotFoundError(serial)


def _reseed(seed: bytes) -> None:
    """Machines that were woken from one memory must not draw the same numbers."""
    with open("/dev/urandom", "wb", buffering=0) as source:  # noqa: PTH123
        fcntl.ioctl(source, _ADD_ENTROPY, struct.pack("ii", len(seed) * 8, len(seed)) + seed)
        fcntl.ioctl(source, _RESEED)


def _loopback_up() -> None:
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SET_INTERFACE, struct.pack("16sh14x", b"lo", _UP))
