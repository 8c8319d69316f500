"""Failover and switching models through a real daemon, by the command line."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from holdfast.testing.model_server import ModelServer, RecordedRequest, Reply
from tests.e2e.at_home import holdfast, until

CONFIG = """
[models]
default = "{default}"
detect_local = false
cooldown_seconds = 600

[models.fallback]
"one/a" = ["two/b"]

[models.roles.small]
model = "two/small"

[models.providers.one]
kind = "openai"
base_url = "{one}/v1"
models = ["a"]

[models.providers.two]
kind = "openai"
base_url = "{two}/v1"
models = ["b"]
"""


class User:
    """Somebody with two providers and a command line."""

    def __init__(self, home: Path, one: ModelServer, two: ModelServer) -> None:
        self.home, self.one, self.two = home, one, two

    def writes(self, default: str) -> None:
        text = CONFIG.format(default=default, one=self.one.url, two=self.two.url)
        fresh = self.home / "config.toml.new"
        fresh.write_text(text)
        fresh.replace(self.home / "config.toml")

    def runs(self, *words: str) -> tuple[str, str]:
        done = holdfast(self.home, *words, HOLDFAST_MODEL="")
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    def asks(self, *words: str) -> Any:
        return json.loads(self.runs(*words, "--json")[0])


@pytest.fixture
def user(tmp_path: Path) -> Generator[User]:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    with ModelServer(rule=says("one")) as one, ModelServer(rule=says("two")) as two:
        person = User(home, one, two)
        person.writes("one/a")
        yield person
        holdfast(home, "serve", "stop")


def says(name: str) -> Any:
    def rule(request: RecordedRequest) -> Reply:
        if "break off" in request.last_text and name == "one":
            return Reply(text="This will never be whole.", chunks=6, cut=3)
        return Reply(text=f"{name} answers as {request.model}")

    return rule


def test_a_reply_that_breaks_off_comes_whole_from_the_fallback_and_the_task_tells_why(user: User):
    """Row OL-34. Part of rows OL-33, GC-34."""
    answer, told = user.runs("run", "break off")
    assert answer == "two answers as b\n"
    assert "one/a incomplete after" in told
    assert "two/b answered after" in told
    task = user.asks("task", "list")["tasks"][0]["id"]
    shown, _ = user.runs("task", "show", task)
    assert "turn 1     one/a incomplete after" in shown
    assert user.asks("task", "replay", task)["same"] is True
    first, second = user.asks("model", "health")["models"]
    assert (first["model"], first["available"], first["last_code"]) == (
        "one/a",
        False,
        "incomplete",
    )
    assert 500 < first["cooldown_remaining"] <= 600
    assert (second["model"], second["success_count"]) == ("two/b", 1)
    # It is remembered: another daemon leaves it alone, too.
    user.runs("serve", "restart")
    assert user.runs("run", "hello")[0] == "two answers as b\n"
    assert len(user.one.requests) == 1


def test_another_model_counts_from_the_next_task_without_a_restart(user: User):
    """Row GC-35. Part of row OK-85."""
    assert user.runs("run", "--session", "s", "hello")[0] == "one answers as a\n"
    before = user.asks("status")
    user.writes("two/b")
    until(lambda: user.asks("status")["config"] != before["config"])
    assert user.runs("run", "--session", "s", "and now")[0] == "two answers as b\n"
    words = json.dumps(user.two.requests[-1].messages)
    assert "one answers as a" in words, "the session goes on"
    assert user.asks("status")["pid"] == before["pid"]
    assert user.runs("run", "-m", "@small", "hello")[0] == "two answers as small\n"
    assert user.runs("model", "ask", "-m", "@small", "hello")[0] == "two answers as small\n"
    (user.home / "config.toml").write_text("[models.providers.one]\nbase_url = 'x'\n")
    until(lambda: bool(user.asks("status")["config_problem"]))
    assert user.runs("run", "hello")[0] == "two answers as b\n", "the last good one stays"
