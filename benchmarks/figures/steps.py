"""Durable steps: decided, recorded, synced, one after another in each of 1 or 64 tasks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks.measure import Result, interleaved, one_round, sync

_COUNTS = {
    ("Holdfast", "benchmarks.ours"): {1: 2_000, 64: 25_600},
    ("one commit per step", "benchmarks.baselines.naive"): {1: 1_000, 64: 6_400},
    ("DBOS, SQLite", "benchmarks.baselines.dbos"): {1: 210, 64: 1_344},
}


def measure(place: Path, quick: bool) -> dict[str, Result]:
    contenders = {
        f"{name}, {lanes}": partial(
            one_round,
            module,
            "steps",
            lanes,
            max(lanes, counts[lanes] // (10 if quick else 1)),
            place,
        )
        for lanes in (1, 64)
        for (name, module), counts in _COUNTS.items()
    }
    return interleaved(1 if quick else 3, {"fsync alone": partial(sync, place), **contenders})
