"""Conversations and the daemon itself, as a user meets them."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from holdfast.testing.model_server import ModelServer, Reply, ScriptedCall, Usage

from .at_home import ENVIRONMENT, ask, files, holdfast, until

CONFIG = """\
[models]
default = "lab/scripted"

[models.providers.lab]
kind = "openai"
base_url = "{url}/v1"
models = ["scripted"]
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "home"
    place.mkdir(mode=0o700)
    yield place
    holdfast(place, "serve", "stop")


def chat(home: Path, lines: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "holdfast.doors.cli", "chat", *words],
        cwd=files(home),
        env={**ENVIRONMENT, "HOLDFAST_HOME": str(home), "HOME": str(home.parent)},
        input=lines,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def listed(home: Path) -> list[dict[str, Any]]:
    sessions: list[dict[str, Any]] = json.loads(holdfast(home, "session", "list", "--json").stdout)[
        "sessions"
    ]
    return sessions


def test_a_conversation_is_kept_counted_resumed_and_forgotten_on_request(home: Path) -> None:
    """Rows OK-27, OK-29, OK-33."""
    usage = Usage(input=30, output=5)
    script = [Reply(text=f"answer {n}", usage=usage) for n in (1, 2, 3)]
    with ModelServer(script) as server:
        (home / "config.toml").write_text(CONFIG.format(url=server.url))
        first = chat(home, "my name is Ada\nwhat is my name?\n", "--session", "talk")
        assert first.returncode == 0, first.stderr
        assert "answer 1" in first.stdout
        assert "answer 2" in first.stdout
        row = listed(home)[0]
        assert (row["id"], row["tasks"], row["tokens"]) == ("talk", 2, 70)
        again = chat(home, "and now?\n", "--resume", "last")
        assert "answer 3" in again.stdout
        said = [str(m["content"]) for m in server.requests[2].messages if m["role"] != "system"]
    assert said == ["my name is Ada", "answer 1", "what is my name?", "answer 2", "and now?"]
    assert listed(home)[0]["tasks"] == 3
    shown = holdfast(home, "session", "show", "talk")
    assert "my name is Ada" in shown.stdout
    gone = holdfast(home, "purge", "--session", "talk", "--reason", "test", "--yes")
    assert gone.returncode == 0, gone.stderr
    assert b"my name is Ada" not in (home / "holdfast.db").read_bytes()
    left = holdfast(home, "session", "show", "talk").stdout
    assert "my name is Ada" not in left
    assert "[purged]" in left
    typo = holdfast(home, "purge", "--session", "tolk", "--reason", "test", "--yes")
    assert typo.returncode == 2
    assert "there is no session" in typo.stderr


def test_what_was_said_long_ago_comes_back_shortened(home: Path) -> None:
    """Rows OK-31, OC-75."""
    long = "word " * 100
    script = [Reply(text=f"answer {n} {long}") for n in range(9)]
    with ModelServer(script) as server:
        (home / "config.toml").write_text(CONFIG.format(url=server.url))
        chat(home, "".join(f"message {n} {long}\n" for n in range(9)), "--session", "long")
        said = [str(m["content"]) for m in server.requests[8].messages if m["role"] != "system"]
    *old, last = said
    assert last.startswith("message 8")
    assert len(old) == 16
    assert all(len(text) > 400 for text in old[-10:])
    assert all(len(text) < 250 for text in old[:-10])
    assert old[0].startswith("message 0")


def test_the_daemon_starts_in_the_background_restarts_and_answers_while_it_works(
    home: Path,
) -> None:
    """Rows OK-118, OK-143."""
    socket = home / "run" / "holdfast.sock"
    script = [Reply(text="at last", hold=True)]
    with ModelServer(script) as server:
        (home / "config.toml").write_text(CONFIG.format(url=server.url))
        assert holdfast(home, "serve", "--detach").returncode == 0
        first = ask(socket, "GET", "/api/v1/status")
        assert "up" in holdfast(home, "serve", "status").stdout
        ref = holdfast(home, "run", "--detach", "take your time").stdout.strip()
        server.wait_for_requests(1)
        with ThreadPoolExecutor(2) as pool:
            both = [
                pool.submit(ask, socket, "GET", path)
                for path in ("/api/v1/tasks", "/api/v1/status")
            ]
            tasks, status = (one.result(timeout=10) for one in both)
        assert tasks["tasks"][0]["status"] == "RUNNING"
        assert status["running"] == 1
        server.release()
        until(lambda: ask(socket, "GET", f"/api/v1/tasks/{ref}")["status"] == "SUCCEEDED")
        assert holdfast(home, "serve", "restart").returncode == 0
        assert ask(socket, "GET", "/api/v1/status")["pid"] != first["pid"]
        assert holdfast(home, "task", "show", ref).stdout.rstrip().endswith("at last")
        assert holdfast(home, "serve", "stop").returncode == 0
        assert not socket.exists()


def test_the_answer_of_a_past_task_comes_back_byte_for_byte(home: Path) -> None:
    """Row OK-28."""
    call = ScriptedCall(name="time", arguments={})
    with ModelServer([Reply(calls=(call,)), Reply(text="naïve\n\n  café ☕")]) as server:
        (home / "config.toml").write_text(CONFIG.format(url=server.url))
        task = json.loads(holdfast(home, "run", "--json", "say it").stdout)
    target = home.parent / "bundle.zip"
    holdfast(home, "task", "bundle", task["short"], str(target))
    with zipfile.ZipFile(target) as bundle:
        kept = bundle.read("output.md").decode()
    assert kept == task["answer"] == "naïve\n\n  café ☕"


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_four_processes_that_speak_in_one_session_lose_no_word(home: Path) -> None:
    """Row OC-74."""
    script = (
        "import sys, pathlib; from tests.e2e.at_home import ask\n"
        "home, who, folder = sys.argv[1:]\n"
        "for number in range(25):\n"
        "    said = {'prompt': f'say {who}-{number}', 'session': 'shared'}\n"
        "    body = {**said, 'workspace': folder}\n"
        "    ask(pathlib.Path(home) / 'run' / 'holdfast.sock', 'POST', '/api/v1/tasks', body)\n"
    )
    where = {**ENVIRONMENT, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with ModelServer(default=Reply(text="heard")) as server:
        (home / "config.toml").write_text(CONFIG.format(url=server.url))
        assert holdfast(home, "serve", "--detach").returncode == 0
        told = [str(home), str(files(home))]
        running = [
            subprocess.Popen([sys.executable, "-c", script, told[0], who, told[1]], env=where)
            for who in "abcd"
        ]
        assert [one.wait(60) for one in running] == [0, 0, 0, 0]
        until(lambda: all(row["status"] == "SUCCEEDED" for row in _of_session(home)), 90)
    titles = [row["title"] for row in reversed(_of_session(home))]
    assert len(titles) == 100
    for who in "abcd":  # the words of each in the order in which it said them
        mine = [title for title in titles if title.startswith(f"say {who}-")]
        assert mine == [f"say {who}-{number}" for number in range(25)]


def _of_session(home: Path) -> list[dict[str, Any]]:
    page = ask(home / "run" / "holdfast.sock", "GET", "/api/v1/tasks?session=shared&limit=200")
    return page["tasks"]
