"""As a new user would: a fresh home, a real daemon, a real box, the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.testing.model_server import ModelServer, Reply, ScriptedCall, Usage

BROKEN = "def add(a, b):\n    return a - b\n"
TEST = """\
import unittest
from calc import add

class Add(unittest.TestCase):
    def test_add(self):
        self.assertEqual(add(2, 3), 5)
"""
CONFIG = """\
[server]
port = 0

[models]
default = "lab/scripted"
detect_local = false

[models.providers.lab]
kind = "openai"
base_url = "{url}/v1"
models = ["scripted"]
"""


class User:
    """Somebody with a home and a folder of files, who types commands."""

    def __init__(self, base: Path) -> None:
        self.home, self.files = base / "home", base / "files"
        self.home.mkdir(mode=0o700)
        self.files.mkdir()

    def types(
        self, *words: str, stdin: str | None = None, status: int | None = 0
    ) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home.parent),
            "HOLDFAST_HOME": str(self.home),
            "HOLDFAST_SERVER_PORT": "0",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        done = subprocess.run(
            [sys.executable, "-m", "holdfast.doors.cli", *words],
            cwd=self.files,
            env=environment,
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        if status is not None:
            assert done.returncode == status, (words, done.stdout, done.stderr, self.log())
        return done

    def log(self) -> str:
        path = self.home / "logs" / "holdfast.log"
        return path.read_text("utf-8")[-3000:] if path.exists() else ""


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    somebody = User(tmp_path)
    yield somebody
    somebody.types("serve", "stop", status=None)


def test_without_a_key_a_plain_request_over_real_files_is_answered_right(user: User) -> None:
    """Row OK-01."""
    (user.files / "notes.txt").write_text("one two three\nfour\n")
    done = user.types("run", "how many words are in notes.txt?")
    assert "4 words" in done.stdout
    assert "not by a language model" in done.stdout
    assert "read notes.txt" in done.stderr


def test_a_coding_task_edits_files_runs_the_tests_and_finishes(user: User) -> None:
    (user.files / "calc.py").write_text(BROKEN)
    (user.files / "test_calc.py").write_text(TEST)
    run_tests = ScriptedCall(name="exec", arguments={"command": "python3 -m unittest -q"})
    fix = ScriptedCall(name="edit", arguments={"path": "calc.py", "old": "a - b", "new": "a + b"})
    script = [
        Reply(
            text="I look first.",
            calls=(ScriptedCall(name="read", arguments={"path": "calc.py"}), run_tests),
        ),
        Reply(calls=(fix,), usage=Usage(input=100, output=20)),
        Reply(calls=(run_tests,)),
        Reply(text="add now adds; the test passes.", usage=Usage(input=120, output=9)),
    ]
    with ModelServer(script) as server:
        (user.home / "config.toml").write_text(CONFIG.format(url=server.url))
        done = user.types(
            "run", "--yes", "--json", "--check", "python3 -m unittest -q", "fix the failing test"
        )
        asked = server.requests
    task = json.loads(done.stdout)
    assert task["answer"] == "add now adds; the test passes."
    assert task["status"] == "SUCCEEDED"
    assert (user.files / "calc.py").read_text() == BROKEN.replace("-", "+")
    assert len(asked) == 4
    first_results = [m for m in asked[1].messages if m["role"] == "tool"]
    assert "FAILED" in first_results[1]["content"]
    bundle = user.types("task", "verify", task["short"], "--json")
    assert json.loads(bundle.stdout)["ok"] is True
    again = json.loads(user.types("task", "replay", task["short"], "--json").stdout)
    assert again["same"] is True, again


def test_without_a_terminal_what_would_ask_is_denied_and_said(user: User) -> None:
    script = [
        Reply(calls=(ScriptedCall(name="exec", arguments={"command": "touch made"}),)),
        Reply(text="I was not allowed to."),
    ]
    with ModelServer(script) as server:
        (user.home / "config.toml").write_text(CONFIG.format(url=server.url))
        done = user.types("run", "make a file")
        told = server.requests[1].last_text
    assert done.stdout == "I was not allowed to.\n"
    assert "--allow" in done.stderr
    assert "nobody is there to ask" in told
    assert not (user.files / "made").exists()


def test_a_detached_task_waits_for_its_approval_and_then_goes_on(user: User) -> None:
    script = [
        Reply(calls=(ScriptedCall(name="write", arguments={"path": "made", "content": "yes"}),)),
        Reply(text="made it"),
    ]
    with ModelServer(script) as server:
        (user.home / "config.toml").write_text(CONFIG.format(url=server.url))
        ref = user.types("run", "--detach", "make a file").stdout.strip()
        asked: list[Any] = []
        while not asked:
            asked = json.loads(user.types("approvals", "--json").stdout)["approvals"]
        call = str(asked[0]["call"])
        user.types("serve", "stop")
        user.types("task", "approve", ref, call)
        done = user.types("task", "watch", ref)
    assert "made it" in done.stdout
    assert (user.files / "made").read_text() == "yes"
