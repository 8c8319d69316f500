"""The daemon over time: a changed configuration, old tasks, logs, bundles."""

from __future__ import annotations

import io
import json
import socket as sockets
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.testing.model_server import ModelServer, Reply, ScriptedCall

from .at_home import ENVIRONMENT, answers, ask, daemon, files, holdfast, served, until

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
    (files(place) / "a.txt").write_text("one two")
    yield place
    holdfast(place, "serve", "stop")


def log(home: Path) -> list[dict[str, Any]]:
    text = (home / "logs" / "holdfast.log").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_a_changed_configuration_is_taken_over_and_a_bad_one_changes_nothing(home: Path) -> None:
    """Row GC-87."""
    config, socket = home / "config.toml", home / "run" / "holdfast.sock"
    with daemon(home):
        until(lambda: answers(socket))
        first = ask(socket, "GET", "/api/v1/status")["policy"]
        config.write_text('[policy]\npreset = "read-only"\n')
        until(lambda: ask(socket, "GET", "/api/v1/status")["policy"] != first)
        second = ask(socket, "GET", "/api/v1/status")
        config.write_text('[policy]\npreset = "yolo"\n')
        until(lambda: bool(ask(socket, "GET", "/api/v1/status")["config_problem"]))
        third = ask(socket, "GET", "/api/v1/status")
        assert third["policy"] == second["policy"]
        assert "yolo" in third["config_problem"]
        config.write_text("")
        until(lambda: ask(socket, "GET", "/api/v1/status")["policy"] == first)
        assert not ask(socket, "GET", "/api/v1/status")["config_problem"]


def test_tasks_older_than_wanted_are_deleted_and_newer_ones_kept(home: Path) -> None:
    """Row GC-25."""
    assert holdfast(home, "run", "how many words are in a.txt?").returncode == 0
    holdfast(home, "serve", "stop")
    socket = home / "run" / "holdfast.sock"
    for _ in range(2):
        with daemon(home, "faketime", "-f", "+3d", HOLDFAST_STORAGE_KEEP_DAYS="1"):
            until(lambda: answers(socket))
            until(lambda: ask(socket, "GET", "/api/v1/tasks")["tasks"] == [])
    with daemon(home, HOLDFAST_STORAGE_KEEP_DAYS="1"):
        until(lambda: answers(socket))
        assert holdfast(home, "run", "how many words are in a.txt?").returncode == 0
    with daemon(home, HOLDFAST_STORAGE_KEEP_DAYS="1"):
        until(lambda: answers(socket))
        assert len(ask(socket, "GET", "/api/v1/tasks")["tasks"]) == 1


def test_a_history_that_is_too_large_loses_its_oldest_tasks_first(home: Path) -> None:
    """Row OK-148."""
    long = home.parent / "long.txt"
    long.write_text("word " * 100_000)
    for number in range(8):
        with long.open("rb") as stdin:
            done = holdfast(home, "run", f"compute {number} + 1", stdin=stdin)
        assert done.returncode in {0, 1}, done.stderr
    everything = json.loads(holdfast(home, "task", "list", "--json").stdout)["tasks"]
    assert len(everything) == 8
    holdfast(home, "serve", "stop")
    socket = home / "run" / "holdfast.sock"
    with daemon(home, HOLDFAST_STORAGE_MAX_MB="2"):
        until(lambda: answers(socket))
        until(lambda: len(ask(socket, "GET", "/api/v1/tasks")["tasks"]) < 8)
        left = [task["id"] for task in ask(socket, "GET", "/api/v1/tasks")["tasks"]]
    ids = [task["id"] for task in everything]
    assert left == ids[: len(left)]


