"""Whatever a task does to a folder: undone it is as before, and undone again as after."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.adapters.blobs.memory import MemoryBlobs
from holdfast.adapters.boxes.pool import Pool
from holdfast.adapters.tools.beneath import Folder
from holdfast.adapters.tools.builtin import builtin_tools
from holdfast.adapters.tools.output import Spool
from holdfast.adapters.tools.undo.state import state_of
from holdfast.adapters.tools.undo.undoing import FolderUndo
from holdfast.core.ids import CallId, TaskId
from holdfast.core.message import Change, EffectClass, Outcome, Returned
from holdfast.ports.blobs import Blobs
from holdfast.ports.model import ToolSpec
from holdfast.ports.tools import Job, Traits
from holdfast.runtime.undoing import Wish
from holdfast.testing.fake_box import FakeBoxes
from holdfast.testing.fake_clock import FakeClock
from tests.doors.undoing import tree

Op = tuple[str, dict[str, Any]]
NAMES = st.sampled_from(["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "e/a"])
TEXTS = st.sampled_from(["", "one\n", "two\n", "three"])
KINDS = st.sampled_from(["file", "link", "dir", "away", "mode"])
WRITE = st.tuples(st.just("write"), st.fixed_dictionaries({"path": NAMES, "content": TEXTS}))
APPEND = st.tuples(st.just("append"), st.fixed_dictionaries({"path": NAMES, "content": TEXTS}))
DELETE = st.tuples(
    st.just("delete"), st.fixed_dictionaries({"path": NAMES, "recursive": st.booleans()})
)
MOVE = st.tuples(
    st.just("move"),
    st.fixed_dictionaries({"from": NAMES, "to": NAMES, "overwrite": st.booleans()}),
)
COMMAND = st.tuples(
    st.just("command"),
    st.fixed_dictionaries(
        {"does": st.lists(st.tuples(KINDS, NAMES, TEXTS), min_size=1, max_size=4)}
    ),
)
OPS = st.lists(st.one_of(WRITE, APPEND, DELETE, MOVE, COMMAND), min_size=1, max_size=8)
START = st.lists(st.tuples(KINDS, NAMES, TEXTS), max_size=6)


class Command:
    """A tool that changes what it likes, as a command in a box does."""

    spec = ToolSpec(name="command", description="", schema={"type": "object"})
    traits = Traits(effect=EffectClass.WRITES, source="box")

    def problem(self, arguments: Mapping[str, Any]) -> str:
        return ""

    async def before(self, arguments: Mapping[str, Any], job: Job) -> Sequence[Change]:
        return ()

    async def run(self, arguments: Mapping[str, Any], job: Job) -> Outcome:
        for one in arguments["does"]:
            act(job.workspace, *one)
        return Returned(text="done")

    async def check(
        self, arguments: Mapping[str, Any], before: Sequence[Change], job: Job
    ) -> Outcome | None:
        return None


def act(root: Path, kind: str, name: str, text: str) -> None:
    """Change the tree, as far as what is there lets one."""
    path = root / name
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        match kind:
            case "mode":
                path.chmod(0o700)
            case "dir":
                path.mkdir()
            case "away" if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            case "away":
                path.unlink()
            case "link":
                path.symlink_to(text.strip() or "a")
            case _:
                path.write_text(text)


class Bench:
    """A folder, the tools that are watched there, and what undoes their work."""

    def __init__(self, place: Path, blobs: Blobs | None = None) -> None:
        self.folder = place / "workspace"
        self.folder.mkdir()
        self.blobs = blobs = blobs or MemoryBlobs()
        self.undo = FolderUndo(place / "undo", blobs)
        own = builtin_tools(
            boxes=Pool(FakeBoxes()),
            blobs=blobs,
            clock=FakeClock(),
            spool=Spool(place / "spool", str),
        )
        self.tools = {one.spec.name: one for one in self.undo.watched([*own.all(), Command()])}
        self.calls = 0

    async def call(self, task: str, name: str, arguments: Mapping[str, Any]) -> None:
        self.calls += 1
        call = CallId(f"c{self.calls}")
        job = Job(task=TaskId(task), call=call, workspace=self.folder)
        with suppress(OSError):  # what cannot be kept beforehand is not begun
            await self.tools[name].before(arguments, job)
            await self.tools[name].run(arguments, job)

    async def undone(self, task: str, of: int = 0, by: FolderUndo | None = None) -> Any:
        async def agreed(_: object) -> None:
            await anyio.lowlevel.checkpoint()

        wish = Wish(by="ann", at=1, of=of)
        return await (by or self.undo).undo(TaskId(task), self.folder, wish, agreed)


@given(start=START, ops=OPS)
@example(
    start=[("file", "d/a", "one")],
    ops=[("command", {"does": [("away", "d", ""), ("link", "d", "b")]})],
)
@example(
    start=[("link", "d", "b")],
    ops=[("command", {"does": [("away", "d", ""), ("file", "d/e/a", "one")]})],
)
@settings(max_examples=60, deadline=None)
def test_undone_it_is_as_before_and_undone_again_as_after(
    start: list[tuple[str, str, str]], ops: list[Op]
):
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        for one in start:
            act(bench.folder, *one)
        anyio.run(_there_and_back, bench, ops)


async def _there_and_back(bench: Bench, ops: list[Op]) -> None:
    before = tree(bench.folder)
    for name, arguments in ops:
        await bench.call("task_1", name, arguments)
    after = tree(bench.folder)
    undone = await bench.undone("task_1")
    assert (undone.left, tree(bench.folder)) == ((), before)
    if undone.number:
        again = await bench.undone("task_1", of=1)
        assert (again.left, tree(bench.folder)) == ((), after)
        third = await bench.undone("task_1")
        assert (third.left, tree(bench.folder)) == ((), before)


@given(start=START, ops=OPS, theirs=START)
@settings(max_examples=40, deadline=None)
def test_what_somebody_else_changed_is_never_touched(
    start: list[tuple[str, str, str]], ops: list[Op], theirs: list[tuple[str, str, str]]
):
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        for one in start:
            act(bench.folder, *one)
        anyio.run(_with_theirs, bench, ops, theirs)


async def _with_theirs(bench: Bench, ops: list[Op], theirs: list[tuple[str, str, str]]) -> None:
    for name, arguments in ops:
        await bench.call("task_1", name, arguments)
    after, folder = tree(bench.folder), Folder(bench.folder)
    for one in theirs:
        act(bench.folder, *one)
    told = await bench.undo.told(TaskId("task_1"))
    made = {(one.change.path, one.change.now) for one in told.entries}
    meant = {path: state_of(folder, path) for path in {*after, *tree(bench.folder)}}
    await bench.undone("task_1")
    for path, state in meant.items():
        # What stands exactly as a call of the task has left it there is the task's own.
        assert state_of(folder, path) == state or (path, state) in made, path
