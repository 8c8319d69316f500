"""Control groups: what all processes of one box may use together, where we may make groups.

Three ways, the first that works counts: as root the v1 controllers or the root of v2; as anybody
the part of v2 that was handed to us (a systemd user scope does that, see `porting`). Elsewhere
only the resource limits of each process hold, and `probe` says so.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from msgspec import Struct, field

from holdfast.ports.box import BoxLimits, BoxStats

_ROOT = Path("/sys/fs/cgroup")
_NAME = "holdfast-box-"
_OURS = 4
_PERIOD = 100_000
# A tenth of what everybody else has: however busy a box is, the daemon answers.
_SHARES, _WEIGHT = "102", "10"
_TOGETHER, _SHARES_TOGETHER = "holdfast-boxes", "256"
_TRIES, _PAUSE = 100, 0.002
_V1 = ("memory", "pids", "cpu", "cpuacct", "freezer")
_V2 = ("memory", "pids", "cpu")


class Group(Struct, frozen=True, kw_only=True):
    """One box's groups: a folder per controller (v1), or the same one for all (v2).

    `ours`: we made them, and remove them. `left`: where a group waits that could not be removed
    yet; who makes the next one tries again.
    """

    folders: Mapping[str, Path]
    ours: bool = True
    left: list[Group] = field(default_factory=list["Group"])

    def doors(self) -> list[int]:
        """Descriptors into which a process writes 0 to join; the caller closes them."""
        folders = sorted(set(self.folders.values()))
        return [os.open(folder / "cgroup.procs", os.O_WRONLY) for folder in folders]

    def stats(self) -> BoxStats:
        memory = _number(self._file("memory", "memory.usage_in_bytes", "memory.current"))
        processes = _number(self._file("pids", "pids.current", "pids.current"))
        cpu = _number(self._file("cpuacct", "cpuacct.usage", ""))
        seconds = cpu / 1e9 if cpu >= 0 else _usage(self._file("cpu", "", "cpu.stat"))
        return BoxStats(memory=memory, processes=processes, cpu_seconds=seconds)

    def killed_for_memory(self) -> int:
        """How often the kernel has ended something here for want of memory."""
        for name in ("memory.oom_control", "memory.events"):
            path = self.folders.get("memory", _ROOT) / name
            with suppress(OSError):
                for line in path.read_text().splitlines():
                    if line.startswith("oom_kill "):
                        return int(line.split()[1])
        return 0

    def remove(self, tries: int = _TRIES) -> None:
        """Blocks up to some 200 ms while the kernel still takes leave of the dead, or a fork of
        the porter that has answered waits for the processor to end. After that it is `left`."""
        folders = set(self.folders.values()) if self.ours else set[Path]()
        if sum(not _removed(folder, tries) for folder in folders):  # all of them, not until one
            self.left.append(self)

    def _file(self, controller: str, first: str, second: str) -> Path | None:
        folder = self.folders.get(controller)
        names = [name for name in (first, second) if name]
        return next((folder / n for n in names if folder and (folder / n).exists()), None)


class Groups:
    """Makes groups below `root`; `home` is the handed-down part of v2, if there is one."""

    def __init__(self, root: Path = _ROOT, *, home: Path | None = None) -> None:
        self._root, self._home = root, home
        self._name = f"{_NAME}{os.getpid()}-"
        self._swept = False
        self._left: list[Group] = []

    def make(self, limits: BoxLimits) -> Group | None:
        """A group with these limits; None where there can be none."""
        parents = self._parents()
        if not parents:
            return None
        if not self._swept:
            self._sweep(parents)
        self.tidy(tries=1)
        name = self._name + secrets.token_hex(8)
        folders = {which: parent / name for which, parent in parents.items()}
        group = Group(folders=folders, left=self._left)
        try:
            for folder in set(group.folders.values()):
                folder.mkdir()
            for path, text in _bounds(group.folders, limits):
                path.write_text(text)
        except OSError:
            group.remove()
            return None
        return group

    def tidy(self, tries: int = _TRIES) -> None:
        """Once more, with what could not be removed."""
        left, self._left[:] = self._left[:], []
        for group in left:
            group.remove(tries)

    def controllers(self) -> frozenset[str]:
        """What is bounded here, by the names of v2."""
        return frozenset(self._parents()) & frozenset(_V2)

    def _parents(self) -> dict[str, Path]:
        if self._home is not None:
            return dict.fromkeys(_enabled(self._home), self._home)
        if os.geteuid() != 0:
            return {}
        old = {name: self._root / name for name in _V1}
        found = {name: path for name, path in old.items() if (path / "cgroup.procs").exists()}
        return _together(found) or dict.fromkeys(_enabled(self._root), self._root)

    def _sweep(self, parents: Mapping[str, Path]) -> None:
        """Remove what a process that was killed left behind."""
        self._swept = True
        for parent in set(parents.values()):
            for path in parent.glob(f"{_NAME}*"):
                owner = path.name.removeprefix(_NAME).partition("-")[0]
                if not Path("/proc", owner).exists():
                    Group(folders={"": path}).remove()


def _removed(folder: Path, tries: int) -> bool:
    """Whether it is gone, or nothing that waiting helps against."""
    for _ in range(tries):
        try:
            folder.rmdir()
        except OSError as error:
            if error.errno != errno.EBUSY:
                return True
            time.sleep(_PAUSE)
        else:
            return True
    return False


def _together(parents: dict[str, Path]) -> dict[str, Path]:
    """The same, with all boxes in one group where the processor is shared out: so many as there
    may be, the daemon has one rival and not one for each of them."""
    shared = {name: parents[name] / _TOGETHER for name in ("cpu", "cpuacct") if name in parents}
    try:
        for folder in shared.values():
            folder.mkdir(exist_ok=True)
        if "cpu" in shared:
            (shared["cpu"] / "cpu.shares").write_text(_SHARES_TOGETHER)
    except OSError:
        return parents
    return parents | shared


def handed_down(process: int) -> Path | None:
    """The v2 group that `process` is in, when it may be divided further by us."""
    try:
        lines = Path(f"/proc/{process}/cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("0::"):
            path = _ROOT / line[3:].lstrip("/")
            if path != _ROOT and os.access(path / "cgroup.procs", os.W_OK):
                return path
    return None


def divide(home: Path, process: int) -> bool:
    """Make room for groups below `home`: its own process moves aside, as v2 wants it."""
    try:
        (home / "porter").mkdir(exist_ok=True)
        (home / "porter" / "cgroup.procs").write_text(str(process))
        (home / "cgroup.subtree_control").write_text("+memory +pids +cpu")
    except OSError:
        return False
    return bool(_enabled(home))


def _bounds(folders: Mapping[str, Path], limits: BoxLimits) -> Iterator[tuple[Path, str]]:
    if (memory := folders.get("memory")) is not None:
        old = (memory / "memory.limit_in_bytes").exists()
        yield memory / ("memory.limit_in_bytes" if old else "memory.max"), str(limits.memory)
        swap = memory / ("memory.memsw.limit_in_bytes" if old else "memory.swap.max")
        if swap.exists():
            yield swap, str(limits.memory) if old else "0"
    if (pids := folders.get("pids")) is not None:
        yield pids / "pids.max", str(limits.processes + _OURS)
    cpu = folders.get("cpu")
    if cpu is not None:
        old = (cpu / "cpu.shares").exists()
        yield cpu / ("cpu.shares" if old else "cpu.weight"), _SHARES if old else _WEIGHT
    if cpu is not None and limits.cpus:
        quota = max(1_000, round(limits.cpus * _PERIOD))
        if (cpu / "cpu.cfs_quota_us").exists():
            yield cpu / "cpu.cfs_quota_us", str(quota)
        else:
            yield cpu / "cpu.max", f"{quota} {_PERIOD}"


def _enabled(folder: Path) -> list[str]:
    try:
        words = (folder / "cgroup.subtree_control").read_text().split()
    except OSError:
        return []
    return [name for name in _V2 if name in words]


def _number(path: Path | None) -> int:
    try:
        return int(path.read_text()) if path else -1
    except (OSError, ValueError):
        return -1


def _usage(path: Path | None) -> float:
    try:
        lines = path.read_text().splitlines() if path else []
    except OSError:
        return -1.0
    return next((int(x.split()[1]) / 1e6 for x in lines if x.startswith("usage_usec")), -1.0)