def test_a_bundle_holds_everything_about_a_task_also_what_was_refused(home: Path) -> None:
    """Rows GC-28, OC-64, OC-65."""
    script = [
        Reply(
            thinking="let me see",
            calls=(
                ScriptedCall(name="read", arguments={"path": "a.txt"}),
                ScriptedCall(name="exec", arguments={"command": "touch made"}),
            ),
        ),
        Reply(text="I may not."),
    ]
    with ModelServer(script) as server:
        (home / "config.toml").write_text(CONFIG.format(url=server.url))
        task = json.loads(holdfast(home, "run", "--json", "make a file").stdout)
        target = home.parent / "bundle.zip"
        done = holdfast(home, "task", "bundle", task["short"], str(target))
    assert done.returncode == 0, done.stderr
    assert target.stat().st_mode & 0o077 == 0
    with zipfile.ZipFile(io.BytesIO(target.read_bytes())) as bundle:
        files = {name: bundle.read(name).decode() for name in bundle.namelist()}
    meta = json.loads(files["meta.json"])
    assert meta["bundle_version"] == 1
    assert meta["models"] == ["lab/scripted"]
    assert meta["duration_ms"] >= 0
    assert files["output.md"] == "I may not."
    assert json.loads(files["input.json"])["prompt"] == "make a file"
    read, run = [json.loads(line) for line in files["toolcalls.jsonl"].splitlines()]
    assert read["outcome"]["type"] == "returned"
    assert read["duration_ms"] >= 0
    assert run["verdict"]["type"] == "deny"
    assert run["outcome"]["type"] == "refused"
    kinds = [json.loads(line)["kind"] for line in files["events.jsonl"].splitlines()]
    assert kinds[0] == "Submitted"
    assert kinds[-1] == "Finished"
    assert "let me see" in files["events.jsonl"]
    assert "touch made" in files["transcript.md"]


def test_a_bundle_of_a_failed_task_is_as_complete(home: Path) -> None:
    done = holdfast(home, "run", "--json", "write me a poem about the sea")
    assert done.returncode == 1
    task = json.loads(done.stdout)
    target = home.parent / "bundle.zip"
    assert holdfast(home, "task", "bundle", task["short"], str(target)).returncode == 0
    with zipfile.ZipFile(target) as bundle:
        meta = json.loads(bundle.read("meta.json"))
    assert meta["fault"]["code"] == "needs_model"


def test_the_log_is_json_with_task_ids_and_no_key(home: Path) -> None:
    """Rows GC-88, OK-104."""
    canary = "sk-canary-0123456789abcdef"
    failing = [Reply(status=401, text=f"bad key {canary}") for _ in range(5)]
    with ModelServer(failing) as server:
        text = CONFIG.format(url=server.url) + 'api_key_env = "LAB_KEY"\n'
        (home / "config.toml").write_text(text)
        with daemon(home, HOLDFAST_LOG_LEVEL="debug", LAB_KEY=canary):
            until(lambda: answers(home / "run" / "holdfast.sock"))
            done = holdfast(home, "run", "--json", "hello")
            assert done.returncode == 1
            task = json.loads(done.stdout)
    lines = log(home)
    assert {"at", "level", "component", "message"} <= set(lines[0])
    assert any(line["level"] == "debug" for line in lines)
    assert any(line.get("task") == task["id"] for line in lines), lines
    assert canary not in (home / "logs" / "holdfast.log").read_text("utf-8")
    assert canary.encode() not in (home / "holdfast.db").read_bytes()


def test_a_start_that_fails_leaves_one_line_with_its_code_and_a_way_out(home: Path) -> None:
    """Rows GC-85, GC-86."""
    with sockets.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with daemon(home, HOLDFAST_SERVER_PORT=str(port)) as running:
            _, said = running.communicate(timeout=30)
    assert running.returncode == 4
    assert "lsof" in said
    assert [line["code"] for line in log(home) if "code" in line] == ["port_in_use"]
    (home / "config.toml").write_text("[engine]\nlanes = -1\n")
    status, said = served(home)
    assert status == 2
    assert "config.toml:2" in said
    assert ENVIRONMENT["HOLDFAST_SERVER_PORT"] == "0"


def test_a_fresh_home_has_all_its_files_and_the_token_is_private(home: Path) -> None:
    """Row GC-83."""
    assert holdfast(home, "status").returncode == 0
    token = home / "token"
    assert token.stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o777 == 0o700
    for name in ("holdfast.db", "logs", "blobs", "outputs", "outbox", "backups", "workspace"):
        assert (home / name).exists(), name
