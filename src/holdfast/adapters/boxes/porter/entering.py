"""Into a box: its namespaces joined, every right given up, before the command begins."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import socket
import stat
import struct
from contextlib import suppress
from typing import NoReturn

from .commands import commanded
from .kernel import (
    CAPBSET_DROP,
    DEFAULT_SIGNALS,
    LAST_CAPABILITY,
    LIBC,
    MOST_DESCRIPTORS,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    NAMESPACES,
    NEWNS,
    NEWPID,
    NO_NEW_PRIVS,
    SECCOMP_FILTER,
    SET_DUMPABLE,
    SET_SECCOMP,
    SUBREAPER,
    TROUBLE,
    Asked,
    CannotError,
    attached,
    checked,
    entered,
    mounted,
    sealed,
    whole,
)
from .talk import answer, complain, received

LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
READS, WRITES_ALL = 0b1101, 0xFFFF  # execute, read file, read folder; cut to what the kernel knows
ACCESS_OF_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
DEVICE_ACCESS = 0b110 | 1 << 14 | 1 << 15  # write and read, truncate, ioctl
FILE_ACCESS = DEVICE_ACCESS | 1  # what a rule for a file may say: execute besides
SCOPES_SINCE, ALL_SCOPES = 6, 3
NICE = 10  # whatever runs in a box comes after the daemon and what people do

Lent = tuple[int | None, list[bytes]]


def enter(asked: Asked, descriptors: list[int]) -> int:
    """Join the groups and every namespace but the innermost user's, which is returned."""
    groups = asked["groups"]
    for descriptor in descriptors[:groups]:
        os.write(descriptor, b"0")
    LIBC.prctl(SET_DUMPABLE, 0, 0, 0, 0)
    owner, *spaces, user = descriptors[groups : groups + len(NAMESPACES) + 2]
    if os.geteuid() == 0:
        os.setgroups([])
    entered(owner)
    for descriptor, (name, kind) in zip(spaces, NAMESPACES, strict=True):
        checked(LIBC.setns(descriptor, kind), f"enter the namespace {name}")
    return user


def listen(asked: Asked, descriptors: list[int], reply: socket.socket) -> None:
    """A listener of ours on the box's own loopback address."""
    enter(asked, descriptors)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", asked["port"]))
        listener.listen(128)
        answer(reply, {}, [listener.fileno()])


def stand(asked: Asked, descriptors: list[int], reply: socket.socket) -> None:
    """The first process of a command's namespace, ready to be told which command it is.

    Its mounts are answered too: whoever closes the last descriptor of them waits for the kernel to
    take them apart, and that should not be the command's end. They come back with a later request.
    """
    expendable()
    processes = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    filters = descriptors[: asked["filters"]]
    programs = [whole(descriptor) for descriptor in filters]
    user = enter(asked, descriptors[asked["filters"] :])
    checked(LIBC.unshare(NEWPID | NEWNS), "make a process namespace")
    first = os.fork()
    if first == 0:
        os.close(processes)
        lead(asked, (user, programs), reply)
    mounts = os.open("self/ns/mnt", os.O_RDONLY, dir_fd=processes)
    answer(reply, {}, [os.pidfd_open(first), mounts])


def expendable() -> None:
    """Go before the daemon when memory runs out; who is not dumpable may not say so."""
    LIBC.prctl(SET_DUMPABLE, 1, 0, 0, 0)
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")
    LIBC.prctl(SET_DUMPABLE, 0, 0, 0, 0)


def alone(asked: Asked, descriptors: list[int], reply: socket.socket) -> None:
    """A command without namespaces. We stay beside it as the parent of all its orphans, and end
    whatever is left of it: when it ends, which it does when the daemon hangs up, or when told."""
    expendable()
    programs = [whole(descriptor) for descriptor in descriptors[: asked["filters"]]]
    os.setsid()
    stop, stopping = os.pipe()

    def told(_number: int, _frame: object) -> None:
        os.write(stopping, b".")

    signal.signal(signal.SIGTERM, told)
    LIBC.prctl(SUBREAPER, 1, 0, 0, 0)
    LIBC.prctl(SET_DUMPABLE, 0, 0, 0, 0)
    ours = os.getpid()
    command = os.fork()
    if command == 0:
        lead(asked, (None, programs), reply)
    answer(reply, {}, [os.pidfd_open(ours)])
    reply.close()
    select.select([os.pidfd_open(command), stop], [], [])
    with suppress(ChildProcessError):
        while True:
            for child in children(ours):
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            os.waitpid(-1, 0)


