"""Undo at the command line, with a real daemon: looked at, done, taken back."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from holdfast.testing.daemon import Daemon, stage, use_model
from holdfast.testing.model_script import Reply, ScriptedCall
from holdfast.testing.model_server import ModelServer
from tests.doors.undoing import tree
from tests.e2e.at_home import holdfast

pytestmark = pytest.mark.timeout(120)

CALLS = (
    ("write", {"path": "a.txt", "content": "two\n"}),
    ("exec", {"command": "mkdir -p out && echo x > out/x; rm b.txt"}),
    ("http", {"url": "http://127.0.0.1:9/"}),
)


@pytest.fixture
def done() -> Generator[tuple[Path, Path, str]]:
    """A home, a folder, and the short id of a task that has changed it."""
    replies = [Reply(calls=(ScriptedCall(name=name, arguments=told),)) for name, told in CALLS]
    with stage("undo") as place, ModelServer(default=Reply(text="done")) as server:
        home, files = place / "home", place / "files"
        files.mkdir()
        for name in ("a.txt", "b.txt"):
            (files / name).write_text("one\n")
        use_model(home, server.url)
        server.load(*replies)
        with Daemon(home) as daemon:
            daemon.start()
            task = daemon.submit("do it", files, preset="open")
            deadline = time.monotonic() + 60
            while daemon.get(f"/api/v1/tasks/{task}")["status"] != "SUCCEEDED":
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield home, files, task[-8:]


def asked(home: Path, *words: str) -> tuple[int, str, str]:
    answered = holdfast(home, *words)
    return answered.returncode, answered.stdout, answered.stderr


def test_a_person_looks_undoes_and_takes_it_back(done: tuple[Path, Path, str]):
    """We chose: what is data goes to stdout, what is said about it to stderr."""
    home, files, task = done
    after = tree(files)
    files_told = "restored  a.txt\nrecreated b.txt\nremoved   out (folder)\nremoved   out/x\n"
    stays = f"stays: http {CALLS[2][1]['url']} (call c3_1): it cannot be undone"
    code, said, talk = asked(home, "task", "undo", task, "--dry-run")
    assert (code, said) == (0, files_told)
    assert talk.splitlines() == ["nothing was done: this is what would be, now", stays]
    assert tree(files) == after
    code, said, talk = asked(home, "task", "undo", task)
    assert (code, said) == (0, files_told)
    assert talk.splitlines() == [stays, f"take it back with: holdfast task undo {task}.1"]
    assert {name: (files / name).read_text() for name in tree(files)} == {
        "a.txt": "one\n",
        "b.txt": "one\n",
    }
    code, said, talk = asked(home, "task", "undo", task)
    assert (code, said, talk.splitlines()[0]) == (0, "", "nothing to undo")
    assert asked(home, "task", "undo", f"{task}.1")[0] == 0
    assert tree(files) == after
    (files / "a.txt").write_text("mine\n")
    code, said, _ = asked(home, "task", "undo", task, "--json")
    told = json.loads(said)
    assert (code, told["left"]) == (
        1,
        [{"path": "a.txt", "why": "somebody else has changed it since"}],
    )
    assert (files / "a.txt").read_text() == "mine\n"
    code, _, talk = asked(home, "task", "undo", f"{task}.9")
    assert (code, "there is no undo 9 of this task" in talk) == (2, True)
