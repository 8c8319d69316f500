"""What a daemon with nothing to do takes: memory, processor time, database statements."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.daemon import Daemon
from benchmarks.measure import Result, interleaved

_SETTLE = 2.0


def measure(place: Path, quick: bool) -> dict[str, Result]:
    seconds = 3.0 if quick else 10.0

    def holdfast() -> Result:
        with Daemon(place / "idle") as daemon:
            time.sleep(_SETTLE)
            first = daemon.ask("GET", "/api/v1/status")["statements"]
            second = daemon.ask("GET", "/api/v1/status")["statements"]
            cpu, began = _cpu(daemon.pid), time.monotonic()
            time.sleep(seconds)
            share = (_cpu(daemon.pid) - cpu) / (time.monotonic() - began)
            memory = _memory(daemon.pid)
            third = daemon.ask("GET", "/api/v1/status")["statements"]
        asking = second - first  # what the question itself takes
        return {**memory, "cpu_percent": share * 100, "statements": third - second - asking}

    def python() -> Result:
        with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
            time.sleep(_SETTLE)
            cpu = _cpu(process.pid)
            time.sleep(seconds)
            share = (_cpu(process.pid) - cpu) / seconds
            memory = _memory(process.pid)
            process.kill()
        return {**memory, "cpu_percent": share * 100}

    contenders = {"Holdfast": holdfast, "a sleeping Python": python}
    return interleaved(1 if quick else 3, contenders)


def _cpu(pid: int) -> float:
    """Seconds of processor time that all threads have used so far."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def _memory(pid: int) -> Result:
    status = Path(f"/proc/{pid}/status").read_text()
    sizes = {k: int(v) / 1024 for k, v in re.findall(r"(VmRSS|RssAnon):\s+(\d+) kB", status)}
    return {"rss_mib": sizes["VmRSS"], "anonymous_mib": sizes["RssAnon"]}
