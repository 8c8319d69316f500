"""Memory and processor time of a command where no control group can bound them.

An ordinary user without a handed-down group has only limits for each process alone. So we add up
the processes of a command several times a second: too much memory ends it; too much processor time
has it paused until it is within its share again. Both walls are soft.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio

from holdfast.ports.box import BoxLimits

_LOOK = 0.02
_BURST = 0.1
_TICKS = os.sysconf("SC_CLK_TCK")
_UTIME, _CSTIME = 11, 15


async def overused(first: int, limits: BoxLimits) -> str:
    """Return, in words, when the command held by `first` uses too much memory; slow its work."""
    process, began = _number(first), anyio.current_time()
    while True:
        await anyio.sleep(_LOOK)
        there = list(_tree(process))
        if _over(there, limits.memory):
            return f"it needed more than {limits.memory >> 20} MiB of memory"
        if limits.cpus:
            used = sum(map(_seconds, there))
            over = used - limits.cpus * (anyio.current_time() - began) - _BURST * limits.cpus
            if over > 0:
                await _paused(process, over / limits.cpus)


async def _paused(process: int, seconds: float) -> None:
    with _still(process):
        await anyio.sleep(min(seconds, 1.0))


@contextmanager
def still(first: int) -> Generator[None]:
    """The command held by `first` does nothing meanwhile."""
    with _still(_number(first)):
        yield


@contextmanager
def _still(process: int) -> Generator[None]:
    """What has been killed meanwhile stays dead."""
    try:
        for each in _tree(process):
            _send(each, signal.SIGSTOP)
        yield
    finally:
        for each in _tree(process):
            _send(each, signal.SIGCONT)


def _send(process: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(process, number)


def _number(first: int) -> int:
    """The number of the process that a descriptor holds; 0 when it is gone."""
    for line in Path(f"/proc/self/fdinfo/{first}").read_text().splitlines():
        if line.startswith("Pid:"):
            return max(0, int(line.split()[1]))
    return 0


def _tree(process: int) -> Iterator[int]:
    """The process and all that descend from it: orphans come back to it as their parent."""
    found = [process] if process > 0 else []
    while found:
        yield (each := found.pop())
        with suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                found += map(int, (task / "children").read_text().split())


def _over(there: Sequence[int], memory: int) -> bool:
    """Cheap first: what is shared, and so counted twice, is only told apart when it matters."""
    return sum(map(_resident, there)) > memory and sum(map(_proportional, there)) > memory


def _resident(process: int) -> int:
    """Bytes in memory that are no files: its own, and what it shares with others in full."""
    lines = _lines(f"/proc/{process}/status", ("RssAnon:", "RssShmem:"))
    return sum(int(line.split()[1]) for line in lines) << 10


def _proportional(process: int) -> int:
    """The same with a fair share of what is shared."""
    lines = _lines(f"/proc/{process}/smaps_rollup", ("Pss_Anon:", "Pss_Shmem:"))
    found = [int(line.split()[1]) for line in lines]
    return sum(found) << 10 if found else _resident(process)


def _lines(path: str, beginnings: tuple[str, ...]) -> list[str]:
    with suppress(OSError):
        return [line for line in Path(path).read_text().splitlines() if line.startswith(beginnings)]
    return []


def _seconds(process: int) -> float:
    """Processor time of it and of all its children that have ended."""
    with suppress(OSError, ValueError):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[_UTIME:_CSTIME])) / _TICKS
    return 0.0
