"""Which boxes there are, through the doors."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.ports.box import BoxHealth, BoxStats, Lodger
from holdfast.testing.fake_box import FakeBoxes
from tests.doors.cli_stage import Stage, staged
from tests.doors.house import Plan, street

LODGER = Lodger(
    id="b1",
    kind="docker",
    owner="task_0123456789",
    agent="ann",
    workspace="/work",
    state="idle",
    idle_seconds=7.2,
    stats=BoxStats(memory=3 << 20, health=BoxHealth(state="healthy", last_check=5)),
)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as found:
        yield found


@pytest.mark.anyio
async def test_boxes_are_listed_with_what_they_use_and_how_they_are(tmp_path: Path):
    """Part of row OL-59."""
    boxes = FakeBoxes()
    boxes.lodgers = (LODGER,)
    async with street(tmp_path, plan=Plan(boxes=boxes)) as here:
        (row,) = (await here.tcp.get("/api/v1/boxes")).json()["boxes"]
    assert (row["agent"], row["state"], row["stats"]["memory"]) == ("ann", "idle", 3 << 20)
    health = row["stats"]["health"]
    assert (health["state"], health["failures"], health["last_check"]) == ("healthy", 0, 5)


def test_the_command_shows_what_is_known_of_each(stage: Stage):
    stats = {"memory": 3 << 20, "processes": -1, "cpu_seconds": 0.5, "health": {"state": "failed"}}
    box = {"id": "b1", "kind": "docker", "owner": "task_0123456789", "agent": "\x1b[2Jann"}
    box |= {"workspace": "/work", "state": "idle", "idle_seconds": 7.2, "stats": stats}
    stage.daemon.canned["/api/v1/boxes"] = {"boxes": [box]}
    told = stage.run("box", "list")
    assert "\x1b" not in told.out
    shown = told.out.splitlines()[1].split()
    assert shown[2] == "23456789"
    assert shown[4:] == ["idle", "7", "s", "3", "MiB", "-", "0.5", "s", "failed", "/work"]
    assert stage.run("box", "list", "--json").out.strip().startswith("{")
    stage.daemon.canned["/api/v1/boxes"] = {"boxes": []}
    assert "no box now" in stage.run("box").err
