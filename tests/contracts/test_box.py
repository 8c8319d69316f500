"""Every box keeps every promise; the real one also as a user without privileges."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from holdfast.adapters.boxes.bubblewrap import BubblewrapBoxes
from holdfast.testing.box_contract import CLAUSES, Clause
from holdfast.testing.fake_box import FakeBoxes
from tests import unprivileged

_IMPORTS = """
from holdfast.adapters.boxes.bubblewrap import BubblewrapBoxes
from holdfast.testing.box_contract import CLAUSES
"""
_AS_USER = """
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


def test_the_box_keeps_its_promises_for_a_user_without_privileges(place: Path):
    done = unprivileged.run(place, _IMPORTS, _AS_USER, seconds=50)
    assert done.stderr == ""
    said = done.stdout.splitlines()
    assert said[: len(CLAUSES)] == [clause.__name__ for clause in CLAUSES]
    assert "processes=enforced" in said
    soft = {"memory", "cpu", "disk", "inodes"}
    assert {line.partition("=")[0] for line in said if line.endswith("=soft")} <= soft
    assert [line for line in said if line.endswith("=none")] == ["kernel boundary=none"]
