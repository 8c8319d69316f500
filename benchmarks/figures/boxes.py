"""A command in a box, cold and warm, beside a bare one; idle boxes; 200 of them at once."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from benchmarks.measure import Result, spread
from holdfast.adapters.boxes.bubblewrap import BubblewrapBoxes
from holdfast.ports.box import Box, BoxSpec

_MANY = 200
_PROGRAM = ["/usr/bin/true"]


def measure(place: Path, quick: bool) -> dict[str, Result]:
    workspace = place / "workspace"
    workspace.mkdir()
    return anyio.run(_measured, BoxSpec(workspace=workspace), 20 if quick else 200)


async def _measured(spec: BoxSpec, rounds: int) -> dict[str, Result]:
    kind = BubblewrapBoxes()
    warm = await kind.create(spec)
    await warm.exec(_PROGRAM)
    seconds: dict[str, list[float]] = {}

    async def cold() -> None:
        box = await kind.create(spec)
        await box.exec(_PROGRAM)
        seconds.setdefault("Holdfast, cold: made and run", []).append(time.perf_counter() - began)
        await box.destroy()

    contenders: dict[str, Callable[[], Awaitable[object]]] = {
        "Holdfast, warm: run": lambda: warm.exec(_PROGRAM),
        "subprocess": lambda: anyio.to_thread.run_sync(_bare),
    }
    for _ in range(rounds):
        for name, act in contenders.items():
            began = time.perf_counter()
            await act()
            seconds.setdefault(name, []).append(time.perf_counter() - began)
        began = time.perf_counter()
        await cold()
    many = await _many(kind, spec)
    await kind.close()
    return {**{name: spread(found) for name, found in seconds.items()}, **many}


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
