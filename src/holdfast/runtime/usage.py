"""What this process uses of the machine."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_DESCRIPTORS = Path("/proc/self/fd")


def resident() -> int:
    """Memory in use now; where the system does not tell, the most there has been."""
    if sys.platform == "linux":
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def processor_seconds() -> float:
    """Of this process so far, in its own name and the kernel's."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return round(used.ru_utime + used.ru_stime, 3)


def files() -> tuple[int | None, int]:
    """How many files are open, where the system tells, and how many may be."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        return sum(1 for _ in _DESCRIPTORS.iterdir()), most
    except OSError:
        return None, most


def size(database: Path | None) -> int:
    """Bytes of the database with its write-ahead log."""
    if database is None:
        return 0
    found = (Path(f"{database}{end}") for end in ("", "-wal"))
    return sum(path.stat().st_size for path in found if path.exists())
