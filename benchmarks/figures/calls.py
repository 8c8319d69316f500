"""Model calls: what stands between the asker and the provider, 1 or 64 at once, streamed or not."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from benchmarks.calls.stage import Answerer, Library, everybody
from benchmarks.measure import Result, interleaved

_SHOWN = ("per_s", "p50_ms", "p99_ms", "cpu_ms")


def measure(place: Path, quick: bool) -> dict[str, Result]:
    seconds, rounds = (1.0, 1) if quick else (6.0, 3)
    with everybody(place) as there:
        here = {name: who for name, who in there.items() if not isinstance(who, str)}
        for name, why in there.items():
            if isinstance(why, str):
                print(f"  without {name}: {why}", file=sys.stderr, flush=True)
        for who in here.values():  # warm: imports, pools, caches
            _load(who, False, 8, 1.0)
            _load(who, True, 8, 1.0)
        contenders = {
            f"{name}, {_how(streamed)}, {lanes}": partial(_load, who, streamed, lanes, seconds)
            for lanes in (1, 64)
            for streamed in (False, True)
            for name, who in here.items()
            if not (streamed and name == "Holdfast, a task")  # it is always streamed
        }
        return _compared(interleaved(rounds, contenders))


def _load(who: Answerer | Library, streamed: bool, lanes: int, seconds: float) -> Result:
    told = who.load(streamed=streamed, lanes=lanes, seconds=seconds)
    return {key: told[key] for key in _SHOWN}


def _how(streamed: bool) -> str:
    return "streamed" if streamed else "whole"


def _compared(rows: dict[str, Result]) -> dict[str, Result]:
    """With what each adds to the provider's own time; and Holdfast as a multiple of LiteLLM."""
    for name, row in rows.items():
        alone = rows["the provider alone, " + ", ".join(name.split(", ")[-2:])]
        if row is not alone:
            row["added_p50_ms"] = row["p50_ms"] - alone["p50_ms"]
            row["added_p99_ms"] = row["p99_ms"] - alone["p99_ms"]
    for how in ("whole", "streamed"):
        if other := rows.get(f"LiteLLM's proxy, {how}, 64"):
            ours = rows[f"Holdfast, asked straight, {how}, 64"]
            rows[f"Holdfast over LiteLLM, {how}, 64"] = {"times": ours["per_s"] / other["per_s"]}
    return rows
