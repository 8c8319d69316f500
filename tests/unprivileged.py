"""A program run as a user without privileges, by a Python and packages that anybody may read."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

USER = 65_531
_FIRST = """
import os, sys
from pathlib import Path
place, user, packages = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
sys.path[:0] = packages
import anyio
import anyio._backends._asyncio
"""
_THEN = """
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
"""


def run(
    place: Path, imports: str, program: str, *, seconds: float
) -> subprocess.CompletedProcess[str]:
    """Run `program`, told `place`, which becomes that user's; `imports` come before it."""
    if os.geteuid() == 0:
        shutil.chown(place, USER, USER)
    source, libraries = str(Path(__file__).parents[1] / "src"), sysconfig.get_path("purelib")
    words = ("-I", "-c", f"{_FIRST}{imports}{_THEN}{program}")
    return subprocess.run(
        [_python(), *words, str(place), str(USER), source, libraries],
        env={**os.environ, "TMPDIR": str(place)},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


@functools.cache
def _python() -> str:
    """Ours may lie where only we may look; the system's will do if it is as new."""
    there = subprocess.run(
        ["/usr/bin/python3", "-c", "import sys; print(*sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=False,
    )
    same = there.stdout.split() == [str(part) for part in sys.version_info[:2]]
    return "/usr/bin/python3" if same else sys.executable
