"""Tasks inside a tool call, the process killed with SIGKILL, a daemon started on what is left."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from benchmarks.daemon import Daemon
from benchmarks.measure import ROOT, Result, environment, interleaved


def measure(place: Path, quick: bool) -> dict[str, Result]:
    count = 100 if quick else 1_000

    def recovered() -> Result:
        with tempfile.TemporaryDirectory(dir=place) as folder:
            home = Path(folder)
            _crash(count, home / "holdfast.db")
            with Daemon(home) as daemon:  # it listens only when all are back in the queue
                seconds = daemon.ready_s
            return {"ready_s": seconds, "recovered": _recovered(home / "holdfast.db")}

    def nothing() -> Result:
        with tempfile.TemporaryDirectory(dir=place) as folder, Daemon(Path(folder)) as daemon:
            return {"ready_s": daemon.ready_s, "recovered": 0}

    contenders = {f"{count} tasks in flight": recovered, "nothing in flight": nothing}
    results = interleaved(1 if quick else 3, contenders)
    with_tasks, without = results.values()
    with_tasks["recovery_s"] = with_tasks["ready_s"] - without["ready_s"]
    return results


def _crash(count: int, database: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.inflight", str(count), str(database)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=environment())
    with process, process.stdout as output:
        if output.readline() != b"all inside\n":
            raise RuntimeError("the tasks did not get under way")
        process.kill()


def _recovered(database: Path) -> int:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        sql = "SELECT count(DISTINCT task) FROM event WHERE kind = 'Recovered'"
        return connection.execute(sql).fetchone()[0]
