"""A command whose standard streams are closed still does its work, or says why not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

WORDS = f"{sys.executable} -m holdfast.doors.cli --version"


def run(line: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "HOLDFAST_HOME": str(tmp_path / "home"),
    }
    return subprocess.run(
        ["sh", "-c", line], env=environment, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_bug(closed: str, tmp_path: Path) -> None:
    done = run(f"{WORDS} {closed}", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert bool(done.stdout) is (">&-" not in closed.replace("2>&-", ""))


def test_an_error_with_its_stream_closed_is_still_an_exit_code(tmp_path: Path) -> None:
    done = run(f"{WORDS} nonsense --and more 2>&- >&-", tmp_path)
    assert done.returncode == 2
