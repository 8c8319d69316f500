"""A command in a box, cold and warm, beside a bare one and Docker's own ways; idle boxes; many."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from benchmarks.measure import Result, spread
from holdfast.adapters.boxes.bubblewrap import BubblewrapBoxes
from holdfast.ports.box import Box, BoxKind, BoxSpec
from holdfast.testing.engines import engine, missing

_MANY = 200
_FEW, _FEWER = 10, 5
_PAUSE = 0.01
_PROGRAM = ["/usr/bin/true"]
_HARDENED = (
    *("run", "--rm", "--pull", "never", "--network", "none", "--read-only", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges", "--user", "65534:65534", "--pids-limit", "256"),
    *("--memory", "2g", "--memory-swap", "2g", "--cpus", "2", "--tmpfs", "/tmp:size=256m"),
    *("--mount", "type=bind,source=/usr,target=/usr,readonly"),
)
_IMAGE = "holdfast-host:latest"

Act = Callable[[], Awaitable[float]]
"""Does it once; how many seconds that took."""
Acts = Mapping[str, Act]


def measure(place: Path, quick: bool) -> dict[str, Result]:
    workspace = place / "workspace"
    workspace.mkdir()
    spec = BoxSpec(workspace=workspace)
    return anyio.run(_measured, spec, 20 if quick else 200, _FEWER if quick else _FEW)


async def _measured(spec: BoxSpec, rounds: int, few: int) -> dict[str, Result]:
    """Commands take turns, with a pause before each as whoever thinks makes one; then what makes a
    box as well: the kernel takes one apart for longer than a command runs. Containers take part in
    the first few rounds alone. Commands without a pause wait for the next first process."""
    kind = BubblewrapBoxes()
    warm = await kind.create(spec)
    await warm.exec(_PROGRAM)
    run: dict[str, Act] = {
        "Holdfast, warm: run": _timed(lambda: warm.exec(_PROGRAM)),
        "subprocess": _timed(lambda: anyio.to_thread.run_sync(_bare)),
    }
    make: dict[str, Act] = {"Holdfast, cold: made and run": _cold(kind, spec)}
    seconds: dict[str, list[float]] = {}
    async with _containers(spec) as (slow_run, slow_make):
        for all_alike, slow in ((run, slow_run), (make, slow_make)):
            for number in range(rounds):
                for name, act in {**all_alike, **(slow if number < few else {})}.items():
                    await anyio.sleep(_PAUSE)
                    seconds.setdefault(name, []).append(await act())
    hurried = "Holdfast, warm: run, one after the other"
    seconds[hurried] = [await run["Holdfast, warm: run"]() for _ in range(rounds)]
    many = await _many(kind, spec)
    await kind.close()
    return {**{name: spread(found) for name, found in seconds.items()}, **many}


@asynccontextmanager
async def _containers(spec: BoxSpec) -> AsyncGenerator[tuple[Acts, Acts]]:
    """The same in containers, by an engine of the benchmark's own: ours, and as Docker does it."""
    if why := missing("docker"):
        print(f"  without containers: {why}", file=sys.stderr, flush=True)
        yield {}, {}
        return
    with engine("docker") as maker:
        kind = maker(spec.workspace.parent / "containers")
        warm = await kind.create(spec)
        await warm.exec(_PROGRAM)
        docker, shown = kind._engine, f"type=bind,source={spec.workspace},target=/workspace"
        fresh = (*_HARDENED, "--mount", shown, _IMAGE, *_PROGRAM)
        try:
            run = {
                "Holdfast, docker box, warm: run": _timed(lambda: warm.exec(_PROGRAM)),
                "docker exec": _timed(lambda: docker.call("exec", warm.name, *_PROGRAM)),
            }
            make = {
                "Holdfast, docker box, cold: made and run": _cold(kind, spec),
                "docker run": _timed(lambda: docker.call(*fresh)),
            }
            yield run, make
        finally:
            await kind.close()


def _timed(act: Callable[[], Awaitable[object]]) -> Act:
    async def timed() -> float:
        began = time.perf_counter()
        await act()
        return time.perf_counter() - began

    return timed


def _cold(kind: BoxKind, spec: BoxSpec) -> Act:
    """Made and run; that it is taken away again does not count."""

    async def cold() -> float:
        began = time.perf_counter()
        box = await kind.create(spec)
        await box.exec(_PROGRAM)
        took = time.perf_counter() - began
        await box.destroy()
        return took

    return cold


def _bare() -> None:
    subprocess.run(_PROGRAM, check=True)


async def _many(kind: BubblewrapBoxes, spec: BoxSpec) -> dict[str, Result]:
    """What each of many idle boxes takes: of its processes, and of the whole machine."""
    before, free = _proportional(), _available()
    boxes: list[Box] = []
    failed = 0
    began = time.perf_counter()
    for _ in range(_MANY):
        box = await kind.create(spec)
        failed += (await box.exec(_PROGRAM)).code != 0
        boxes.append(box)
    each = (_proportional() - before) / _MANY / (1 << 20)
    machine = (free - _available()) / _MANY / (1 << 20)
    async with anyio.create_task_group() as group:
        codes: list[int] = []

        async def run(box: Box) -> None:
            codes.append((await box.exec(["sh", "-c", "echo x >/tmp/x && cat /tmp/x"])).code)

        for box in boxes:
            group.start_soon(run, box)
    took = time.perf_counter() - began
    for box in boxes:
        await box.destroy()
    failed += sum(code != 0 for code in codes)
    return {
        "an idle box": {"each_mib": each, "machine_mib": machine},
        f"{_MANY} boxes at once": {"boxes": len(codes), "failed": failed, "took_s": took},
    }


def _proportional() -> int:
    """Bytes (PSS) of every process below us."""
    total, ahead = 0, [os.getpid()]
    while ahead:
        process = ahead.pop()
        try:
            for task in Path(f"/proc/{process}/task").iterdir():
                ahead += map(int, (task / "children").read_text().split())
            if process != os.getpid():
                for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1]) << 10
        except OSError:
            continue
    return total


def _available() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 0
