"""`holdfast box test`: a program of its own, as the suite is not loaded by the daemon."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from holdfast.adapters.egress.gateway import Gateway
from holdfast.config import load
from holdfast.core.error import NotAllowed
from holdfast.doors.cli.out import plain
from holdfast.engine.clock import SystemClock
from holdfast.ports.egress import Egress
from holdfast.testing.escape.command import box_test
from holdfast.testing.escape.means import Means, read_beneath, run_exec
from holdfast.testing.escape.world import World
from holdfast.testing.fake_visits import FakeVisits

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
    means = Means(shell=run_exec, plain=plain, read=read_beneath, gate=gate_over)
    return box_test(words, kinds=box_kinds(config, environment), usual=config.box.kind, means=means)


def gate_over(world: World) -> Egress:
    """The gateway as the daemon has it, but what it reaches is a world of the suite's."""
    return Gateway(
        secret=_no_secret,
        log=FakeVisits(),
        clock=SystemClock(),
        resolver=world.resolve,
        dial=world.dial,
    )


async def _no_secret(name: str, _use: object) -> str:
    raise NotAllowed(f"the suite has no secret {name}")


if __name__ == "__main__":
    sys.exit(main())
