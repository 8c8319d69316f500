"""A task cannot widen what it may do: not by files, not by links, not by any tool of the house."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.blobs.memory import MemoryBlobs
from holdfast.adapters.stores.memory import MemoryJournal
from holdfast.adapters.tools.builtin import builtin_tools
from holdfast.adapters.tools.output import Spool
from holdfast.core.error import Invalid
from holdfast.core.gate.policy import Leave
from holdfast.core.message import Returned, ToolAnswered
from holdfast.core.task import Request, Status
from holdfast.engine.clock import SystemClock
from holdfast.runtime import tasks
from holdfast.testing.engine import calls, engine
from holdfast.testing.fake_box import FakeBoxes
from tests.doors.house import street

pytestmark = pytest.mark.anyio

WIDER = '[[rule]]\nsay = "allow"\n'


async def outcomes(workspace: Path, *proposed: tuple[str, dict[str, Any]]) -> list[Any]:
    """What came of these calls where everything is allowed."""
    spool = Spool(workspace.parent / "spool", str)
    tools = builtin_tools(boxes=FakeBoxes(), blobs=MemoryBlobs(), clock=SystemClock(), spool=spool)
    async with engine(MemoryJournal(), [calls(*proposed), "done"], *tools.all()) as house:
        task_id = await house.submit(workspace=str(workspace), leave=Leave(preset="open"))
        task = await house.until(task_id, Status.SUCCEEDED)
    return [entry.outcome for entry in task.transcript if isinstance(entry, ToolAnswered)]


@pytest.mark.parametrize("name", ["policy.toml", "config.toml"])
async def test_no_tool_for_files_reaches_the_rules(tmp_path: Path, name: str):
    workspace, home = tmp_path / "work", tmp_path / "work" / ".holdfast"
    home.mkdir(parents=True)
    rules = home / name
    rules.write_text("old = 1\n")
    (workspace / "link").symlink_to(".holdfast")
    (workspace / "alias").symlink_to(f".holdfast/{name}")
    (workspace / "mine").write_text(WIDER)
    places = (f".holdfast/{name}", f"link/{name}", "alias", f"x/../.holdfast/{name}", str(rules))
    attempts: list[tuple[str, dict[str, Any]]] = []
    for place in places:
        attempts += [
            ("write", {"path": place, "content": WIDER}),
            ("append", {"path": place, "content": WIDER}),
            ("edit", {"path": place, "old": "old", "new": "new"}),
            ("move", {"from": "mine", "to": place}),
        ]
    for attempt in attempts:
        await outcomes(workspace, attempt)
        assert rules.read_text() == "old = 1\n", attempt
    found = await outcomes(workspace, ("delete", {"path": ".holdfast"}))
    assert not any(isinstance(one, Returned) for one in found)
    assert rules.read_text() == "old = 1\n"


async def test_a_workspace_never_holds_the_rules(tmp_path: Path):
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    (work / "deep").mkdir(parents=True)
    async with street(home) as here:
        house = here.house
        house.in_force.files = (work / "deep" / "holdfast.toml",)
        for folder in (work, work / "deep", tmp_path):
            with pytest.raises(Invalid, match=r"holds the rules|own home"):
                await tasks.submit(house, Request(prompt="x", workspace=str(folder)))
        (home / "policy.toml").symlink_to(work / "mine.toml")
        house.in_force.files = (tmp_path / "elsewhere.toml", home / "policy.toml")
        with pytest.raises(Invalid, match="holds the rules"):
            await tasks.submit(house, Request(prompt="x", workspace=str(work)))
        (home / "policy.toml").unlink()
        await tasks.submit(house, Request(prompt="x", workspace=str(work)))


async def test_no_tool_that_a_model_is_offered_grants_anything(tmp_path: Path):
    """Widening is for people: through a door, with a token, or as the answer to a question."""
    async with street(tmp_path) as here:
        names = [tool.spec.name for tool in here.house.tools.all()]
        assert not [name for name in names if "policy" in name or "grant" in name]
        ways = {
            "/api/v1/policy/leases": {"rule": "exec"},
            "/api/v1/policy/explain": {"tool": "pay"},
        }
        for target, body in ways.items():
            nobody = await here.tcp.post(target, json=body, headers={"Authorization": "Bearer no"})
            assert nobody.status_code == 401


async def test_a_model_cannot_raise_its_own_budget(tmp_path: Path):
    """The tool with which the house does that is offered to no model, and refused to each."""
    proposed = calls(("top_up", {"budget": "task", "tokens": 10**9}))
    async with engine(MemoryJournal(), [proposed, "done"]) as house:
        task_id = await house.submit(leave=Leave(preset="open", allow=("*",)))
        task = await house.until(task_id, Status.SUCCEEDED)
    (found,) = [entry.outcome for entry in task.transcript if isinstance(entry, ToolAnswered)]
    assert not isinstance(found, Returned)
    assert task.raised is None
