"""A control group for the processes of one box, where we may make one.

The kernel exempts uid 0 from RLIMIT_NPROC, and a box made by root belongs to uid 0 outside. So
as root the number of processes is bounded by a group of the `pids` controller (v1, or v2 where
the root of the hierarchy hands it down). Elsewhere the resource limit does it.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from holdfast.ports.box import BoxLimits

_V1 = Path("/sys/fs/cgroup/pids")
_V2 = Path("/sys/fs/cgroup")
_NAME = "holdfast-box-"
_OURS = 2
_TRIES, _PAUSE = 50, 0.002


class Group(Struct, frozen=True):
    """One control group; it can be removed once its processes are dead."""

    path: Path

    def remove(self) -> None:
        """Blocks up to some 100 ms while the kernel still takes leave of the dead."""
        for _ in range(_TRIES):
            try:
                self.path.rmdir()
            except OSError as error:
                if error.errno != errno.EBUSY:
                    return
                time.sleep(_PAUSE)
            else:
                return


def enter(process: int, limits: BoxLimits) -> Group | None:
    """Put `process` and all that it will start into a new group; None where that cannot be."""
    home = _home() if os.geteuid() == 0 else None
    if home is None:
        return None
    _sweep(home)
    group = Group(home / f"{_NAME}{os.getpid()}-{secrets.token_hex(8)}")
    try:
        group.path.mkdir()
        (group.path / "pids.max").write_text(str(limits.processes + _OURS))
        (group.path / "cgroup.procs").write_text(str(process))
    except OSError:
        group.remove()
        return None
    return group


def _sweep(home: Path) -> None:
    """Remove what a process that was killed left behind."""
    for path in home.glob(f"{_NAME}*"):
        owner = path.name.removeprefix(_NAME).partition("-")[0]
        if not Path("/proc", owner).exists():
            Group(path).remove()


def _home() -> Path | None:
    if (_V1 / "cgroup.procs").exists():
        return _V1
    with suppress(OSError):
        if "pids" in (_V2 / "cgroup.subtree_control").read_text().split():
            return _V2
    return None
