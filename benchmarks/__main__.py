"""`python -m benchmarks [figure ...] [--quick] [--json FILE]`: measure, print the table."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from pathlib import Path

from benchmarks.figures import NAMES
from benchmarks.measure import machine, sync, workplace
from benchmarks.table import table


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="figure", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="one short round: does it run at all?")
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; else the system's")
    wanted = parser.parse_args()
    if unknown := set(wanted.figures) - set(NAMES):
        parser.error(f"no such figure: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if wanted.json:  # before the minutes of measuring, not after
        wanted.json.parent.mkdir(parents=True, exist_ok=True)
    run: dict[str, object] = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": machine(),
        "quick": wanted.quick,
        "load_before": os.getloadavg()[0],
    }
    figures: dict[str, object] = {}
    with workplace(wanted.folder) as place:
        run["fsync"] = sync(place)
        for name in wanted.figures or NAMES:
            print(name, file=sys.stderr, flush=True)
            figure = importlib.import_module(f"benchmarks.figures.{name}")
            figures[name] = figure.measure(place, wanted.quick)
    run |= {"load_after": os.getloadavg()[0], "figures": figures}
    if wanted.json:
        wanted.json.write_text(json.dumps(run, indent=2) + "\n")
    print(table(run))
    return 0


if __name__ == "__main__":
    sys.exit(main())
