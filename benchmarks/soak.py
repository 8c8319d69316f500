"""A daemon under load at its doors for minutes: does its memory stay flat, do refused callers hurt?

    python -m benchmarks.soak [MINUTES]

For ten minutes (default) 16 callers ask plain models and an agent by turns, whole and streamed, and
all the while 16 others send what is refused: a model that there is not, a body that is no JSON, a
key that is none. Every window of ten seconds the memory of the daemon is read (its proportional
share, and its own pages). First the good callers are measured alone and beside the refused ones.
The last line is JSON; the exit is 1 if memory grew by more than `ALLOWED` in the second half.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.calls import stage
from benchmarks.calls.stage import Answerer
from benchmarks.measure import ROOT, environment, report

LANES, WINDOW = 16, 10.0
ALLOWED = 0.05
"""How much more memory the last tenth of a run may have than its middle, as a share."""

REFUSED = [
    ("POST", "/v1/chat/completions", {"model": "nobody/nothing", "messages": []}),
    ("POST", "/v1/chat/completions", {"model": "lab/bench", "messages": "no list"}),
    ("POST", "/v1/responses", {"model": "agent:nobody", "input": "ping"}),
    ("GET", "/v1/responses/resp_of_nobody", None),
]


def memory(pid: int) -> dict[str, float]:
    """MiB of a process: `rss`, and `own`, what no other process shares."""
    rows = dict(
        line.split(":", 1)
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    )
    sizes = {name: int(text.split()[0]) / 1024 for name, text in rows.items()}
    return {"rss": sizes["Rss"], "own": sizes["Private_Clean"] + sizes["Private_Dirty"]}


@contextmanager
def refused(who: Answerer, seconds: float) -> Generator[None]:
    """Callers beside, in a process of their own, whose every request is refused."""
    plan = {
        "port": who.port,
        "steps": REFUSED,
        "headers": who.headers,
        "lanes": LANES,
        "seconds": seconds,
    }
    command = stage.beside(sys.executable, "-m", "benchmarks.calls.refused", json.dumps(plan))
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=sys.stderr) as process:
        try:
            yield
        finally:
            process.terminate()


def main(arguments: Sequence[str]) -> int:
    minutes = float(arguments[0]) if arguments else 10.0
    with (
        TemporaryDirectory() as place,
        stage.provider() as (port, _),
        stage.holdfast(Path(place) / "home", port) as (asked, _),
    ):
        plain, agent = (stage.as_openai(asked, name) for name in ("lab/bench", "agent:default"))
        told = {"alone": _load(plain, WINDOW)}
        with refused(asked, WINDOW + 5):
            told["beside the refused"] = _load(plain, WINDOW)
        seen, count = _soaked(asked, (plain, agent), minutes)
    report(told["alone"])
    report(told["beside the refused"])
    half, tenth = seen[len(seen) // 2 :], seen[-max(1, len(seen) // 10) :]
    middle = sum(one["own"] for one in half[: len(tenth)]) / len(tenth)
    last = sum(one["own"] for one in tenth) / len(tenth)
    grown = last / middle - 1
    result = {
        "minutes": minutes,
        "requests": count,
        "own_mib_first": seen[0]["own"],
        "own_mib_middle": middle,
        "own_mib_last": last,
        "rss_mib_last": tenth[-1]["rss"],
        "grown": grown,
        "p99_alone_ms": told["alone"]["p99_ms"],
        "p99_beside_refused_ms": told["beside the refused"]["p99_ms"],
    }
    report(result)
    return 1 if grown > ALLOWED else 0


def _load(who: Answerer, seconds: float) -> dict[str, float]:
    return who.load(streamed=False, lanes=LANES, seconds=seconds)


def _soaked(
    asked: Answerer, contenders: Sequence[Answerer], minutes: float
) -> tuple[list[dict[str, float]], int]:
    seen, count, began = [memory(asked.pid)], 0, time.monotonic()
    turns = [(who, streamed) for who in contenders for streamed in (False, True)]
    with refused(asked, minutes * 60 + 60):
        while time.monotonic() - began < minutes * 60:
            who, streamed = turns[len(seen) % len(turns)]
            must = ("", "[DONE]") if streamed else who.must
            told = replace(who, must=must).load(streamed=streamed, lanes=LANES, seconds=WINDOW)
            count += round(told["count"])
            seen.append(memory(asked.pid))
            left = f"{(time.monotonic() - began) / 60:.1f} min"
            print(f"  {left}: {seen[-1]['own']:.1f} MiB own", file=sys.stderr, flush=True)
    return seen, count


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
