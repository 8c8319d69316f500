"""How everything here is measured: wall and CPU time, percentiles, rounds, the disk's own sync."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
Result = dict[str, float]


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def spread(seconds: Sequence[float]) -> Result:
    """p50 and p99 in milliseconds."""
    return {
        "p50_ms": percentile(seconds, 0.50) * 1000,
        "p99_ms": percentile(seconds, 0.99) * 1000,
    }


class Watch:
    """Wall and CPU time from here on, of this process with all its threads."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def per(self, count: int) -> Result:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return {"per_s": count / wall, "cpu_ms": cpu / count * 1000}


def round_arguments() -> argparse.Namespace:
    """What every module that runs one round is called with."""
    parser = argparse.ArgumentParser()
    parser.add_argument("figure", choices=["steps", "tasks"])
    parser.add_argument("lanes", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("folder", type=Path)
    return parser.parse_args()


def report(result: Mapping[str, float]) -> None:
    print(json.dumps(dict(result)), flush=True)


def one_round(module: str, figure: str, lanes: int, count: int, place: Path) -> Result:
    """Run one round of `module` in a process and a folder of its own."""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        command = [sys.executable, "-m", module, figure, str(lanes), str(count), folder]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=ROOT, env=environment()
        )
    if done.returncode:
        raise RuntimeError(f"{module} {figure} {lanes} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def interleaved(rounds: int, contenders: Mapping[str, Callable[[], Result]]) -> dict[str, Result]:
    """Every contender once a round, so that a slow minute of the machine hits all of them."""
    seen: dict[str, list[Result]] = {name: [] for name in contenders}
    for number in range(1, rounds + 1):
        for name, measure in contenders.items():
            print(f"  round {number} of {rounds}: {name}", file=sys.stderr, flush=True)
            seen[name].append(measure())
    return {name: median(results) for name, results in seen.items()}


def median(results: Sequence[Result]) -> Result:
    """The middle of the rounds, figure by figure."""
    return {key: statistics.median(r[key] for r in results) for key in results[0]}


def sync(place: Path, count: int = 200) -> Result:
    """What the disk alone takes: append 4 KiB, fsync, again and again."""
    seconds: list[float] = []
    with tempfile.NamedTemporaryFile(dir=place) as file:
        watch = Watch()
        for _ in range(count):
            start = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            seconds.append(time.perf_counter() - start)
        return {**spread(seconds), **watch.per(count)}


@contextmanager
def workplace(folder: Path | None) -> Iterator[Path]:
    """A folder on a real disk that is gone afterwards. Short: a socket's path is limited."""
    with tempfile.TemporaryDirectory(prefix="hf", dir=folder) as name:
        yield Path(name)


def environment(**more: str) -> dict[str, str]:
    """This checkout's source, no bytecode surprises, nothing of the user's own configuration."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HOLDFAST", "DBOS"))}
    return {**kept, "PYTHONPATH": f"{ROOT / 'src'}", **more}


def machine() -> str:
    return (
        f"{os.cpu_count()}-core virtual machine, {platform.system()}, "
        f"Python {platform.python_version()}"
    )
