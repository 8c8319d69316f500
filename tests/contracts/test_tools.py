"""Every built-in tool keeps every promise of a tool."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from holdfast.adapters.blobs.memory import MemoryBlobs
from holdfast.adapters.tools.builtin import builtin_tools
from holdfast.adapters.tools.lent import LentTool
from holdfast.adapters.tools.output import Spool
from holdfast.core.ids import CallId, TaskId
from holdfast.core.task import Lent
from holdfast.ports.tools import Job
from holdfast.testing.fake_box import FakeBoxes
from holdfast.testing.fake_clock import FakeClock
from holdfast.testing.tool_contract import CLAUSES, Clause, bad_arguments_are_named

CASES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "read": ("read", {"path": "text"}),
    "write": ("write", {"path": "text", "content": "new"}),
    "write a new file": ("write", {"path": "deep/new", "content": "new"}),
    "append": ("append", {"path": "text", "content": "more\n"}),
    "append to a new file": ("append", {"path": "deep/new", "content": "more\n"}),
    "edit by text": ("edit", {"path": "text", "old": "two", "new": "2"}),
    "edit by lines": (
        "edit",
        {"path": "text", "edits": [{"start_line": 1, "end_line": 2, "new": "1\n2\n"}]},
    ),
    "edit by patch": ("edit", {"path": "text", "patch": "@@ -1,2 +1,2 @@\n-one\n+1\n two\n"}),
    "move": ("move", {"from": "text", "to": "deep/text"}),
    "move over another": ("move", {"from": "text", "to": "other", "overwrite": True}),
    "move a folder": ("move", {"from": "folder", "to": "elsewhere/folder"}),
    "delete": ("delete", {"path": "text"}),
    "delete a folder": ("delete", {"path": "folder", "recursive": True}),
    "list": ("list", {"path": ".", "recursive": True}),
    "glob": ("glob", {"pattern": "**/t*"}),
    "search": ("search", {"pattern": "t.o"}),
    "exec": ("exec", {"command": "echo hello"}),
    "time": ("time", {}),
    "wait": ("wait", {"seconds": 3}),
    "ask": ("ask_person", {"question": "Which one?"}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
def test_a_tool_keeps_its_promise(clause: Clause, case: str, tmp_path: Path):
    name, arguments = CASES[case]
    workspace = tmp_path / "workspace"
    (workspace / "folder" / "below").mkdir(parents=True)
    (workspace / "text").write_text("one\ntwo\nthree\n")
    (workspace / "other").write_text("something\n")
    (workspace / "folder" / "below" / "file").write_text("far down\n")
    tools = builtin_tools(
        boxes=FakeBoxes(),
        blobs=MemoryBlobs(),
        clock=FakeClock(),
        spool=Spool(tmp_path / "spool", str),
    )
    tool = tools.get(name)
    assert tool is not None
    job = Job(task=TaskId("task_1"), call=CallId("c1_1"), workspace=workspace)
    anyio.run(clause, tool, arguments, job)


# Of what a call of it may say, its owner checks the types: its schema is not run here.
LENT = [clause for clause in CLAUSES if clause is not bad_arguments_are_named]


@pytest.mark.parametrize("clause", LENT, ids=lambda clause: clause.__name__)
def test_a_tool_that_is_lent_keeps_its_promise(clause: Clause, tmp_path: Path):
    tool = LentTool(
        Lent(name="client_show", schema={"properties": {"city": {}}, "required": ["city"]})
    )
    job = Job(task=TaskId("task_1"), call=CallId("c1_1"), workspace=tmp_path)
    anyio.run(clause, tool, {"city": "Rome"}, job)


def test_every_tool_is_tried():
    tools = builtin_tools(
        boxes=FakeBoxes(), blobs=MemoryBlobs(), clock=FakeClock(), spool=Spool(Path("x"), str)
    )
    assert {tool.spec.name for tool in tools.all()} == {name for name, _ in CASES.values()}
