"""A rule about a path holds however the path is written, and wherever a link leads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.blobs.memory import MemoryBlobs
from holdfast.adapters.stores.memory import MemoryJournal
from holdfast.adapters.tools.builtin import builtin_tools
from holdfast.adapters.tools.output import Spool
from holdfast.core.gate.policy import Leave
from holdfast.core.message import Outcome, Refused, Returned, ToolAnswered
from holdfast.core.task import Status
from holdfast.engine.clock import SystemClock
from holdfast.testing.engine import calls, engine
from holdfast.testing.fake_box import FakeBoxes

pytestmark = pytest.mark.anyio


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    (folder / "secrets").mkdir(parents=True)
    (folder / "secrets" / "key").write_text("the key")
    (folder / "src").mkdir()
    (folder / "src" / "up").symlink_to("..")
    (folder / "link").symlink_to("secrets")
    (folder / "alias").symlink_to("secrets/key")
    return folder


async def outcome(workspace: Path, leave: Leave, tool: str, **arguments: Any) -> Outcome:
    """What came of one call under `leave`, the rest of the policy being silent."""
    clock, spool = SystemClock(), workspace.parent / "spool"
    tools = builtin_tools(
        boxes=FakeBoxes(), blobs=MemoryBlobs(), clock=clock, spool=Spool(spool, str)
    )
    proposed = calls((tool, arguments))
    async with engine(MemoryJournal(), [proposed, "done"], *tools.all()) as house:
        task_id = await house.submit(workspace=str(workspace), leave=leave)
        task = await house.until(task_id, Status.SUCCEEDED)
    (found,) = [entry.outcome for entry in task.transcript if isinstance(entry, ToolAnswered)]
    return found


KEYS = [
    "secrets/key",
    "./secrets/key",
    "secrets/./key",
    "src/../secrets/key",
    "src/up/secrets/key",
    "link/key",
    "alias",
]


@pytest.mark.parametrize("path", KEYS)
async def test_a_denied_file_is_denied_by_every_name_it_has(workspace: Path, path: str) -> None:
    leave = Leave(deny=("*:secrets/**",), preset="open")
    found = await outcome(workspace, leave, "read", path=path)
    assert isinstance(found, Refused), found


async def test_a_denied_file_is_denied_by_its_whole_path(workspace: Path) -> None:
    leave = Leave(deny=("*:secrets/**",), preset="open")
    found = await outcome(workspace, leave, "read", path=f"{workspace}/secrets/key")
    assert isinstance(found, Refused), found


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("move", {"from": "secrets/key", "to": "key"}),
        ("move", {"from": "secrets", "to": "open"}),
        ("move", {"from": "src", "to": "secrets/src"}),
        ("delete", {"path": "secrets", "recursive": True}),
        ("list", {"path": "secrets"}),
        ("list", {"path": "./link/"}),
        ("search", {"pattern": "key", "path": "secrets"}),
        ("glob", {"pattern": "./secrets/*"}),
    ],
)
async def test_what_is_in_a_denied_folder_is_not_reached_through_the_folder(
    workspace: Path, tool: str, arguments: dict[str, Any]
) -> None:
    leave = Leave(deny=("*:secrets/**",), preset="open")
    found = await outcome(workspace, leave, tool, **arguments)
    assert isinstance(found, Refused), found
    assert (workspace / "secrets" / "key").read_text() == "the key"


@pytest.mark.parametrize("path", ["src/../conf", "src/up/conf", "src/./../conf"])
async def test_leave_to_write_below_a_folder_does_not_reach_beside_it(
    workspace: Path, path: str
) -> None:
    leave = Leave(allow=("write:src/*",), preset="read-only")
    found = await outcome(workspace, leave, "write", path=path, content="x")
    assert isinstance(found, Refused), found
    assert not (workspace / "conf").exists()


@pytest.mark.parametrize("path", ["src/conf", "./src/conf", "secrets/../src/conf"])
async def test_leave_to_write_below_a_folder_holds_however_the_path_is_written(
    workspace: Path, path: str
) -> None:
    leave = Leave(allow=("write:src/*",), unattended=True)
    found = await outcome(workspace, leave, "write", path=path, content="x")
    assert isinstance(found, Returned), found


async def test_leave_to_move_out_of_a_folder_does_not_say_where_to(workspace: Path) -> None:
    (workspace / "src" / "a").write_text("a")
    leave = Leave(allow=("move:src/*",), unattended=True, preset="ask")
    found = await outcome(workspace, leave, "move", **{"from": "src/a", "to": "run.sh"})
    assert isinstance(found, Refused), found
    assert not (workspace / "run.sh").exists()


async def test_leave_to_delete_below_a_folder_is_no_leave_to_delete_a_link_into_it(
    workspace: Path,
) -> None:
    leave = Leave(allow=("delete:secrets/*",), unattended=True, preset="ask")
    found = await outcome(workspace, leave, "delete", path="alias")
    assert isinstance(found, Refused), found
    assert (workspace / "alias").is_symlink()


async def test_a_link_that_is_denied_by_its_own_name_is_denied(workspace: Path) -> None:
    leave = Leave(deny=("*:alias",), preset="open")
    found = await outcome(workspace, leave, "delete", path="src/../alias")
    assert isinstance(found, Refused), found
    assert (workspace / "alias").is_symlink()
