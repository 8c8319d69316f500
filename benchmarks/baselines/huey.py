"""huey on SQLite with every commit synced: a job queue. A job that a crash interrupts is lost."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from huey import SqliteHuey

from benchmarks.measure import Result, Watch, report, round_arguments


def tasks(lanes: int, count: int, path: Path) -> Result:
    """One job does what our task does, model, tool, model, but records none of these steps."""
    huey = SqliteHuey(filename=str(path), fsync=True, results=True)
    done, left = threading.Event(), [count]
    lock = threading.Lock()

    @huey.task()
    def whole_task(prompt: str) -> str:
        kept = f"kept {prompt}"
        with lock:
            left[0] -= 1
            if not left[0]:
                done.set()
        return f"It is done: {kept}."

    consumer = huey.create_consumer(
        workers=lanes, worker_type="thread", initial_delay=0.01, max_delay=0.01
    )
    consumer.start()
    watch = Watch()
    for _ in range(count):
        whole_task("remember this")
    done.wait(300)
    result = watch.per(count)
    consumer.stop(graceful=True)
    return result


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    wanted = round_arguments()
    report(tasks(wanted.lanes, wanted.count, wanted.folder / "huey.db"))
