"""`python -m holdfast.assembly.conformance --home DIR`: a daemon for the conformance suite of MCP.

The same daemon, door and gate as ever; only what it offers over MCP are the suite's fixtures. It
takes a home of its own, which nobody has used yet, so that it is never a user's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from holdfast.config import load
from holdfast.core.error import Refused
from holdfast.testing.mcp_profile import Profile

from .command import surroundings, telling
from .daemon import serve_command
from .home import DATABASE


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the fixtures until told to stop."""
    parser = argparse.ArgumentParser(prog="holdfast.assembly.conformance")
    parser.add_argument("--home", type=Path, required=True)
    given = parser.parse_args(arguments)
    return telling(lambda: _serve(given.home))


def _serve(home: Path) -> int:
    if (home / DATABASE).exists():
        raise Refused(f"{home} is in use: give a new folder", code="home_in_use")
    environment = surroundings(home)
    config = load(environment=environment)
    return serve_command(config, environment, foreground=True, offer=Profile)


if __name__ == "__main__":
    sys.exit(main())
