"""Undo under attack: links, strangers, full disks, two at once, and ends in the middle."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from holdfast.adapters.blobs.memory import MemoryBlobs
from holdfast.adapters.tools.undo import look
from holdfast.adapters.tools.undo.plan import SHARED
from holdfast.core.error import Refused, Unavailable
from holdfast.core.ids import CallId, TaskId
from holdfast.ports.tools import Job
from tests import unprivileged
from tests.adapters.test_undo_tree import Bench
from tests.doors.undoing import OPEN, Script, Works, run, tree, write
from tests.whole_house import inhabited

pytestmark = pytest.mark.anyio
ELSE = "somebody else has changed it since"


@pytest.fixture
async def works(tmp_path: Path) -> AsyncGenerator[Works]:
    script = Script()
    async with inhabited(tmp_path / "home", script, OPEN) as lives:
        yield Works(lives, script)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_a_link_that_was_put_there_leads_undo_nowhere(works: Works, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    works.file("d/a.txt", "one")
    works.file("b.txt", "one")
    works.file("e/gone.txt", "one")
    task = await works.did(
        write("d/a.txt", "two"), write("b.txt", "two"), ("delete", {"path": "e/gone.txt"})
    )
    # All that is outside looks exactly as the task has left it.
    (outside / "a.txt").write_text("two")
    (outside / "b.txt").write_text("two")
    shutil.rmtree(works.folder / "d")
    (works.folder / "d").symlink_to(outside)
    (works.folder / "b.txt").unlink()
    (works.folder / "b.txt").symlink_to(outside / "b.txt")
    shutil.rmtree(works.folder / "e")
    (works.folder / "e").symlink_to(outside)
    before = tree(outside)
    undone = await works.undo(task)
    assert tree(outside) == before
    assert {one["path"] for one in undone["left"]} == {"d/a.txt", "b.txt", "e/gone.txt"}
    assert undone["files"] == []


async def test_a_folder_in_the_way_stays(works: Works):
    works.file("a.txt", "one")
    task = await works.did(("delete", {"path": "a.txt"}), write("b/c.txt", "two"))
    works.file("a.txt/in/it.txt", "theirs")
    shutil.rmtree(works.folder / "b")
    works.file("b", "a file now")
    before = works.tree
    undone = await works.undo(task)
    assert {one["path"]: one["why"] for one in undone["left"]} == {"a.txt": ELSE, "b": ELSE}
    assert works.tree == before


async def test_of_two_undos_at_once_one_wins_and_the_other_is_told(works: Works):
    task = await works.did(run("for i in $(seq 200); do echo $i > $i.txt; done"))
    url = f"/api/v1/tasks/{task}/undo"
    answers = await asyncio.gather(*(works.lives.tcp.post(url, json={}) for _ in range(4)))
    codes = sorted(one.status_code for one in answers)
    assert codes == [200, 409, 409, 409]
    assert {one.json()["code"] for one in answers if one.status_code == 409} == {"undo_under_way"}
    assert works.tree == {}
    assert len((await works.outlook(task))["past"]) == 1


async def test_two_tasks_at_once_in_one_folder_do_not_undo_each_other(works: Works):
    works.file("slow.txt", "one")
    one = await works.begun(run("echo two > slow.txt; until [ -e go ]; do sleep 0.01; done"))
    with anyio.fail_after(20):
        while (works.folder / "slow.txt").read_text() != "two\n":
            await anyio.sleep(0.005)
    other = await works.did(write("other.txt", "of the other"))
    shared = await works.begun(run("echo x > shared.txt; touch go"))
    for task in (shared, one):
        await works.lives.ended(task)
    undone = await works.undo(one)
    assert "other.txt" not in {each["path"] for each in (*undone["files"], *undone["left"])}
    assert {each["path"] for each in undone["left"]} >= {"slow.txt", "shared.txt", "go"}
    assert all("another task was at work" in each["why"] for each in undone["left"])
    assert [each["path"] for each in (await works.undo(other))["files"]] == ["other.txt"]


async def test_what_a_hostile_command_leaves_is_undone_or_named(works: Works):
    works.file("a.txt", "one")
    mess = (
        "mkfifo pipe; ln -s loop loop; mkdir deep; cd deep;"
        " for i in $(seq 300); do mkdir -p d && cd d; done; cd /;"
        " touch \"$(printf 'bad\\377name')\"; touch \"$(printf 'new\\nline')\";"
        " head -c 70000000 /dev/zero > big; echo two > a.txt"
    )
    task = await works.did(run(f"cd $PWD; W=$PWD; {mess.replace('cd /;', 'cd $W;')}"))
    undone = await works.undo(task)
    assert (works.folder / "a.txt").read_text() == "one"
    left = {one["path"] for one in undone["left"]}
    assert left == {"pipe", "big"}, undone["left"]
    assert undone["apart"] == ["bad\\udcffname"]
    assert undone["lasting"] == []
    assert {os.fsencode(one.name) for one in works.folder.iterdir()} == {
        *(b"a.txt", b"bad\xffname", b"big", b"pipe")
    }


async def test_two_tasks_that_write_one_file_at_once_do_not_undo_each_other(bench: Bench):
    """Each has seen the file before the other wrote: neither may bring that back."""
    (bench.folder / "a").write_text("first")
    keeping = bench.undo._keeping  # pyright: ignore[reportPrivateUsage]
    jobs = [
        Job(task=TaskId(f"task_{n}"), call=CallId(f"c{n}"), workspace=bench.folder) for n in (1, 2)
    ]
    names = [frozenset({"a"}), frozenset({"a"})]
    async with (
        keeping.around("write", jobs[0], names[0]),
        keeping.around("write", jobs[1], names[1]),
    ):
        await bench.blobs.put(b"first")
        (bench.folder / "a").write_text("of one")
        (bench.folder / "a").write_text("of two")
    undone = await bench.undone("task_2")
    assert [(one.path, one.why) for one in undone.left] == [("a", SHARED)]
    assert (bench.folder / "a").read_text() == "of two"


async def test_a_folder_too_full_to_be_looked_at_is_said(
    works: Works, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(look, "MOST_PLACES", 20)
    task = await works.did(run("for i in $(seq 30); do echo $i > $i.txt; done"))
    told = await works.outlook(task)
    assert told["files"] == []
    (stays,) = told["lasting"]
    assert (stays["tool"], stays["target"][:5]) == ("exec", "for i")
    assert stays["why"] == "the folder holds more than 20 files and folders"


async def test_of_one_folder_that_is_too_full_no_more_is_read_than_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(look, "MOST_PLACES", 20)
    full = tmp_path / "full"
    full.mkdir()
    for number in range(500):
        (full / str(number)).touch()
    seen = 0
    whole = os.scandir

    class Counted:
        def __init__(self, folder: int) -> None:
            self._entries = whole(folder)

        def __enter__(self) -> Iterator[os.DirEntry[str]]:
            return self._counted()

        def __exit__(self, *_: object) -> None:
            self._entries.close()

        def _counted(self) -> Iterator[os.DirEntry[str]]:
            nonlocal seen
            for one in self._entries:
                seen += 1
                yield one

    monkeypatch.setattr(look.os, "scandir", Counted)
    with pytest.raises(look.TooMuch):
        look.Shadow(tmp_path / "copies").look(full, tidy=True)
    assert seen < 30


async def test_what_was_too_much_to_keep_and_has_not_changed_is_no_change(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(look, "MOST_BYTES", 100)
    for name in ("a", "b"):
        (bench.folder / name).write_bytes(b"x" * 80)
    await bench.call("task_1", "command", {"does": [("away", "a", ""), ("file", "c", "new")]})
    told = await bench.undo.told(TaskId("task_1"))
    assert [one.change.path for one in told.entries] == ["a", "c"]
    await bench.call("task_1", "command", {"does": [("file", "a", "y" * 80)]})
    told = await bench.undo.told(TaskId("task_1"))
    assert [one.change.path for one in told.entries] == ["a", "c", "a"]
    undone = await bench.undone("task_1")
    assert (undone.left, (bench.folder / "a").read_bytes()) == ((), b"x" * 80)


async def test_a_place_for_undo_that_others_may_open_stops_no_call(bench: Bench, tmp_path: Path):
    (tmp_path / "undo").mkdir(mode=0o755)
    await bench.call("task_1", "command", {"does": [("file", "a", "one")]})
    assert (bench.folder / "a").read_text() == "one"


async def test_a_strange_file_beside_the_tapes_is_no_task(bench: Bench, tmp_path: Path):
    await bench.call("task_1", "write", {"path": "a", "content": "two"})
    (tmp_path / "undo" / "task_1 (old).jsonl").write_text("{}")
    assert await bench.undo.tasks() == ["task_1"]


async def test_a_call_that_is_still_ending_is_waited_for_and_stays_sure(bench: Bench):
    """A task is cancelled at once, its command a moment later: not every look has been told."""
    (bench.folder / "a").write_text("one")
    keeping = bench.undo._keeping  # pyright: ignore[reportPrivateUsage]
    job = Job(task=TaskId("task_1"), call=CallId("c1"), workspace=bench.folder)
    async with keeping.around("exec", job, None):
        (bench.folder / "a").write_text("two")
        with pytest.raises(Refused) as refused:
            await bench.undone("task_1")
        assert refused.value.code == "call_ending"
    assert (await bench.undone("task_1")).left == ()
    assert (bench.folder / "a").read_text() == "one"


async def test_what_cannot_be_forgotten_is_said(bench: Bench, tmp_path: Path):
    (tmp_path / "undo" / "task_1.jsonl").mkdir(parents=True)
    with pytest.raises(Unavailable, match="could not be forgotten"):
        await bench.undo.forget(TaskId("task_1"))


async def test_what_is_forgotten_while_it_is_undone_stays_forgotten(bench: Bench):
    (bench.folder / "a").write_text("one")
    await bench.call("task_1", "write", {"path": "a", "content": "two"})
    real = bench.undo._carried_out  # pyright: ignore[reportPrivateUsage]

    async def carried_out(*given: Any, **more: Any) -> Any:
        await bench.undo.forget(TaskId("task_1"))
        return await real(*given, **more)

    bench.undo._carried_out = carried_out  # pyright: ignore[reportPrivateUsage]
    await bench.undone("task_1")
    told = await bench.undo.told(TaskId("task_1"))
    assert (told.past, told.entries) == ((), ())


async def test_a_workspace_that_leads_elsewhere_by_now_is_not_touched(bench: Bench, tmp_path: Path):
    """Whoever may change the folder above could make it a link to anywhere."""
    (bench.folder / "a").write_text("evil")
    await bench.call("task_1", "delete", {"path": "a"})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    bench.folder.rename(tmp_path / "away")
    bench.folder.symlink_to(elsewhere)
    with pytest.raises(Refused, match="leads elsewhere"):
        await bench.undone("task_1")
    assert list(elsewhere.iterdir()) == []


async def test_a_disk_that_refuses_stops_one_file_and_no_other(bench: Bench):
    for name, size in (("big", 100_000), ("small", 10)):
        (bench.folder / name).write_bytes(b"x" * size)
    before = tree(bench.folder)
    for name in ("big", "small"):
        await bench.call("task_1", "write", {"path": name, "content": "new"})
    with _smallest_files(50_000):
        undone = await bench.undone("task_1")
    assert [one.path for one in undone.steps] == ["small"]
    assert [one.path for one in undone.left] == ["big"]
    assert set(tree(bench.folder)) == {"big", "small"}, "nothing half-written"
    assert (bench.folder / "big").read_bytes() == b"new"
    rest = await bench.undone("task_1")
    assert ([one.path for one in rest.steps], tree(bench.folder)) == (["big"], before)


@contextmanager
def _smallest_files(most: int) -> Generator[None]:
    """No file may grow beyond this: what a full disk answers, but for the number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class FullBlobs(MemoryBlobs):
    """Keeps nothing more once it is full."""

    full = False

    async def put(self, data: bytes) -> str:
        if self.full:
            raise Unavailable("no space is left")
        return await super().put(data)