def children(process: int) -> list[int]:
    with open(f"/proc/{process}/task/{process}/children") as file:
        return [int(word) for word in file.read().split()]


def lead(asked: Asked, lent: Lent, reply: socket.socket) -> NoReturn:
    """Give up all rights, then be the command's first process: never returns."""
    user, programs = lent
    try:
        if user is not None:
            mounted(b"proc", "/proc", b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
            for place in asked["covered"]:
                attached(sealed(), place)
            entered(user)
            bare()
            os.setresgid(asked["user"], asked["user"], asked["user"])
            os.setresuid(asked["user"], asked["user"], asked["user"])
        restrict(asked, programs)
        os.closerange(3, reply.fileno())
        os.closerange(reply.fileno() + 1, reply.fileno() + 2 * MOST_DESCRIPTORS)
        rehearsed(reply)
        said, descriptors = received(reply)
        if not said:
            os._exit(0)
        go = json.loads(whole(descriptors[0]))
        code = commanded(go, descriptors[1:], reply)
    except TROUBLE as error:
        complain(reply, str(error) or repr(error))
    else:
        with suppress(OSError):
            reply.send(json.dumps({"code": code}).encode())
    finally:
        os._exit(0)


def bare() -> None:
    """Nothing that is started can have a capability; this needs one itself, where it counts."""
    for number in range(LAST_CAPABILITY + 1):
        LIBC.prctl(CAPBSET_DROP, number, 0, 0, 0)


def restrict(asked: Asked, programs: list[bytes]) -> None:
    """Give up every right, for good: what is started can only have fewer."""
    os.setsid()
    os.umask(0o022)
    os.nice(NICE)
    bare()
    for name, amount in asked["limits"].items():
        which = getattr(resource, name)
        hard = resource.getrlimit(which)[1]
        bound = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(which, (bound, bound))
    checked(LIBC.prctl(NO_NEW_PRIVS, 1, 0, 0, 0), "renounce new rights")
    if asked["landlock"]:
        landlock(asked["landlock"])
    for program in programs:
        filtered(program)
    LIBC.prctl(SET_DUMPABLE, 0, 0, 0, 0)  # each change of who we are has set it anew


def landlock(rules: Asked) -> None:
    """Reading everywhere, changing only below `writes`; devices may be used, not made."""
    abi = LIBC.syscall(LANDLOCK_CREATE, None, 0, 1)
    if abi < 1:
        raise CannotError("this kernel has no Landlock")
    known = (1 << ACCESS_OF_ABI.get(min(abi, 5), 16)) - 1
    scopes = ALL_SCOPES if abi >= SCOPES_SINCE else 0
    attributes = struct.pack("QQQ", known, 0, scopes)[: 24 if abi >= SCOPES_SINCE else 8]
    ruleset = checked(LIBC.syscall(LANDLOCK_CREATE, attributes, len(attributes), 0), "Landlock")
    for access, paths in ((READS, rules["reads"]), (DEVICE_ACCESS, rules["devices"])):
        for path in paths:
            beneath(ruleset, path, access & known)
    for path in rules["writes"]:
        beneath(ruleset, path, WRITES_ALL & known)
    checked(LIBC.syscall(LANDLOCK_RESTRICT, ruleset, 0), "Landlock")
    os.close(ruleset)


def beneath(ruleset: int, path: str, access: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(os.fstat(place).st_mode):
        access &= FILE_ACCESS
    rule = struct.pack("=Qi", access, place)
    checked(LIBC.syscall(LANDLOCK_ADD, ruleset, 1, rule, 0), f"Landlock below {path}")
    os.close(place)


def filtered(program: bytes) -> None:
    """Put on one system call filter; `program` is what the kernel reads, 8 bytes a step."""
    kept = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(kept))
    checked(LIBC.prctl(SET_SECCOMP, SECCOMP_FILTER, head, 0, 0), "the system call filter")


def rehearsed(reply: socket.socket) -> None:
    """Touch what will be needed now, while nobody waits: after a fork each page costs a fault."""
    go = json.loads('{"argv": ["/"], "environment": {"PATH": "/"}, "cpu": 1}')
    with suppress(OSError):
        os.posix_spawn("/", go["argv"], go["environment"], setsigdef=DEFAULT_SIGNALS, setsigmask=[])
    select.select([reply], [], [], 0)
    os.waitstatus_to_exitcode(0)
