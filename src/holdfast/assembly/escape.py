"""`holdfast box test`: a program of its own, as the suite is not loaded by the daemon."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from holdfast.config import load
from holdfast.doors.cli.out import plain
from holdfast.testing.escape.command import box_test
from holdfast.testing.escape.means import Means, read_beneath, run_exec

from .boxes import box_kinds
from .command import surroundings, telling


def main(arguments: Sequence[str] | None = None) -> int:
    """Hold a kind of box of this configuration against the suite."""
    parser = argparse.ArgumentParser(prog="holdfast.assembly.escape", add_help=False)
    parser.add_argument("--home", type=Path)
    given, words = parser.parse_known_args(arguments)
    return telling(lambda: _test(given.home, words))


def _test(home: Path | None, words: Sequence[str]) -> int:
    environment = surroundings(home)
    config = load(environment=environment)
    means = Means(shell=run_exec, plain=plain, read=read_beneath)
    return box_test(words, kinds=box_kinds(config, environment), usual=config.box.kind, means=means)


if __name__ == "__main__":
    sys.exit(main())
