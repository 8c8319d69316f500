"""The door for OpenAI's clients: 1, 64, 256 at once, and 200 open streams, beside a bare echo."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.calls import stage
from benchmarks.calls.stage import Answerer
from benchmarks.measure import Result, interleaved

_SHOWN = ("per_s", "p50_ms", "p99_ms", "cpu_ms")
_LANES = (1, 64, 256)
_STREAMS, _PIECES = 200, 10


def measure(place: Path, quick: bool) -> dict[str, Result]:
    seconds, rounds = (2.0, 1) if quick else (6.0, 3)
    with ExitStack() as stack:
        port, pid = stack.enter_context(stage.provider())
        asked, _ = stack.enter_context(stage.holdfast(place / "doors", port))
        there = {
            "the provider alone": stage.straight(port, pid),
            "a bare Starlette echo": stack.enter_context(stage.echo()),
            "Holdfast, asked straight": asked,
            "Holdfast, a plain model": stage.as_openai(asked, "lab/bench"),
            "Holdfast, an agent": stage.as_openai(asked, "agent:default"),
        }
        beside = stack.enter_context(stage.lite(place / "litellm", port, install=False))
        if isinstance(beside, Answerer):
            there["LiteLLM's proxy"] = beside
        for who in there.values():  # warm: imports, pools, caches
            _load(who, False, 8, 1.0)
        contenders = {
            f"{name}, {'streamed' if streamed else 'whole'}, {lanes}": partial(
                _load, who, streamed, lanes, seconds
            )
            for streamed, lanes in (*((False, lanes) for lanes in _LANES), (True, 64))
            for name, who in there.items()
        }
        rows = _compared(interleaved(rounds, contenders))
    return rows | _open_streams(place, seconds)


def _open_streams(place: Path, seconds: float) -> dict[str, Result]:
    """All at once, each with a piece every tenth of a second; how late the last one ends."""
    pieces = int(seconds * _PIECES)
    with (
        stage.provider(pieces=pieces, gap=1 / _PIECES) as (port, _),
        stage.holdfast(place / "streams", port) as (asked, _),
    ):
        who = replace(stage.as_openai(asked, "lab/bench"), must=("", "[DONE]"))
        who.load(streamed=True, lanes=8, seconds=0.1)
        told = who.load(streamed=True, lanes=_STREAMS, seconds=0.5)
    wall = told["wall_s"]
    row = {
        "streams": told["count"],
        "late_s": wall - seconds,
        "cpu_percent": told["cpu_ms"] * told["count"] / wall / 10,
    }
    return {"Holdfast, a plain model, 200 open streams": row}


def _load(who: Answerer, streamed: bool, lanes: int, seconds: float) -> Result:
    told = who.load(streamed=streamed, lanes=lanes, seconds=seconds)
    return {key: told[key] for key in _SHOWN}


def _compared(rows: dict[str, Result]) -> dict[str, Result]:
    for name, row in rows.items():
        alone = rows["the provider alone, " + ", ".join(name.split(", ")[-2:])]
        if row is not alone:
            row["added_p50_ms"] = row["p50_ms"] - alone["p50_ms"]
            row["added_p99_ms"] = row["p99_ms"] - alone["p99_ms"]
    return rows
