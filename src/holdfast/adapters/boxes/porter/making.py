"""A box: bubblewrap makes its namespaces, and what bubblewrap cannot do is done here."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
from contextlib import suppress

from .kernel import (
    ATTR_IDMAP,
    ATTR_NODEV,
    ATTR_NOSUID,
    ATTR_RDONLY,
    DEATH_SIGNAL,
    LIBC,
    MOUNT_SETATTR,
    MS_NODEV,
    MS_NOSUID,
    MS_REMOUNT,
    NAMESPACES,
    NEWIPC,
    NEWNS,
    NEWUSER,
    OPEN_TREE,
    TROUBLE,
    Asked,
    CannotError,
    attached,
    checked,
    mounted,
    sealed,
)
from .talk import answer

NS_GET_USERNS = 0xB701
AT_EMPTY_PATH, TREE_CLONE = 0x1000, 1
SPARE = 65_534
SETUP_SECONDS = 10
FURNISHED = b"furnished"


def make(asked: Asked, descriptors: list[int], reply: socket.socket) -> None:
    """Let bubblewrap make the namespaces, furnish them, keep them by descriptor, end bubblewrap."""
    process, told = bubblewrapped(asked)
    trees = [  # while it works; should this fail, it ends with us, as nobody holds its stdin then
        (mount["place"], lent_tree(folder, mount, asked["uid"]))
        for mount, folder in zip(asked["lent"], descriptors, strict=True)
    ]
    first = set_up(process, told)
    names = [*(name for name, _ in NAMESPACES), "user"]
    spaces = {name: os.open(f"/proc/{first}/ns/{name}", os.O_RDONLY) for name in names}
    spaces["owner"] = fcntl.ioctl(spaces["mnt"], NS_GET_USERNS)
    furnish(asked, spaces, trees)
    process.kill()
    process.wait()
    answer(reply, {}, [spaces[name] for name in ("owner", *names)])


def bubblewrapped(asked: Asked) -> tuple[subprocess.Popen[bytes], int]:
    """bubblewrap on its way, and from where to read what it tells."""
    words = [
        *(w for name, text in asked["files"].items() for w in ("--file", given(text), name)),
        *asked["options"],
    ]
    options = given("".join(f"{word}\0" for word in words))
    told, telling = os.pipe()
    os.set_inheritable(telling, True)
    user: int | None = asked["uid"]
    process = subprocess.Popen(
        [asked["name"], "--args", options, "--info-fd", str(telling), "--", *asked["wait"]],
        executable=asked["program"],
        close_fds=False,
        env={},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    )
    os.close(telling)
    return process, told


def set_up(process: subprocess.Popen[bytes], told: int) -> int:
    """Wait until bubblewrap has set up the box: its first process as we count them."""
    assert process.stdout is not None  # noqa: S101 - we asked for pipes
    assert process.stderr is not None  # noqa: S101
    ready = select.select([process.stdout.fileno()], [], [], SETUP_SECONDS)[0]
    if not ready or not process.stdout.read(1):
        process.kill()
        complaint = process.stderr.read().decode(errors="replace").strip()
        raise CannotError(complaint or "bubblewrap does not answer")
    info = b""
    while b"}" not in info and (piece := os.read(told, 4096)):
        info += piece
    return json.loads(info)["child-pid"]


def given(text: str) -> str:
    """The number of a descriptor that a child reads `text` from: nothing on a command line."""
    descriptor = os.memfd_create("box", 0)
    os.write(descriptor, os.fsencode(text))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return str(descriptor)


def furnish(asked: Asked, spaces: dict[str, int], trees: list[tuple[str, int]]) -> None:
    """What bubblewrap cannot: bound inodes, show folders under another owner, hide below them."""
    bounded, hidden = asked["scratch"], asked["hidden"]
    told, telling = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            checked(LIBC.setns(spaces["owner"], NEWUSER), "enter the user namespace")
            bound_ipc(asked["kernel"], spaces["ipc"])
            checked(LIBC.setns(spaces["mnt"], NEWNS), "enter the mount namespace")
            for place, option in bounded:
                again = MS_REMOUNT | MS_NOSUID | MS_NODEV
                mounted(b"tmpfs", place, b"tmpfs", again, option)
            for place, tree in trees:
                attached(tree, place)
            for place in hidden:
                with suppress(FileNotFoundError):
                    attached(sealed(), place)
            os.write(telling, FURNISHED)
        except TROUBLE as error:
            os.write(telling, str(error).encode())
        finally:
            os._exit(0)
    os.close(telling)
    said = os.read(told, 4096)
    os.waitpid(child, 0)
    if said != FURNISHED:
        raise CannotError(f"the box could not be furnished: {said.decode()}")


def bound_ipc(settings: Asked, ipc: int) -> None:
    """Shared memory and queues of System V are of no process: bound them in the box's kernel."""
    checked(LIBC.setns(ipc, NEWIPC), "enter the ipc namespace")
    for name, value in settings.items():
        with suppress(OSError), open(f"/proc/sys/kernel/{name}", "w") as file:  # older kernels
            file.write(str(value))


def lent_tree(folder: int, mount: Asked, uid: int) -> int:
    """A copy of the mount at an open place; with `owned`, what its owner has belongs to `uid`."""
    place = mount["place"]
    flags = AT_EMPTY_PATH | TREE_CLONE | os.O_CLOEXEC
    tree = checked(LIBC.syscall(OPEN_TREE, folder, b"", flags), f"take {place}")
    wanted = ATTR_NOSUID | ATTR_NODEV
    users = 0
    if mount["owned"]:
        about = os.fstat(folder)
        spare = SPARE if mount.get("served") else None
        users = mapping((about.st_uid, about.st_gid), uid, spare)
        wanted |= ATTR_IDMAP
    else:
        wanted |= ATTR_RDONLY
    how = struct.pack("QQQQ", wanted, 0, 0, users)
    done = LIBC.syscall(MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH, how, len(how))
    checked(done, f"lend {place} to the agent's user")
    return tree


def stage(asked: Asked, descriptors: list[int], reply: socket.socket) -> None:
    """Lend a folder at a place of ours, from where a container engine takes it."""
    attached(lent_tree(descriptors[0], asked, asked["uid"]), asked["at"])
    answer(reply, {}, descriptors[:1])


def mapping(owners: tuple[int, int], uid: int, spare: int | None) -> int:
    """A user namespace in which the owner and group of the disk are `uid`, and `spare` is root:
    a server of files that is root makes a file as itself before it gives it to the agent's user.
    """
    started, start = os.pipe()
    child = os.fork()
    if child == 0:
        if LIBC.unshare(NEWUSER) == 0:
            LIBC.prctl(DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
            os.write(start, b".")
            signal.pause()
        os._exit(1)
    os.close(start)
    os.read(started, 1)
    for name, owner in zip(("uid_map", "gid_map"), owners, strict=True):
        rest = "" if spare in {None, owner} else f"{spare} 0 1\n"
        with open(f"/proc/{child}/{name}", "w") as file:
            file.write(f"{owner} {uid} 1\n{rest}")
    users = os.open(f"/proc/{child}/ns/user", os.O_RDONLY)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return users
