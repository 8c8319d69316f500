"""Resources: using up what others need. Each bomb stops by itself at twice the box's limit."""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import shutil
import signal
import socket
import threading
import time

from .attack import Blocked, Facts, NotHere, attack
from .calls import in_child

_PIECE = 1 << 20
_PAGE = 4096
_MOST = (1 << 63) - 1


@attack("pids", alone=True)
def fork_bomb(facts: Facts) -> str:
    """Start processes without end."""
    children: list[int] = []
    most = int(facts.limits["processes"]) * 2
    try:
        while len(children) < most:
            child = os.fork()
            if child == 0:
                signal.pause()
                os._exit(0)
            children.append(child)
    except OSError as error:
        raise Blocked(f"{len(children)} processes, then: {error.strerror}") from error
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return f"{len(children)} processes"


@attack("pids", alone=True)
def thread_bomb(facts: Facts) -> str:
    """Start threads without end."""
    done, most = threading.Event(), int(facts.limits["processes"]) * 2
    threads: list[threading.Thread] = []
    threading.stack_size(64 << 10)
    try:
        while len(threads) < most:
            threads.append(threading.Thread(target=done.wait))
            threads[-1].start()
    except RuntimeError as error:
        threads.pop()
        raise Blocked(f"{len(threads)} threads, then: {error}") from error
    finally:
        done.set()
        for thread in threads:
            thread.join()
    return f"{len(threads)} threads"


def _take(size: int) -> mmap.mmap:
    area = mmap.mmap(-1, size)
    for place in range(0, size, _PAGE):
        area[place] = 1
    return area


def _memory(facts: Facts) -> int:
    return int(facts.limits["memory"]) * 2


