"""The obvious store: the standard library's sqlite3, WAL, FULL, one commit for every step."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from pathlib import Path

from benchmarks.measure import Result, Watch, report, round_arguments, spread

_SCHEMA = """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE task (id TEXT PRIMARY KEY, version INT, state TEXT) WITHOUT ROWID;
    CREATE TABLE event (
      task TEXT, seq INT, body TEXT, link TEXT, PRIMARY KEY (task, seq)) WITHOUT ROWID;"""
_STEPS = 42


class Store:
    """One connection, one lock, one transaction a step: an event and the task's row."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.executescript(_SCHEMA)
        self._lock = threading.Lock()

    def append(self, task: str, seq: int, previous: str) -> str:
        body = json.dumps({"kind": "Step", "seq": seq, "text": "kept"})
        link = hashlib.sha256(f"{previous}{body}".encode()).hexdigest()
        state = json.dumps({"id": task, "status": "RUNNING", "steps": seq})
        with self._lock:
            run = self._connection.execute
            run("BEGIN IMMEDIATE")
            run("INSERT INTO event VALUES (?, ?, ?, ?)", (task, seq, body, link))
            run(
                "INSERT INTO task VALUES (?1, ?2, ?3)"
                " ON CONFLICT (id) DO UPDATE SET version = ?2, state = ?3",
                (task, seq, state),
            )
            run("COMMIT")
        return link


def steps(store: Store, lanes: int, count: int) -> Result:
    seconds: list[float] = []

    def lane(name: int) -> None:
        link = ""
        for index in range(count // lanes):
            start = time.perf_counter()
            number, seq = divmod(index, _STEPS)
            link = store.append(f"{time.time_ns()}-{name}-{number}", seq, link)
            seconds.append(time.perf_counter() - start)

    threads = [threading.Thread(target=lane, args=(name,)) for name in range(lanes)]
    watch = Watch()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {**watch.per(len(seconds)), **spread(seconds)}


if __name__ == "__main__":
    wanted = round_arguments()
    store = Store(wanted.folder / "naive.db")
    steps(store, wanted.lanes, max(wanted.lanes, wanted.count // 10))
    report(steps(store, wanted.lanes, wanted.count))
