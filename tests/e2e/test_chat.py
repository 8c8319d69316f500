"""A bridge and its daemon: what was said is kept, whatever becomes of the daemon."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from holdfast.testing.daemon import Answered, Daemon

from .at_home import ENVIRONMENT, files, holdfast, until

CONFIG = """\
[chat]
enabled = true
users = ["*"]
"""


class Bridge:
    """Brings what people say, with a key of its own."""

    def __init__(self, daemon: Daemon, key: str) -> None:
        self._daemon, self._key = daemon, key

    def _ask(self, path: str, body: Any = None, **headers: str) -> Any:
        (url,) = [one for one in self._daemon.get("/api/v1/status")["listening"] if "http" in one]
        bearer = {"Authorization": f"Bearer {self._key}", **headers}
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(f"{url}/api/v1/chat{path}", data, bearer)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return json.load(answer)

    def says(self, text: str, key: str = "") -> Any:
        headers = {"Idempotency-Key": key} if key else {}
        return self._ask("", {"sender": "ann", "room": "hall", "text": text}, **headers)

    def told(self, task: str) -> Any:
        return self._ask(f"/{task}?wait=30")


def test_a_conversation_outlives_its_daemon(tmp_path: Path):
    """Killed with SIGKILL after each word: no message is taken twice, the conversation and the
    question that waits are the same, and the answer of who is asked reaches it."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text(CONFIG)
    around = {"HOLDFAST_SERVER_HTTP": "true", "HOLDFAST_SERVER_PORT": "0"}
    with Daemon(home, {**ENVIRONMENT, **around}) as daemon:
        daemon.start()
        made = daemon.post("/api/v1/keys", {"name": "matrix", "scopes": ["relay"]})
        bridge = Bridge(daemon, made["key"])
        first = bridge.says("hello", key="1")
        daemon.kill()
        daemon.start()
        assert bridge.says("hello", key="1")["task"] == first["task"]
        assert bridge.told(first["task"])["status"] == "SUCCEEDED"
        asking = bridge.says('/tool ask_person {"question": "Which file?"}')
        assert asking["session"] == first["session"]
        assert bridge.told(asking["task"])["question"] == "Which file?"
        daemon.kill()
        daemon.start()
        assert bridge.says("notes.txt", key="2")["task"] == asking["task"]
        daemon.kill()
        daemon.start()
        assert bridge.says("notes.txt", key="2")["task"] == asking["task"]
        assert bridge.told(asking["task"])["ended"]
        listed = bridge.says("/chats")["reply"]
        assert (listed.count("\n"), listed[0]) == (0, "*")
        new = bridge.says("/new")["session"]
        daemon.kill()
        daemon.start()
        assert bridge.says("again")["session"] == new
        folders = [one.name for one in (home / "workspace" / "chats").iterdir()]
        assert len(folders) == 1
        assert len(daemon.get("/api/v1/tasks")["tasks"]) == 3


def test_a_chat_is_opened_while_the_daemon_runs(tmp_path: Path):
    """Part of row OC-77."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text(CONFIG.replace("true", "false"))
    around = {"HOLDFAST_SERVER_HTTP": "true", "HOLDFAST_SERVER_PORT": "0"}
    said = {"sender": "ann", "room": "hall", "text": "/help"}
    with Daemon(home, {**ENVIRONMENT, **around}) as daemon:
        daemon.start()
        with pytest.raises(Answered) as refused:
            daemon.post("/api/v1/chat", said)
        assert refused.value.status == 404
        (home / "config.toml").write_text(CONFIG)
        before = daemon.get("/api/v1/status")["config"]
        until(lambda: daemon.get("/api/v1/status")["config"] != before)
        assert "/resume ID" in daemon.post("/api/v1/chat", said)["reply"]


def test_the_command_line_has_the_same_commands(tmp_path: Path):
    """Row OC-73."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    lines = "first\n/new\nsecond\n/chats\n/resume SHORT\nthird\n/agents\n/help\n/what\n"
    try:
        begun = _chat(home, "first\n", "--session", "chat-one")
        assert begun.returncode == 0, begun.stderr
        told = _chat(home, lines.replace("SHORT", "one"), "--session", "chat-one")
        assert told.returncode == 0, told.stderr
        for said in (
            "A new conversation:",
            "Going on with one: first",
            "There is no /what",
            "/new",
        ):
            assert said in told.stderr
        rows = json.loads(holdfast(home, "session", "list", "--json").stdout)["sessions"]
        assert {row["id"] == "chat-one": row["tasks"] for row in rows} == {True: 3, False: 1}
    finally:
        holdfast(home, "serve", "stop")


def _chat(home: Path, lines: str, *words: str) -> subprocess.CompletedProcess[str]:
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
