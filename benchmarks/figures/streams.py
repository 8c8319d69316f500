"""Live streams: 200 replies at once, 20 pieces a second each, through one daemon on one core."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.calls.stage import Answerer, Library, holdfast, provider, straight
from benchmarks.measure import Result, interleaved

_STREAMS, _RATE, _SECONDS = 200, 20, 10


def measure(place: Path, quick: bool) -> dict[str, Result]:
    seconds = 3 if quick else _SECONDS
    with ExitStack() as stack:
        port, pid = stack.enter_context(provider(pieces=_RATE * seconds, gap=1 / _RATE))
        asked, _ = stack.enter_context(holdfast(place / "streams", port))
        contenders = {
            "the provider alone": straight(port, pid),
            "pydantic-ai": Library(port=port),
            "Holdfast, asked straight": asked,
        }
        return interleaved(
            1 if quick else 3,
            {name: partial(_live, who, seconds) for name, who in contenders.items()},
        )


def _live(who: Answerer | Library, seconds: int) -> Result:
    """All begin at once; how much later than it could the last one ends says whether they fit."""
    told = who.load(streamed=True, lanes=_STREAMS, seconds=0.5)
    wall = told["wall_s"]
    return {
        "streams": told["count"],
        "late_s": wall - seconds,
        "cpu_percent": told["cpu_ms"] * told["count"] / wall / 10,
    }
