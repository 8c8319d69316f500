"""Which system calls a box may make, as programs that the kernel runs before each call.

Two filters stack, because one cannot say "all but two" of a call that another rule allows. The
first knows what ordinary programs use, and answers "there is no such call" to everything else, so
that libraries fall back to older ways. The second takes away what even an allowed call must not
do: type into a terminal (TIOCSTI), make raw packets, give a file the setuid or setgid bit, answer
the calls of others. What `clone3` and `openat2` are asked for lies behind a pointer where no filter
can look, so for a box these calls do not exist.
"""

from __future__ import annotations

import errno
import importlib
import os
import stat
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from holdfast.core.error import Unavailable

NAMESPACES = 0x7E020080
# TIOCSTI and TIOCLINUX type into a terminal; FS_IOC_SETFLAGS and FS_IOC_FSSETXATTR change a
# file's flags through a descriptor that may only read it.
_TRICKS = (0x5412, 0x541C, 0x40086602, 0x40046602, 0x401C5820)
_LOW = 0xFFFFFFFF
_RAW, _PACKET, _KIND = 3, 10, 0xF
FAMILIES = (1, 2, 10)
NETLINK, _ROUTE = 16, 0
_BITS = (stat.S_ISUID, stat.S_ISGID)
TMPFILE = 0o20000000
_LISTENER = 8
_SEARCHED = 2  # libseccomp: a binary search for the number of the call, not a walk through all


_LISTS = tomllib.loads(Path(__file__).with_name("calls.toml").read_text("utf-8"))
ALLOWED, FORBIDDEN, UNSUPPORTED, _SHARED, _UNCOUNTED = (
    str(_LISTS[name]).split()
    for name in ("allowed", "forbidden", "unsupported", "shared", "uncounted")
)


@cache
def programs(*, alone: bool = False, uncounted: bool = False) -> tuple[bytes, ...]:
    """Both filters for this machine's processor. Raises `Unavailable` without libseccomp.

    `alone`: there are no namespaces, so nothing that others could be reached by is allowed.
    `uncounted`: no control group counts memory, so there is none outside of processes.
    """
    try:
        # Imported late: it looks for the system's library, and a daemon starts without one too.
        library = importlib.import_module("pyseccomp")
        return _written(_first(library, alone=alone, uncounted=uncounted)), _written(
            _second(library)
        )
    except (ImportError, OSError, RuntimeError) as error:
        hint = "install libseccomp 2.5 or newer, e.g. `apt-get install libseccomp2`"
        message = f"the system calls of a box cannot be filtered: {error}"
        raise Unavailable(message, hint=hint) from error


def _first(seccomp: Any, *, alone: bool, uncounted: bool) -> Any:
    made = seccomp.SyscallFilter(seccomp.ERRNO(errno.ENOSYS))
    made.set_attr(seccomp.Attr.CTL_OPTIMIZE, _SEARCHED)
    refuse = seccomp.ERRNO(errno.EPERM)
    shared = _SHARED if alone else ()
    missing = {*shared, *(_UNCOUNTED if uncounted else ())}
    for name in ALLOWED:
        if name not in missing:
            _rule(seccomp, made, seccomp.ALLOW, name)
    for name in UNSUPPORTED:
        _rule(seccomp, made, seccomp.ERRNO(errno.EOPNOTSUPP), name)
    for name in (*FORBIDDEN, *shared):
        _rule(seccomp, made, refuse, name)
    none_new = seccomp.Arg(0, seccomp.MASKED_EQ, NAMESPACES, 0)
    _rule(seccomp, made, seccomp.ALLOW, "clone", none_new)
    for family in () if alone else FAMILIES:
        _rule(seccomp, made, seccomp.ALLOW, "socket", seccomp.Arg(0, seccomp.EQ, family))
    if alone:
        return made
    route = seccomp.Arg(2, seccomp.EQ, _ROUTE)
    _rule(seccomp, made, seccomp.ALLOW, "socket", seccomp.Arg(0, seccomp.EQ, NETLINK), route)
    return made


def _second(seccomp: Any) -> Any:
    made = seccomp.SyscallFilter(seccomp.ALLOW)
    refuse = seccomp.ERRNO(errno.EPERM)
    for request in _TRICKS:
        _rule(seccomp, made, refuse, "ioctl", seccomp.Arg(1, seccomp.MASKED_EQ, _LOW, request))
    for family in FAMILIES[1:]:
        for kind in (_RAW, _PACKET):
            of_kind = seccomp.Arg(1, seccomp.MASKED_EQ, _KIND, kind)
            _rule(seccomp, made, refuse, "socket", seccomp.Arg(0, seccomp.EQ, family), of_kind)
    watching = seccomp.Arg(1, seccomp.MASKED_EQ, _LISTENER, _LISTENER)
    _rule(seccomp, made, refuse, "seccomp", watching)
    for bit in _BITS:
        for name, place in (("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("creat", 1)):
            _rule(seccomp, made, refuse, name, seccomp.Arg(place, seccomp.MASKED_EQ, bit, bit))
        for name, place in (("mknod", 1), ("mknodat", 2)):
            _rule(seccomp, made, refuse, name, seccomp.Arg(place, seccomp.MASKED_EQ, bit, bit))
        for making in (os.O_CREAT, TMPFILE):
            for name, place in (("open", 1), ("openat", 2)):
                asked = seccomp.Arg(place, seccomp.MASKED_EQ, making, making)
                _rule(
                    seccomp,
                    made,
                    refuse,
                    name,
                    asked,
                    seccomp.Arg(place + 1, seccomp.MASKED_EQ, bit, bit),
                )
    return made


def _rule(library: Any, made: Any, action: Any, name: str, *arguments: Any) -> None:
    """A call that this processor does not have needs no rule: the first filter knows it not."""
    if library.resolve_syscall(library.Arch.NATIVE, name) >= 0:
        made.add_rule(action, name, *arguments)


def _written(made: Any) -> bytes:
    descriptor = os.memfd_create("filter")
    try:
        with os.fdopen(descriptor, "rb+", closefd=False) as file:
            made.export_bpf(file)
            file.seek(0)
            return file.read()
    finally:
        os.close(descriptor)
