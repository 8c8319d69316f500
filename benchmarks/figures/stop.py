"""From asking to cancel until every process of the running command is dead.

Dead, not collected: a process that has ended but that its parent (here the system's init, which
inherits it) has not looked at yet runs nothing and holds nothing.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from benchmarks.daemon import Daemon
from benchmarks.measure import Result, spread

_PATIENCE = 30.0


def measure(place: Path, quick: bool) -> dict[str, Result]:
    """A shell with two children of its own, one of which does not listen to SIGTERM."""
    answered: list[float] = []
    gone: list[float] = []
    (place / "workspace").mkdir()
    with Daemon(place / "stop") as daemon:
        for number in range(5 if quick else 50):
            mark = str(100_000 + number)  # seconds to sleep, and how its processes are found
            line = f"sh -c 'trap \"\" TERM; sleep {mark}; true' & sleep {mark}"
            task = daemon.ask(
                "POST",
                "/api/v1/tasks",
                {
                    "prompt": f"/tool exec {json.dumps({'command': line})}",
                    "workspace": str(place / "workspace"),
                    "preset": "open",
                },
            )["id"]
            processes = _wait_for(daemon.pid, mark)
            began = time.perf_counter()
            daemon.ask("POST", f"/api/v1/tasks/{task}/cancel", {"reason": "benchmark"})
            answered.append(time.perf_counter() - began)
            while any(map(_lives, processes)):
                if time.perf_counter() - began > _PATIENCE:
                    raise RuntimeError(f"still there: {processes}")
                time.sleep(0.0005)
            gone.append(time.perf_counter() - began)
    return {"all processes gone": spread(gone), "cancel answered": spread(answered)}


def _wait_for(daemon: int, mark: str) -> set[int]:
    """Every process below the daemon, once both sleeps are among them."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        below = _below(daemon)
        if sum(_is_sleep(pid, mark) for pid in below) == 2:
            return {pid for pid in _below(daemon) if "porter.py" not in _words(pid)}
        time.sleep(0.005)
    raise RuntimeError("the command did not start")


def _below(root: int) -> set[int]:
    found, ahead = set[int](), [root]
    while ahead:
        children = Path(f"/proc/{ahead.pop()}/task").glob("*/children")
        fresh = {int(pid) for file in children for pid in _read(file).split()} - found
        found |= fresh
        ahead += fresh
    return found


def _lives(pid: int) -> bool:
    state = _read(Path(f"/proc/{pid}/stat")).rpartition(") ")[2][:1]
    return state not in {"", "Z", "X"}


def _is_sleep(pid: int, mark: str) -> bool:
    return _words(pid) == f"sleep\0{mark}\0"


def _words(pid: int) -> str:
    return _read(Path(f"/proc/{pid}/cmdline"))


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, ProcessLookupError):
        return ""
