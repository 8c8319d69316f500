"""Asking a model straight, from the command line to the provider."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import pytest

from holdfast.testing.daemon import Daemon, stage, use_model
from holdfast.testing.model_server import ModelServer, Reply
from tests.e2e.at_home import holdfast


@pytest.fixture
def home() -> Generator[Path]:
    with stage("models") as place:
        yield place / "home"


def test_does_my_provider_work(home: Path):
    """Part of row OL-26."""
    with (
        ModelServer([Reply(text="Hello.", chunks=3), Reply(status=401)]) as lab,
        Daemon(home) as daemon,
    ):
        use_model(home, lab.url)
        daemon.start()
        said = holdfast(home, "model", "ask", "say", "hello")
        assert (said.returncode, said.stdout) == (0, "Hello.\n"), said.stderr
        assert "scripted/scripted, " in said.stderr
        assert len(lab.requests) == 1
        assert lab.requests[0].last_text == "say hello"
        assert daemon.get("/v1/tasks")["tasks"] == []
        wrong = holdfast(home, "model", "ask", "--json", "say hello")
        assert (wrong.returncode, json.loads(wrong.stdout)["error"]["code"]) == (4, "auth")
