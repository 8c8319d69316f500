"""Every box keeps every promise; the real one also as a user without privileges."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from holdfast.adapters.boxes.bubblewrap import BubblewrapBox
from holdfast.testing.box_contract import CLAUSES, Clause
from holdfast.testing.fake_box import FakeBox

_NOBODY = 65_531
_AS_NOBODY = """
import os, sys
from pathlib import Path
import anyio
import anyio._backends._asyncio
from holdfast.adapters.boxes.bubblewrap import BubblewrapBox
from holdfast.testing.box_contract import CLAUSES

place, user = Path(sys.argv[1]), int(sys.argv[2])
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)

async def main():
    box = BubblewrapBox()
    for number, clause in enumerate(CLAUSES):
        workspace = place / str(number) / "workspace"
        workspace.mkdir(parents=True)
        await clause(box, workspace)
        print(clause.__name__)
    walls = (await box.probe()).walls
    print(*(f"{name}={strength}" for name, strength in walls.items()), sep="\\n")

anyio.run(main)
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder whose parents anybody may pass."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        yield folder


@pytest.mark.parametrize("kind", ["bubblewrap", "fake"])
@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
def test_a_box_keeps_its_promise(clause: Clause, kind: str, place: Path):
    workspace = place / "workspace"
    workspace.mkdir()
    anyio.run(clause, BubblewrapBox() if kind == "bubblewrap" else FakeBox(), workspace)


def test_the_box_keeps_its_promises_for_a_user_without_privileges(place: Path):
    if os.geteuid() == 0:
        shutil.chown(place, _NOBODY, _NOBODY)
    source = str(Path(__file__).parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, str(place), str(_NOBODY)],
        env={**os.environ, "PYTHONPATH": source, "TMPDIR": str(place)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.stderr == ""
    said = done.stdout.splitlines()
    assert said[: len(CLAUSES)] == [clause.__name__ for clause in CLAUSES]
    assert "processes=enforced" in said
    assert [line for line in said if line.endswith("=none")] == ["disk=none"]