@attack("memory", alone=True, seconds=10.0)
def memory_bomb(facts: Facts) -> str:
    """Take memory without end, as what could be shared, which limits of a process do not count."""
    taken = [_take(_PIECE * 4) for _ in range(_memory(facts) // (_PIECE * 4))]
    return f"has {len(taken) * 4} MiB"


@attack("memory", alone=True, seconds=10.0)
def memory_private(facts: Facts) -> str:
    """The same as ordinary programs do, in memory that nobody else can share."""
    held = bytearray(_memory(facts))
    for place in range(0, len(held), _PAGE):
        held[place] = 1
    return f"has {len(held) >> 20} MiB"


@attack("memory", alone=True, seconds=10.0)
def memory_many(facts: Facts) -> str:
    """Take memory in several processes, each of which stays below its limit."""
    share, ready = int(facts.limits["memory"]) // 2, os.pipe()
    children: list[int] = []
    try:
        for _ in range(4):
            child = os.fork()
            if child == 0:
                kept = [_take(_PIECE * 4) for _ in range(share // (_PIECE * 4))]
                os.write(ready[1], b"x" if kept else b"")
                signal.pause()
                os._exit(0)
            children.append(child)
        os.close(ready[1])
        until = time.monotonic() + 6
        said = b""
        os.set_blocking(ready[0], False)
        while len(said) < 4 and time.monotonic() < until:
            time.sleep(0.05)
            try:
                piece = os.read(ready[0], 8)
            except BlockingIOError:
                continue
            if not piece:
                break
            said += piece
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    if len(said) == 4:
        return f"has {share * 4 >> 20} MiB in 4 processes"
    raise Blocked(f"{len(said)} of 4 got their part")


def _fill(path: str, size: int) -> str:
    piece, written = b"\1" * _PIECE, 0
    try:
        with open(path, "wb", buffering=0) as file:
            while written < size:
                written += file.write(piece)
    except OSError as error:
        raise Blocked(f"{written >> 20} MiB, then: {error.strerror}") from error
    finally:
        os.unlink(path)
    return f"{written >> 20} MiB"


@attack("memory", alone=True)
def tmpfs_memory(facts: Facts) -> str:
    """Fill /tmp, which may be memory, beyond what scratch may hold."""
    return _fill(f"/tmp/{facts.canary}-fill", int(facts.limits["scratch"]) * 2)


@attack("memory", alone=True)
def shm_memory(facts: Facts) -> str:
    """Fill /dev/shm, which is memory, beyond what scratch may hold."""
    return _fill(f"/dev/shm/{facts.canary}-fill", int(facts.limits["scratch"]) * 2)


@attack("memory", alone=True, seconds=10.0)
def memfd_memory(facts: Facts) -> str:
    """Take memory as files without a name, which limits of a process do not count."""
    held, size = list[int](), int(facts.limits["memory"]) // 4
    piece = b"\1" * _PIECE
    for number in range(8):
        held.append(os.memfd_create(f"part{number}"))
        for _ in range(size // _PIECE):
            os.write(held[-1], piece)
    return f"has {len(held) * size >> 20} MiB"


@attack("memory", alone=True)
def socket_memory(facts: Facts) -> str:
    """Take the kernel's memory by socket buffers that nobody reads."""
    taken, ends = 0, list[socket.socket]()
    for _ in range(int(facts.limits["files"]) * 16):
        try:
            pair = socket.socketpair()
        except OSError as error:
            raise Blocked(f"{taken >> 20} MiB, then: {error.strerror}") from error
        ends += pair
        pair[0].setblocking(False)
        try:
            while taken < _memory(facts):
                taken += pair[0].send(b"x" * 65536)
        except BlockingIOError:
            continue
        break
    if taken >= _memory(facts):
        return f"{taken >> 20} MiB wait in sockets"
    raise Blocked(f"only {taken >> 20} MiB fit")


@attack("disk", proof=True, alone=True, seconds=10.0)
def disk_fill(facts: Facts) -> str:
    """Fill the disk by way of the workspace."""
    path, piece = f"{facts.workspace}/fill", b"\1" * _PIECE
    most, written = int(facts.limits["disk"]) * 2 + _PIECE, 0
    with open(path, "wb", buffering=0) as file:
        while written < most:
            try:
                written += file.write(piece)
            except OSError as error:
                raise Blocked(f"{written >> 20} MiB, then: {error.strerror}") from error
    return f"{written >> 20} MiB"


@attack("disk", proof=True, alone=True)
def disk_reserve(facts: Facts) -> str:
    """Reserve the disk without writing, as fast as can be."""
    path, size = f"{facts.workspace}/reserve", int(facts.limits["disk"]) * 2 + _PIECE
    with open(path, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)
    return f"{size >> 20} MiB are reserved"


@attack("disk", proof=True, alone=True)
def disk_many(facts: Facts) -> str:
    """Reserve it in many small files, each far below what one file may have."""
    folder, size = f"{facts.workspace}/many", 1 << 20
    os.mkdir(folder)
    most = int(facts.limits["disk"]) * 2 // size + 1
    for number in range(most):
        with open(f"{folder}/{number}", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    return f"{most} MiB are reserved"


@attack("disk", proof=True, alone=True)
def disk_unlinked(facts: Facts) -> str:
    """Fill the disk with a file that has no name any more, which nobody can count."""
    held = os.open(facts.workspace, os.O_TMPFILE | os.O_RDWR, 0o600)
    size = int(facts.limits["disk"]) * 2 + _PIECE
    os.posix_fallocate(held, 0, size)
    if os.fork() == 0:
        os.setsid()
        for number in range(3):
            os.dup2(os.open("/dev/null", os.O_RDWR), number)
        time.sleep(8)
        os._exit(0)
    return f"{size >> 20} MiB are held by a process that stays behind"


@attack("inodes", proof=True, alone=True, seconds=10.0)
def inode_fill(facts: Facts) -> str:
    """Use up the numbers of files of the disk."""
    folder = f"{facts.workspace}/many"
    os.mkdir(folder)
    most = int(facts.limits["inodes"]) * 2 + 1
    for number in range(most):
        try:
            os.close(os.open(f"{folder}/{number}", os.O_CREAT | os.O_WRONLY))
        except OSError as error:
            raise Blocked(f"{number} files, then: {error.strerror}") from error
    return f"{most} files"


@attack("memory", alone=True, seconds=12.0)
def scratch_inodes(facts: Facts) -> str:
    """Use up memory by empty files in /dev/shm, which its size does not count."""
    folder, most = f"/dev/shm/{facts.canary}-many", _memory(facts) * 3 // 4096
    os.mkdir(folder)
    made = 0
    try:
        for made in range(most):
            os.close(os.open(f"{folder}/{made}", os.O_CREAT | os.O_WRONLY))
    except OSError as error:
        raise Blocked(f"{made} files, then: {error.strerror}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return f"{most} files"


@attack("files", alone=True)
def fd_exhaust(facts: Facts) -> str:
    """Open files without end."""
    held, most = list[int](), int(facts.limits["files"]) * 2
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        while len(held) < most:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        raise Blocked(f"{len(held)} files, then: {error.strerror}") from error
    finally:
        for number in held:
            os.close(number)
    return f"{most} files are open"


@attack("disk", alone=True)
def file_size(facts: Facts) -> str:
    """Make one file larger than a file may be; there is nothing in it."""
    path = f"{facts.workspace}/large"
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with open(path, "wb") as file:
        try:
            file.truncate(int(facts.limits["file_size"]) * 2)
        finally:
            os.unlink(path)
    return "there was no limit"


@attack("cpu", alone=True, seconds=10.0)
def cpu_burn(facts: Facts) -> str:
    """Use more of the processors than what is given."""
    if not facts.limits["cpus"]:
        raise Blocked("no limit is asked for")
    children: list[int] = []
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(4):
        child = os.fork()
        if child == 0:
            until = began + 2.0
            while time.monotonic() < until:
                pass
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - began
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if used / wall > facts.limits["cpus"] * 1.4:
        return f"used {used / wall:.2f} processors"
    raise Blocked(f"used {used / wall:.2f} processors")


@attack("disk", alone=True)
def core_dump(_facts: Facts) -> str:
    """Write the memory of a program that crashes to the disk."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if hard == 0:
        raise Blocked("the limit is 0 and cannot be raised")
    return "a dump may be written: the limit can be raised"


@attack("memory", alone=True)
def mlock_all(_facts: Facts) -> str:
    """Pin memory, so that others are swapped out."""

    def work() -> str:
        size = 64 << 20
        libc, area = ctypes.CDLL(None, use_errno=True), mmap.mmap(-1, size)
        start = ctypes.addressof(ctypes.c_char.from_buffer(area))
        if libc.mlock(ctypes.c_void_p(start), ctypes.c_size_t(size)) == -1:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return "64 MiB are pinned"

    return in_child(work)


def _raised(which: int, soft: int, hard: int) -> str:
    try:
        resource.setrlimit(which, (soft, hard))
    except ValueError as error:
        raise Blocked(str(error)) from error
    return f"raised limit {which} to {hard}"


@attack("memory", alone=True)
def limits_raise(_facts: Facts) -> str:
    """Raise a limit that was set from outside."""

    def work() -> str:
        for which in (resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE, resource.RLIMIT_DATA):
            soft, hard = resource.getrlimit(which)
            if hard not in {resource.RLIM_INFINITY, _MOST}:
                return _raised(which, soft, hard + 1)
        raise NotHere("limits are not set on processes here")

    return in_child(work)