async def test_nothing_is_touched_where_it_could_not_be_kept(tmp_path: Path):
    blobs = FullBlobs()
    bench = Bench(tmp_path, blobs)
    (bench.folder / "a").write_text("one")
    await bench.call("task_1", "write", {"path": "a", "content": "two"})
    blobs.full = True
    with pytest.raises(Unavailable):
        await bench.undone("task_1")
    assert (bench.folder / "a").read_text() == "two"
    blobs.full = False
    assert (await bench.undone("task_1")).number == 1
    assert (bench.folder / "a").read_text() == "one"


@pytest.mark.parametrize("torn", [b'{"type":"en', b"\x00" * 40])
async def test_a_line_that_was_cut_off_is_no_line(bench: Bench, tmp_path: Path, torn: bytes):
    (bench.folder / "a").write_text("one")
    await bench.call("task_1", "write", {"path": "a", "content": "two"})
    with (tmp_path / "undo" / "task_1.jsonl").open("ab") as file:
        file.write(torn)
    await bench.call("task_1", "append", {"path": "a", "content": "three"})
    assert (await bench.undone("task_1")).left == ()
    assert (bench.folder / "a").read_text() == "one"


_IMPORTS = """
import json
from holdfast.adapters.blobs.memory import MemoryBlobs
from holdfast.adapters.tools.rewrite import rewriting_tools
from holdfast.adapters.tools.undo.undoing import FolderUndo
from holdfast.ports.tools import Job
from holdfast.runtime.undoing import Wish
"""
_AS_USER = """
folder = place / "workspace"
(folder / "closed").mkdir(parents=True)
for name in ("a", "closed/b"):
    (folder / name).write_text("one")

async def agreed(_):
    pass

async def main():
    blobs = MemoryBlobs()
    undo = FolderUndo(place / "undo", blobs)
    write = undo.watched(rewriting_tools(blobs))[0]
    for number, name in enumerate(("a", "closed/b")):
        job = Job(task="task_1", call=f"c{number}", workspace=folder)
        asked = {"path": name, "content": "two"}
        await write.before(asked, job)
        await write.run(asked, job)
    (folder / "closed").chmod(0o500)
    first = await undo.undo("task_1", folder, Wish(), agreed)
    (folder / "closed").chmod(0o700)
    then = await undo.undo("task_1", folder, Wish(), agreed)
    print(json.dumps([
        [one.path for one in first.steps],
        [[one.path, one.why] for one in first.left],
        [one.path for one in then.steps],
        [(folder / name).read_text() for name in ("a", "closed/b")],
        sorted(one.name for one in (folder / "closed").iterdir()),
    ]))

anyio.run(main)
"""


def test_what_nobody_may_write_is_left_and_comes_back_when_one_may(tmp_path: Path):
    place = Path(tempfile.mkdtemp(prefix="undo-"))
    try:
        done = unprivileged.run(place, _IMPORTS, _AS_USER, seconds=50)
        assert done.returncode == 0, done.stderr
        first, left, then, texts, files = json.loads(done.stdout)
        assert (first, then, texts, files) == (["a"], ["closed/b"], ["one", "one"], ["b"])
        assert left == [["closed/b", "closed/b: Permission denied"]]
    finally:
        shutil.rmtree(place)
