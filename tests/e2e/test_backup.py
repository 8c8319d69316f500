"""A home restored from its backup says in every listing what the old one said."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.assembly.home import BACKED_UP, NOT_BACKED_UP, prepare
from holdfast.testing.model_server import ModelServer, Reply

from .at_home import answers, ask, daemon, files, holdfast, until

CONFIG = """\
[models]
default = "lab/scripted"

[models.providers.lab]
kind = "openai"
base_url = "{url}/v1"
models = ["scripted"]

[chat]
enabled = true
users = ["*"]
"""
PATHS = (
    *("/api/v1/tasks", "/api/v1/sessions", "/api/v1/keys", "/api/v1/trust", "/api/v1/webhooks"),
    *("/api/v1/policy/leases", "/api/v1/costs", "/api/v1/budgets", "/api/v1/egress"),
    *("/api/v1/peers", "/api/v1/mcp", "/api/v1/approvals", "/api/v1/connections"),
)


@pytest.fixture
def homes(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    old, new = tmp_path / "old", tmp_path / "new"
    for place in (old, new):
        place.mkdir(mode=0o700)
    (files(old) / "a.txt").write_text("one two")
    yield old, new
    for place in (old, new):
        holdfast(place, "serve", "stop")


def told(home: Path) -> dict[str, Any]:
    """What every listing says."""
    socket = home / "run" / "holdfast.sock"
    return {path: ask(socket, "GET", path) for path in PATHS}


def blobs(home: Path) -> set[str]:
    return {path.parent.name + path.name for path in (home / "blobs").glob("??/*")}


def test_a_fresh_home_has_after_a_restore_all_that_the_old_one_listed(
    homes: tuple[Path, Path],
) -> None:
    old, new = homes
    with ModelServer([Reply(text="seven")] * 9) as server:
        for home in homes:
            (home / "config.toml").write_text(CONFIG.format(url=server.url))
            (home / "policy.toml").write_text('[domain.mail]\ntools = ["write"]\n')
        socket = old / "run" / "holdfast.sock"
        with daemon(old):
            until(lambda: answers(socket))
            picture = {"name": "a.png", "media_type": "image/png", "data": "iVBORw0KGgo="}
            row = {"prompt": "what is it?", "workspace": str(files(old)), "session": "talk"}
            task = ask(socket, "POST", "/api/v1/tasks", {**row, "files": [picture]})
            until(lambda: _over(socket, task["id"]))
            key = {"name": "ci", "scopes": ["tasks.read"]}
            ask(socket, "POST", "/api/v1/keys", key)
            ask(socket, "POST", "/api/v1/trust/grant", {"domain": "mail", "level": "high"})
            hook = {"name": "there", "url": "https://hook.example/x", "events": ["task.failed"]}
            ask(socket, "POST", "/api/v1/webhooks", hook)
            said = {"model": "lab/scripted", "input": "hello"}
            kept = ask(socket, "POST", "/v1/responses", said)["id"]
            word = {"sender": "ann", "room": "lobby", "text": "/new"}
            place = ask(socket, "POST", "/api/v1/chat", word)["session"]
            target = old.parent / "copy.bak"
            done = ask(socket, "POST", "/api/v1/backup", {"to": str(target)})
            assert done["path"] == str(target)
            before = told(old)
        restored = holdfast(new, "restore", "--json", str(target))
        assert restored.returncode == 0, restored.stderr
        report = json.loads(restored.stdout)
        assert report["stayed"] == []
        assert "config.toml" in report["not_in_it"]
        socket = new / "run" / "holdfast.sock"
        with daemon(new):
            until(lambda: answers(socket))
            after = told(new)
            again = ask(socket, "GET", f"/v1/responses/{kept}")
            chats = ask(socket, "POST", "/api/v1/chat", {**word, "text": "/chats"})
        assert len(before["/api/v1/keys"]["keys"]) == 1
        assert len(before["/api/v1/webhooks"]["webhooks"]) == 1
        assert before["/api/v1/trust"]["domains"][0]["level"] == "high"
        for path in PATHS:
            assert after[path] == before[path], path
        assert again["id"] == kept
        assert chats["session"] == place
        assert blobs(new) == blobs(old) != set()
        with sqlite3.connect(new / "holdfast.db") as journal:
            found = journal.execute("SELECT name FROM sqlite_schema WHERE name = 'beside'")
            assert found.fetchall() == []


def test_every_folder_of_a_home_is_in_a_backup_or_is_said_not_to_be(tmp_path: Path) -> None:
    """What only this machine needs is neither. A name that is there twice would be packed twice."""
    prepare(home := tmp_path / "home")
    passing = {"run", "logs", "cache", "backups", "mcp"}
    found = {path.name for path in home.iterdir() if path.is_dir()}
    assert found - passing <= {*BACKED_UP, *NOT_BACKED_UP}
    names = (*BACKED_UP, *NOT_BACKED_UP)
    assert sorted(set(names)) == sorted(names)


def _over(socket: Path, task: str) -> bool:
    return ask(socket, "GET", f"/api/v1/tasks/{task}")["status"] == "SUCCEEDED"


def test_what_was_taken_back_since_does_not_come_back(homes: tuple[Path, Path]) -> None:
    """The home knows better than its backup who may come in."""
    old, _ = homes
    socket = old / "run" / "holdfast.sock"
    target = old.parent / "copy.bak"
    with daemon(old):
        until(lambda: answers(socket))
        ask(socket, "POST", "/api/v1/keys", {"name": "ci", "scopes": ["tasks.read"]})
        ask(socket, "POST", "/api/v1/backup", {"to": str(target)})
        ask(socket, "POST", "/api/v1/keys/ci/revoke")
    done = holdfast(old, "restore", str(target))
    assert done.returncode == 0, done.stderr
    assert "keys.json is another one than the backup's, and stays" in done.stdout
    with daemon(old):
        until(lambda: answers(socket))
        (row,) = ask(socket, "GET", "/api/v1/keys")["keys"]
    assert row["state"] == "revoked"


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "config.toml", "blobs/../../evil", "x"])
def test_a_backup_that_somebody_wrote_into_puts_nothing_elsewhere(
    homes: tuple[Path, Path], name: str
) -> None:
    old, new = homes
    socket, target = old / "run" / "holdfast.sock", old.parent / "copy.bak"
    with daemon(old):
        until(lambda: answers(socket))
        ask(socket, "POST", "/api/v1/backup", {"to": str(target)})
    with sqlite3.connect(target) as backup:
        backup.execute("INSERT INTO beside VALUES (?, ?)", (name, b"evil"))
    done = holdfast(new, "restore", str(target))
    assert done.returncode != 0
    assert "which no backup of Holdfast does" in done.stderr
    assert not (new / "holdfast.db").exists()
    assert not (new.parent / "evil").exists()
