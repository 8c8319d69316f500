"""Undo that ends in the middle: asked for again, it brings the whole result, and once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.tools.beneath import Folder, open_beneath
from holdfast.adapters.tools.undo.undoing import FolderUndo
from holdfast.core.ids import TaskId
from holdfast.testing.daemon import Answered, Daemon, Gone, stage, use_model
from holdfast.testing.model_script import Reply, ScriptedCall
from holdfast.testing.model_server import ModelServer
from tests.adapters.test_undo_tree import Bench
from tests.doors.undoing import tree

pytestmark = pytest.mark.timeout(300)

PATIENCE = 60.0
FILES = 120
COMMAND = (
    f"for i in $(seq {FILES}); do echo changed > $i.txt; echo made > made-$i.txt; done;"
    " rm -r old; mkdir new; echo x > new/x"
)


class Cut(BaseException):
    """The process ends here."""


@pytest.mark.anyio
async def test_wherever_it_is_cut_off_the_next_undo_brings_the_whole_result(tmp_path: Path):
    done, at = False, 0
    while not done:
        at += 1
        place = tmp_path / str(at)
        place.mkdir()
        done = await _cut_at(Bench(place), place, at)
    assert at > 40, "it opens many things on its way"


async def _cut_at(bench: Bench, place: Path, at: int) -> bool:
    """True once it was through before it was to be cut."""
    before = await _changed(bench)
    opened = 0

    def opener(top: int, name: str, flags: int) -> int:
        nonlocal opened
        opened += 1
        if opened == at:
            raise Cut
        return open_beneath(top, name, flags)

    cut: Any = FolderUndo(
        place / "undo", bench.blobs, opened=lambda root: Folder(root, opener=opener)
    )
    try:
        await bench.undone("task_1", by=cut)
    except Cut:
        pass
    else:
        assert tree(bench.folder) == before
        return True
    again = await bench.undone("task_1")
    assert (again.left, tree(bench.folder)) == ((), before)
    assert again.number == 1
    told = await bench.undo.told(TaskId("task_1"))
    assert (len(told.past), told.past[0].over, told.standing) == (1, True, ())
    return False


async def _changed(bench: Bench) -> Any:
    (bench.folder / "d/e").mkdir(parents=True)
    (bench.folder / "a").write_text("one")
    (bench.folder / "d/b").symlink_to("../a")
    (bench.folder / "d/e/a").write_text("deep")
    (bench.folder / "swap").write_text("a file")
    before = tree(bench.folder)
    await bench.call("task_1", "write", {"path": "a", "content": "two"})
    await bench.call("task_1", "write", {"path": "e/a", "content": "new"})
    await bench.call("task_1", "delete", {"path": "d", "recursive": True})
    swap = [("away", "swap", ""), ("dir", "swap", ""), ("file", "swap/in", "x")]
    await bench.call("task_1", "command", {"does": swap})
    assert tree(bench.folder) != before
    return before


def until(true: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := true()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)
    return found


Stage = tuple[Daemon, Path]


@pytest.fixture
def at_home() -> Generator[Stage]:
    with stage("undo") as place, ModelServer(default=Reply(text="done")) as server:
        home, files = place / "home", place / "files"
        (files / "old/deep").mkdir(parents=True)
        (files / "old/deep/a").write_text("was here")
        for number in range(1, FILES + 1):
            (files / f"{number}.txt").write_text(f"as it was {number}")
        use_model(home, server.url)
        call = ScriptedCall(name="exec", arguments={"command": COMMAND})
        server.load(Reply(calls=(call,)))
        with Daemon(home) as daemon:
            daemon.start()
            yield daemon, files


def test_killed_in_the_middle_and_asked_again_it_is_whole(at_home: Stage):
    daemon, files = at_home
    before = tree(files)
    task = daemon.submit("make a mess", files, preset="open")
    place = f"/api/v1/tasks/{task}"
    until(lambda: daemon.get(place)["status"] == "SUCCEEDED")
    after = tree(files)
    assert len(after) > len(before)
    for least in (5, FILES // 2, FILES + 5):
        # Killed once so many files are back: the first try, and those that go on with it.
        asking = threading.Thread(target=_asked, args=(daemon, f"{place}/undo"))
        asking.start()
        until(lambda least=least: _back(files) >= least)
        daemon.kill()
        asking.join(PATIENCE)
        daemon.start()
        told = daemon.get(f"{place}/undo")
        assert [one["id"] for one in told["past"]] == [f"{task}.1"]
    told = daemon.post(f"{place}/undo", {})
    assert (told["id"], told["left"], tree(files)) == (f"{task}.1", [], before)
    again = daemon.post(f"/api/v1/tasks/{task}.1/undo", {})
    assert (again["left"], tree(files)) == ([], after)


def test_a_command_that_was_cut_off_is_said_to_be_unknown():
    command = "echo x > made.txt; sleep 60"
    with stage("undo") as place, ModelServer(default=Reply(text="done")) as server:
        home, files = place / "home", place / "files"
        files.mkdir()
        use_model(home, server.url)
        server.load(
            Reply(calls=(ScriptedCall(name="write", arguments={"path": "a", "content": "x"}),)),
            Reply(calls=(ScriptedCall(name="exec", arguments={"command": command}),)),
        )
        with Daemon(home) as daemon:
            daemon.start()
            task = daemon.submit("make something", files, preset="open")
            until((files / "made.txt").exists)
            daemon.kill()
            daemon.start()
            place_of = f"/api/v1/tasks/{task}"
            until(lambda: daemon.get(place_of)["status"] == "SUCCEEDED")
            told = daemon.post(f"{place_of}/undo", {})
        left = set(tree(files))
    assert [one["path"] for one in told["files"]] == ["a"]
    assert [(one["tool"], one["target"], one["why"]) for one in told["lasting"]] == [
        ("exec", command, "it was cut off before it could be told what it changed")
    ]
    assert left == {"made.txt"}


def _asked(daemon: Daemon, url: str) -> None:
    with suppress(Answered, Gone):
        daemon.post(url, {})


def _back(files: Path) -> int:
    """How many of the files that the task has changed or made are as before."""
    numbers = range(1, FILES + 1)
    gone = sum(not (files / f"made-{number}.txt").exists() for number in numbers)
    return gone + sum((files / f"{n}.txt").stat().st_size > len("changed\n") for n in numbers)
