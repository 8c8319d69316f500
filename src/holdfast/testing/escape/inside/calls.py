"""System calls by name, below the C library: what a filter must stop it must stop here."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
from collections.abc import Callable
from contextlib import suppress

from .attack import Blocked, NotHere

_COMMON = {
    "pidfd_send_signal": 424,
    "io_uring_setup": 425,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "pidfd_open": 434,
    "clone3": 435,
    "pidfd_getfd": 438,
    "process_madvise": 440,
    "memfd_secret": 447,
    "fchmodat2": 452,
}
_X86_64 = {
    "ioctl": 16,
    "ptrace": 101,
    "syslog": 103,
    "personality": 135,
    "modify_ldt": 154,
    "pivot_root": 155,
    "clock_adjtime": 305,
    "chroot": 161,
    "mount": 165,
    "umount2": 166,
    "swapon": 167,
    "reboot": 169,
    "sethostname": 170,
    "init_module": 175,
    "mq_open": 240,
    "mq_unlink": 241,
    "mq_timedsend": 242,
    "mq_timedreceive": 243,
    "kexec_load": 246,
    "add_key": 248,
    "request_key": 249,
    "keyctl": 250,
    "ioprio_set": 251,
    "unshare": 272,
    "perf_event_open": 298,
    "fanotify_init": 300,
    "name_to_handle_at": 303,
    "open_by_handle_at": 304,
    "setns": 308,
    "process_vm_readv": 310,
    "kcmp": 312,
    "seccomp": 317,
    "bpf": 321,
    "userfaultfd": 323,
    "shmget": 29,
    "shmat": 30,
    "shmctl": 31,
    "prctl": 157,
}
_AARCH64 = {
    "ioctl": 29,
    "ptrace": 117,
    "syslog": 116,
    "personality": 92,
    "pivot_root": 41,
    "clock_adjtime": 266,
    "chroot": 51,
    "mount": 40,
    "umount2": 39,
    "swapon": 224,
    "reboot": 142,
    "sethostname": 161,
    "init_module": 105,
    "mq_open": 180,
    "mq_unlink": 181,
    "mq_timedsend": 182,
    "mq_timedreceive": 183,
    "kexec_load": 104,
    "add_key": 217,
    "request_key": 218,
    "keyctl": 219,
    "ioprio_set": 30,
    "unshare": 97,
    "perf_event_open": 241,
    "fanotify_init": 262,
    "name_to_handle_at": 264,
    "open_by_handle_at": 265,
    "setns": 268,
    "process_vm_readv": 270,
    "kcmp": 272,
    "seccomp": 277,
    "bpf": 280,
    "userfaultfd": 282,
    "shmget": 194,
    "shmctl": 195,
    "shmat": 196,
    "prctl": 167,
}
MACHINE = platform.machine()
NUMBERS = {**_COMMON, **(_X86_64 if MACHINE == "x86_64" else _AARCH64)}
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.shmat.restype = ctypes.c_void_p


def call(name: str, *arguments: object) -> int:
    """The result. Raises `OSError` as the kernel says, `NotHere` on a machine without the call."""
    if name not in NUMBERS or MACHINE not in {"x86_64", "aarch64"}:
        raise NotHere(f"{MACHINE} has no {name}")
    return _checked(_libc.syscall, ctypes.c_long(NUMBERS[name]), *map(_word, arguments))


def attach(segment: int) -> bytes:
    """What is in a SysV shared memory segment."""
    address = _libc.shmat(segment, None, 0o10000)
    if address in {None, ctypes.c_void_p(-1).value}:
        raise OSError(ctypes.get_errno(), "shmat")
    return ctypes.string_at(address, 64)


def share(key: int, content: bytes, mode: int) -> int:
    """Make a SysV shared memory segment; returns its number."""
    segment = call("shmget", key, 4096, 0o1000 | mode)
    address = _libc.shmat(segment, None, 0)
    if address in {None, ctypes.c_void_p(-1).value}:
        raise OSError(ctypes.get_errno(), "shmat")
    ctypes.memmove(address, content, len(content))
    return segment


def forget(key: int) -> None:
    """Take a SysV shared memory segment away."""
    with suppress(OSError, NotHere):
        call("shmctl", call("shmget", key, 0, 0), 0, None)


def prctl(what: int, *arguments: int) -> int:
    return call("prctl", what, *arguments, *[0] * (4 - len(arguments)))


def text(words: str) -> ctypes.c_char_p:
    return ctypes.c_char_p(words.encode())


def in_child(work: Callable[[], str]) -> str:
    """Do something that changes the process itself in one that is thrown away."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(into, b"+" + work().encode())
        except (OSError, Blocked, NotHere) as error:
            os.write(into, b"-" + str(error).encode())
        os._exit(0)
    os.close(into)
    try:
        said = b"".join(iter(lambda: os.read(out, 4096), b""))
    finally:
        os.close(out)
        _, ended = os.waitpid(child, 0)
    if said[:1] == b"+":
        return said[1:].decode()
    raise Blocked(said[1:].decode() or f"killed by signal {os.WTERMSIG(ended)}")


def high_bits(handle: int, number: int, argument: bytes) -> str:
    """An ioctl with bits in its number that the kernel does not look at."""
    call("ioctl", handle, number | 1 << 40, ctypes.c_char_p(argument))
    return "the number passed"


def run_code(code: bytes) -> int:
    """Execute machine code that returns a number."""
    area = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    area.write(code)
    start = ctypes.addressof(ctypes.c_char.from_buffer(area))
    return ctypes.CFUNCTYPE(ctypes.c_long)(start)()


def _word(value: object) -> object:
    return ctypes.c_long(value) if isinstance(value, int) else value


def _checked(function: Callable[..., int], *arguments: object) -> int:
    found = function(*arguments)
    if found == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return found
