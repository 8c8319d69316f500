"""DBOS on its own SQLite store, as its documentation sets it up: durable steps, whole workflows.

Workflows are started directly, at most `lanes` at once, not through a DBOS queue: a queue hands
out work once per polling interval (1 s), which would measure the interval.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dbos import DBOS, DBOSConfig

from benchmarks.measure import Result, Watch, report, round_arguments, spread

_STEPS = 42
_seconds: list[float] = []


@DBOS.step()
def step(number: int) -> str:
    return f"kept {number}"


@DBOS.workflow()
def many_steps(count: int) -> int:
    for number in range(count):
        start = time.perf_counter()
        step(number)
        _seconds.append(time.perf_counter() - start)
    return count


@DBOS.step()
def model(turn: int) -> str:
    return "It is done." if turn else "note: remember this"


@DBOS.step()
def tool(text: str) -> str:
    return f"kept {text}"


@DBOS.workflow()
def whole_task(prompt: str) -> str:
    tool(model(0))
    return model(1)


def steps(lanes: int, count: int) -> Result:
    _seconds.clear()

    def lane(share: int) -> None:
        while share > 0:
            DBOS.start_workflow(many_steps, min(share, _STEPS)).get_result()
            share -= _STEPS

    watch = Watch()
    threads = [threading.Thread(target=lane, args=(count // lanes,)) for _ in range(lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {**watch.per(len(_seconds)), **spread(_seconds)}


def tasks(lanes: int, count: int) -> Result:
    watch = Watch()
    with ThreadPoolExecutor(lanes) as pool:
        for _ in pool.map(whole_task, ["Keep a note."] * count):
            pass
    return watch.per(count)


def main(figure: str, lanes: int, count: int, folder: Path) -> None:
    url = f"sqlite:///{folder / 'dbos.db'}"
    config: DBOSConfig = {"name": "benchmark", "system_database_url": url, "log_level": "ERROR"}
    config["run_admin_server"] = False
    DBOS(config=config)
    DBOS.launch()
    logging.disable(logging.CRITICAL)
    measured = {"steps": steps, "tasks": tasks}[figure]
    measured(lanes, max(lanes, count // 10))
    report(measured(lanes, count))
    DBOS.destroy()


if __name__ == "__main__":
    wanted = round_arguments()
    main(wanted.figure, wanted.lanes, wanted.count, wanted.folder)
