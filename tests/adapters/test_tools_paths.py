"""No path leads a tool out of its workspace, and some inside are not for tools to change."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.blobs.memory import MemoryBlobs
from holdfast.adapters.tools.beneath import Denied, Folder, open_beneath, open_stepwise
from holdfast.adapters.tools.builtin import builtin_tools
from holdfast.adapters.tools.output import Spool
from holdfast.core.ids import CallId, TaskId
from holdfast.core.message import Failed, Returned
from holdfast.ports.tools import Job
from holdfast.testing.fake_box import FakeBoxes
from holdfast.testing.fake_clock import FakeClock

pytestmark = pytest.mark.anyio

OUTSIDE = [
    "..",
    "../notes",
    "../data2/notes",
    "a/../../notes",
    "/etc/passwd",
    "/",
    "//etc/passwd",
    "C:notes",
    "C:\\notes",
    "\\\\host\\share",
    "~/notes",
    "~",
    "",
    "a\0b",
    "\ud800",
    "out/notes",
    "out",
    "link-to-file",
    "chain/notes",
    "absolute-out/passwd",
]
TOOLS: list[Callable[[str], tuple[str, dict[str, Any]]]] = [
    lambda path: ("read", {"path": path}),
    lambda path: ("write", {"path": path, "content": "x"}),
    lambda path: ("append", {"path": path, "content": "x"}),
    lambda path: ("edit", {"path": path, "old": "a", "new": "b"}),
    lambda path: ("list", {"path": path}),
    lambda path: ("search", {"pattern": "x", "path": path}),
    lambda path: ("exec", {"command": "true", "cwd": path}),
    lambda path: ("move", {"from": f"{path}/notes", "to": "here"}),
    lambda path: ("move", {"from": "a/file", "to": f"{path}/notes"}),
    lambda path: ("delete", {"path": f"{path}/notes"}),
    lambda path: ("glob", {"pattern": f"{path}/*"}),
]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "file").write_text("inside")
    (tmp_path / "data2").mkdir()
    for place in (tmp_path, tmp_path / "data2"):
        (place / "notes").write_text("a secret")
    (folder / "out").symlink_to(tmp_path / "data2")
    (folder / "link-to-file").symlink_to("../notes")
    (folder / "chain").symlink_to("out")
    (folder / "absolute-out").symlink_to("/etc")
    (folder / "in").symlink_to("a")
    (folder / "absolute-in").symlink_to(folder / "a")
    return folder


async def done(workspace: Path, name: str, **arguments: Any) -> Returned | Failed:
    tools = builtin_tools(
        boxes=FakeBoxes(),
        blobs=MemoryBlobs(),
        clock=FakeClock(),
        spool=Spool(workspace.parent / "spool", str),
    )
    tool = tools.get(name)
    assert tool is not None
    job = Job(task=TaskId("task_1"), call=CallId("c1_1"), workspace=workspace)
    if problem := tool.problem(arguments):
        return Failed(text=problem, code="bad_arguments")
    assert not [each for each in await tool.before(arguments, job) if each.path.startswith("..")]
    outcome = await tool.run(arguments, job)
    assert isinstance(outcome, Returned | Failed)
    return outcome


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("call", TOOLS, ids=lambda call: call("…")[0])
async def test_no_path_leads_out(
    call: Callable[[str], tuple[str, dict[str, Any]]], path: str, workspace: Path
):
    """Rows OC-16, OL-92. Part of rows KV-24, OL-91, OL-93."""
    name, arguments = call(path)
    outcome = await done(workspace, name, **arguments)
    assert isinstance(outcome, Failed)
    assert outcome.code in {"outside_workspace", "bad_arguments"}
    assert "a secret" not in outcome.text
    assert (workspace.parent / "notes").read_text() == "a secret"
    assert (workspace.parent / "data2" / "notes").read_text() == "a secret"


async def test_the_refusal_says_what_and_why(workspace: Path):
    out = await done(workspace, "read", path="../data2/notes")
    assert "'../data2/notes' is outside the workspace" in out.text
    assert "climbs above" in out.text
    assert "it is empty" in (await done(workspace, "read", path="  ")).text
    assert "a link on the way leads out" in (await done(workspace, "read", path="out/notes")).text


@pytest.mark.parametrize(
    "path", ["a/file", "a/../a/file", "./a//file", "in/file", "absolute-in/file"]
)
async def test_every_way_inside_is_fine(path: str, workspace: Path):
    """Part of row OC-16."""
    for way in (path, f"{workspace}/{path}"):
        assert (await done(workspace, "read", path=way)).text == "inside"


async def test_the_workspace_may_be_named_through_a_link(workspace: Path, tmp_path: Path):
    (tmp_path / "link").symlink_to(workspace)
    for root in (tmp_path / "link", workspace):
        out = await done(tmp_path / "link", "read", path=f"{root}/a/file")
        assert out.text == "inside"


async def test_a_file_is_written_through_a_link_that_stays_inside(workspace: Path):
    (workspace / "alias").symlink_to("a/file")
    await done(workspace, "write", path="alias", content="new")
    assert (workspace / "alias").is_symlink()
    assert (workspace / "a" / "file").read_text() == "new"


async def test_deleting_and_moving_a_link_is_about_the_link(workspace: Path, tmp_path: Path):
    assert isinstance(await done(workspace, "move", **{"from": "out", "to": "away"}), Returned)
    assert isinstance(await done(workspace, "delete", path="away"), Returned)
    assert (tmp_path / "data2" / "notes").exists()


GUARDED = [
    ".git/hooks/pre-commit",
    ".git/config",
    ".GIT/Config",
    "sub/.git/hooks/x",
    ".git/modules/m/config",
    ".holdfast/config.toml",
    "sub/.holdfast/x",
    "git-link/config",
]


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize("name", ["write", "append", "delete", "move", "move to", "edit"])
async def test_what_steers_programs_outside_is_not_changed(name: str, path: str, workspace: Path):
    """Part of row OC-16."""
    (workspace / ".git").mkdir()
    (workspace / ".git" / "config").write_text("as it was")
    (workspace / "git-link").symlink_to(".git")
    arguments: dict[str, Any] = {
        "write": {"path": path, "content": "x"},
        "append": {"path": path, "content": "x"},
        "delete": {"path": path, "missing_ok": True},
        "move": {"from": path, "to": "elsewhere"},
        "move to": {"from": "a/file", "to": path, "overwrite": True},
        "edit": {"path": path, "old": "a", "new": "b"},
    }[name]
    out = await done(workspace, name.split(maxsplit=1)[0], **arguments)
    assert isinstance(out, Failed)
    assert out.code == "protected_path"
    assert (workspace / ".git" / "config").read_text() == "as it was"


@pytest.mark.parametrize("name", ["move", "delete"])
async def test_a_repository_is_not_moved_away_whole(name: str, workspace: Path):
    (workspace / "sub" / ".git").mkdir(parents=True)
    (workspace / "sub" / ".git" / "config").write_text("as it was")
    about = {"to": "away", "from": "sub/.git"} if name == "move" else {"path": "sub/.git"}
    whole = await done(workspace, name, **about)
    assert isinstance(whole, Failed)
    assert whole.code == "protected_path"
    above = await done(workspace, "delete", path="sub", recursive=True)
    assert isinstance(above, Failed)
    assert above.code == "protected_path"


async def test_our_own_folder_is_not_even_read(workspace: Path):
    """Part of row OC-16."""
    (workspace / ".holdfast").mkdir()
    (workspace / ".holdfast" / "token").write_text("a secret")
    assert "a secret" not in (await done(workspace, "read", path=".holdfast/token")).text
    assert "a secret" not in (await done(workspace, "search", pattern="secret")).text
    assert "token" not in (await done(workspace, "list", recursive=True)).text


@pytest.mark.parametrize("opener", [open_beneath, open_stepwise])
def test_a_link_swapped_in_between_look_and_open_leads_nowhere(
    opener: Callable[[int, str, int], int], workspace: Path, tmp_path: Path
):
    folder = Folder(workspace, opener=opener)
    name = folder.locate("a/file")
    (workspace / "a").rename(workspace / "b")
    (workspace / "a").symlink_to(tmp_path / "data2")
    (tmp_path / "data2" / "file").write_text("a secret")
    with pytest.raises(OSError), folder.opened(name, os.O_RDONLY):
        raise AssertionError("it was opened")


@pytest.mark.parametrize("opener", [open_beneath, open_stepwise])
def test_a_race_of_links_never_shows_what_is_outside(
    opener: Callable[[int, str, int], int], workspace: Path, tmp_path: Path
):
    (tmp_path / "data2" / "file").write_text("a secret")
    (workspace / "spare").symlink_to(tmp_path / "data2")
    folder, over = Folder(workspace, opener=opener), threading.Event()

    def swap() -> None:
        while not over.is_set():
            (workspace / "a").rename(workspace / "real")
            (workspace / "spare").rename(workspace / "a")
            (workspace / "a").rename(workspace / "spare")
            (workspace / "real").rename(workspace / "a")

    racer = threading.Thread(target=swap)
    racer.start()
    try:
        for _ in range(1_500):
            try:
                with folder.opened(folder.locate("a/file"), os.O_RDONLY) as descriptor:
                    assert os.read(descriptor, 100) == b"inside"
            except (Denied, OSError):
                continue
    finally:
        over.set()
        racer.join()


@pytest.mark.parametrize("opener", [open_beneath, open_stepwise])
def test_both_ways_of_opening_open_the_same(
    opener: Callable[[int, str, int], int], workspace: Path
):
    folder = Folder(workspace, opener=opener)
    with folder.opened("a/file", os.O_RDONLY) as descriptor:
        assert os.read(descriptor, 100) == b"inside"
    for name in ("a/none", "none/file", "a/file/below", "out/notes", "out", "link-to-file"):
        with pytest.raises(OSError), folder.opened(name, os.O_RDONLY):
            raise AssertionError("it was opened")
    with folder.opened(".", os.O_RDONLY | os.O_DIRECTORY) as descriptor:
        assert os.path.samestat(os.fstat(descriptor), workspace.stat())
    assert folder.stat("a/none") is None
    assert folder.stat("none/none") is None
