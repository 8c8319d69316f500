"""The porter: a small process that makes boxes and carries commands into them.

It is a program of its own, started with an empty environment and nothing but the standard library,
so that no memory, descriptor or variable of the daemon can be found by what runs in a box. Each
request comes on a socket with the descriptors it needs and is served by a fork, which answers on
the request's own socket. The porter keeps nothing.

How a command comes into a box. The fork joins the control groups, then the box's namespaces: first
the user namespace that owns the others, which gives it every right in there and none outside. It
makes a process namespace for this command alone, whose first process mounts a fresh `/proc`,
enters the innermost user namespace, gives up every right, puts on Landlock and the system call
filters, and starts the command. Killing that first process makes the kernel kill all others,
however they forked or hid. It also ends by itself when its socket closes: a daemon that is killed
takes all commands along.

Until the command's `execve` we are not dumpable, so nothing in the box can look into us.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import gc
import json
import os
import resource
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

NEWNS, NEWUTS, NEWIPC, NEWUSER = 0x00020000, 0x04000000, 0x08000000, 0x10000000
NEWPID, NEWNET = 0x20000000, 0x40000000
NAMESPACES = (("net", NEWNET), ("ipc", NEWIPC), ("uts", NEWUTS), ("mnt", NEWNS))
NS_GET_USERNS = 0xB701
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 2, 4, 8, 32
DEATH_SIGNAL, SET_DUMPABLE, SET_SECCOMP, CAPBSET_DROP = 1, 4, 22, 24
NO_NEW_PRIVS, SUBREAPER, SECCOMP_FILTER, LAST_CAPABILITY = 38, 36, 2, 63
OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR, OPENAT2 = 428, 429, 442, 437
FSOPEN, FSCONFIG, FSMOUNT = 430, 431, 432
NO_MAGIC, NO_LINKS = 2, 4
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
AT_EMPTY_PATH, TREE_CLONE = 0x1000, 1
MOVE_FROM_EMPTY, MOVE_TO_EMPTY = 4, 0x40
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV, ATTR_IDMAP = 1, 2, 4, 0x00100000
READS, WRITES_ALL = 0b1101, 0xFFFF  # execute, read file, read folder; cut to what the kernel knows
ACCESS_OF_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
DEVICE_ACCESS = 0b110 | 1 << 14 | 1 << 15  # write and read, truncate, ioctl
FILE_ACCESS = DEVICE_ACCESS | 1  # what a rule for a file may say: execute besides
SCOPES_SINCE, ALL_SCOPES = 6, 3
MOST_DESCRIPTORS = 32
SPARE = 65_534
NOT_FOUND, NOT_RUNNABLE = 127, 126
SETUP_SECONDS = 10
NICE = 10  # whatever runs in a box comes after the daemon and what people do
DEFAULT_SIGNALS = [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD]

Asked = dict[str, Any]
Lent = tuple[int | None, list[bytes]]

LIBC = ctypes.CDLL(None, use_errno=True)


class CannotError(Exception):
    """The request cannot be served; the text says why."""


WRONG = (ValueError, TypeError, LookupError, AttributeError, NameError, ctypes.ArgumentError)
TROUBLE = (CannotError, OSError, struct.error, subprocess.SubprocessError, *WRONG)
FURNISHED = b"furnished"


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    LIBC.prctl(SUBREAPER, 1, 0, 0, 0)
    LIBC.prctl(SET_DUMPABLE, 0, 0, 0, 0)
    gc.disable()
    gc.freeze()
    control.send(b".")
    while True:
        said, descriptors = received(control)
        if not said:
            return
        try:
            child = os.fork()
        except OSError as error:
            complain(socket.socket(fileno=descriptors[1]), f"no process: {error.strerror}")
            descriptors.pop(1)
        else:
            if child == 0:
                serve(control, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def received(control: socket.socket) -> tuple[bytes, list[int]]:
    """A message and the descriptors that came with it; b"" when the other end is closed."""
    room = socket.CMSG_SPACE(MOST_DESCRIPTORS * 4)
    said, more, _flags, _ = control.recvmsg(16, room, socket.MSG_CMSG_CLOEXEC)
    found = array.array("i")
    for level, kind, data in more:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % 4])
    return said, list(found)


def serve(control: socket.socket, descriptors: list[int]) -> NoReturn:
    """One request in a fork of its own: never returns."""
    control.close()
    reply = socket.socket(fileno=descriptors[1])
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        asked = json.loads(whole(descriptors[0]))
        kinds = {"make": make, "stand": stand, "listen": listen, "alone": alone, "stage": stage}
        kinds[asked["do"]](asked, descriptors[2:], reply)
    except TROUBLE as error:
        complain(reply, str(error))
    finally:
        os._exit(0)


def complain(reply: socket.socket, words: str) -> None:
    with suppress(OSError):
        reply.send(json.dumps({"error": words}).encode())


def answer(reply: socket.socket, words: Asked, descriptors: Sequence[int] = ()) -> None:
    rights = array.array("i", descriptors)
    more = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if descriptors else []
    reply.sendmsg([json.dumps(words).encode()], more)


def checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise CannotError(f"{what}: {os.strerror(number)}")
    return result


# --- making a box ---------------------------------------------------------------------------------


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


# --- inside a box ---------------------------------------------------------------------------------


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


def entered(users: int) -> None:
    """Join a user namespace. An engine's box may share ours, which nobody can enter again."""
    theirs, ours = os.fstat(users), os.stat("/proc/self/ns/user")
    if (theirs.st_dev, theirs.st_ino) != (ours.st_dev, ours.st_ino):
        checked(LIBC.setns(users, NEWUSER), "enter the user namespace")


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


def whole(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


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


if __name__ == "__main__":
    main()
