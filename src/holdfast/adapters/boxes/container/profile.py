"""The engine's own system call filter: the table of `filters` as the JSON that engines read.

Commands wear the two programs of `filters`; this one is for the container's first process and for
whoever enters by the engine. One list of calls that are allowed cannot say "all but", so what a
call must not be asked for is said by allowing everything else.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import stat
from collections.abc import Iterator, Sequence
from typing import Any

from holdfast.adapters.boxes.filters import (
    ALLOWED,
    FAMILIES,
    FORBIDDEN,
    NAMESPACES,
    NETLINK,
    TMPFILE,
    UNSUPPORTED,
)

_MACHINES = {"x86_64": "X86_64", "aarch64": "AARCH64", "riscv64": "RISCV64", "ppc64le": "PPC64LE"}
_BITS = stat.S_ISUID | stat.S_ISGID
_MODES = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "creat": 1, "mknod": 1, "mknodat": 2}
_OPENS = {"open": 1, "openat": 2}
_TERMINAL_TRICKS = (0x5412, 0x541C)
_WORD = 32
_UNKNOWN = ("clone3", "openat2", "fchmodat2")
_SPECIAL = frozenset({*_MODES, *_OPENS, "ioctl"})


def profile() -> bytes:
    """The filter for this machine's processor alone: no other calling convention is known to it."""
    machine = platform.machine()
    words = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.ENOSYS,
        "architectures": [f"SCMP_ARCH_{_MACHINES.get(machine, machine.upper())}"],
        "syscalls": list(_rules()),
    }
    return json.dumps(words, indent=1).encode()


def _rules() -> Iterator[dict[str, Any]]:
    yield _allow([name for name in ALLOWED if name not in _SPECIAL])
    yield {"names": FORBIDDEN, "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM}
    yield {"names": UNSUPPORTED, "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EOPNOTSUPP}
    yield {"names": _UNKNOWN, "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS}
    yield _allow(["clone"], _masked(0, NAMESPACES, 0))
    for family in FAMILIES:
        yield _allow(["socket"], _equal(0, family))
    yield _allow(["socket"], _equal(0, NETLINK), _equal(2, 0))
    for name, place in _MODES.items():
        yield _allow([name], _masked(place, _BITS, 0))
    for name, place in _OPENS.items():
        yield _allow([name], _masked(place, os.O_CREAT | TMPFILE, 0))
        yield _allow([name], _masked(place + 1, _BITS, 0))
    for mask, value in all_but(_TERMINAL_TRICKS):
        yield _allow(["ioctl"], _masked(1, mask, value))


def all_but(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Masks and values that together match every 32-bit number but these, whatever is above."""
    prefixes = {0}
    for bit in reversed(range(_WORD)):
        mask = (1 << _WORD) - (1 << bit)
        wanted = {number & mask for number in numbers}
        for prefix in sorted(prefixes):
            yield from ((mask, x) for x in (prefix, prefix | 1 << bit) if x not in wanted)
        prefixes = wanted


def _allow(names: Sequence[str], *arguments: dict[str, Any]) -> dict[str, Any]:
    return {"names": list(names), "action": "SCMP_ACT_ALLOW", "args": list(arguments)}


def _masked(place: int, mask: int, value: int) -> dict[str, Any]:
    return {"index": place, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}


def _equal(place: int, value: int) -> dict[str, Any]:
    return {"index": place, "value": value, "op": "SCMP_CMP_EQ"}
