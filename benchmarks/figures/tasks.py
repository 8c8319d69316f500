"""Whole tasks: submitted, claimed, model, tool, model, done; 1 or 64 at once."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks.measure import Result, interleaved, one_round, sync

_COUNTS = {
    ("Holdfast", "benchmarks.ours"): {1: 300, 64: 3_200},
    ("DBOS, SQLite", "benchmarks.baselines.dbos"): {1: 50, 64: 320},
    ("huey, SQLite", "benchmarks.baselines.huey"): {1: 500, 64: 2_000},
}


def measure(place: Path, quick: bool) -> dict[str, Result]:
    contenders = {
        f"{name}, {lanes}": partial(
            one_round,
            module,
            "tasks",
            lanes,
            max(lanes, counts[lanes] // (10 if quick else 1)),
            place,
        )
        for lanes in (1, 64)
        for (name, module), counts in _COUNTS.items()
    }
    return interleaved(1 if quick else 3, {"fsync alone": partial(sync, place), **contenders})
