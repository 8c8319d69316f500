"""From the command that serves to the first answered request, in a new home and in a used one."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.daemon import Daemon
from benchmarks.measure import Result, interleaved


def measure(place: Path, quick: bool) -> dict[str, Result]:
    used = place / "used"

    def new_home() -> Result:
        with tempfile.TemporaryDirectory(dir=place) as home, Daemon(Path(home)) as daemon:
            return {"ready_s": daemon.ready_s}

    def used_home() -> Result:
        with Daemon(used) as daemon:
            return {"ready_s": daemon.ready_s}

    used_home()  # makes it
    contenders = {"serve, new home": new_home, "serve, used home": used_home}
    return interleaved(2 if quick else 5, contenders)
