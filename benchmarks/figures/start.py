"""How long a command takes from its start to its end, while a daemon runs."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.daemon import Daemon
from benchmarks.measure import ROOT, Result, environment, spread


def measure(place: Path, quick: bool) -> dict[str, Result]:
    runs = 5 if quick else 30
    python, holdfast = sys.executable, Path(sys.executable).with_name("holdfast")
    commands = {
        "holdfast --version": [str(holdfast), "--version"],
        "holdfast status": [str(holdfast), "status"],
        "holdfast task list": [str(holdfast), "task", "list"],
        "python -c pass": [python, "-c", "pass"],
        "python -I -S -c pass": [python, "-I", "-S", "-c", "pass"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    with Daemon(place / "start") as daemon:
        settings = environment(HOLDFAST_HOME=str(daemon.home))
        del settings["PYTHONPATH"]
        for _ in range(runs + 1):
            for name, command in commands.items():
                began = time.perf_counter()
                subprocess.run(
                    command, check=True, env=settings, cwd=ROOT, stdout=subprocess.DEVNULL
                )
                seconds[name].append(time.perf_counter() - began)
    return {name: spread(taken[1:]) for name, taken in seconds.items()}
