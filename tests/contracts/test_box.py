"""Every box keeps every promise; the real one also as a user without privileges."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from holdfast.adapters.boxes.bubblewrap import BubblewrapBoxes
from holdfast.testing.box_contract import CLAUSES, Clause
from holdfast.testing.fake_box import FakeBoxes

_NOBODY = 65_531
_AS_NOBODY = """
import os, sys
from pathlib import Path
sys.path += sys.argv[3:]
import anyio
import anyio._backends._asyncio
from holdfast.adapters.boxes.bubblewrap import BubblewrapBoxes
from holdfast.testing.box_contract import CLAUSES

place, user = Path(sys.argv[1]), int(sys.argv[2])
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)

async def main():
    box = BubblewrapBoxes()
    for number, clause in enumerate(CLAUSES):
        workspace = place / str(number) / "workspace"
        workspace.mkdir(parents=True)
        await clause(box, workspace)
        print(clause.__name__)
    walls = (await box.probe()).walls
    print(*(f"{name}={strength}" for name, strength in walls.items()), sep="\\n")
    await box.close()

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

    async def hold() -> None:
        boxes = BubblewrapBoxes() if kind == "bubblewrap" else FakeBoxes()
        try:
            await clause(boxes, workspace)
        finally:
            await boxes.close()

    anyio.run(hold)


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


def _packages() -> list[str]:
    return [str(Path(__file__).parents[2] / "src"), sysconfig.get_path("purelib")]


def test_the_box_keeps_its_promises_for_a_user_without_privileges(place: Path):
    if os.geteuid() == 0:
        shutil.chown(place, _NOBODY, _NOBODY)
    done = subprocess.run(
        [_python(), "-I", "-c", _AS_NOBODY, str(place), str(_NOBODY), *_packages()],
        env={**os.environ, "TMPDIR": str(place)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.stderr == ""
    said = done.stdout.splitlines()
    assert said[: len(CLAUSES)] == [clause.__name__ for clause in CLAUSES]
    assert "processes=enforced" in said
    soft = {"memory", "cpu", "disk", "inodes"}
    assert {line.partition("=")[0] for line in said if line.endswith("=soft")} <= soft
    assert [line for line in said if line.endswith("=none")] == ["kernel boundary=none"]
