"""Asking a model straight, from the command line to the provider."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import pytest

from holdfast.testing.daemon import Daemon, stage, use_model
from holdfast.testing.model_server import Catalogue, ModelServer, Reply
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
        assert daemon.get("/api/v1/tasks")["tasks"] == []
        wrong = holdfast(home, "model", "ask", "--json", "say hello")
        assert (wrong.returncode, json.loads(wrong.stdout)["error"]["code"]) == (4, "auth")


def test_a_server_is_asked_for_its_models_once_an_hour_and_one_is_chosen_for_good(home: Path):
    """Part of rows OK-82, OK-83."""
    with ModelServer(default=Reply(text="Hello."), catalogue=Catalogue(models=("m1", "m2"))) as lab:
        home.mkdir()
        text = f'[models.providers.lab]\nkind = "openai"\nbase_url = "{lab.url}/v1"\n'
        (home / "config.toml").write_text(text)
        with Daemon(home) as daemon:
            daemon.start()
            assert holdfast(home, "run", "say hello").stdout == "Hello.\n"
            assert lab.requests[-1].model == "m1"
            chosen = holdfast(home, "model", "set", "M2")
            assert (chosen.returncode, chosen.stdout) == (0, "lab/m2\n"), chosen.stderr
            said = holdfast(home, "run", "say hello")
            assert (said.stdout, lab.requests[-1].model) == ("Hello.\n", "m2")
            wrong = holdfast(home, "run", "-m", "lab/m3", "say hello")
            assert wrong.returncode == 2
            assert "not found in lab (2 models available)" in wrong.stderr
            daemon.stop()
            daemon.start()
            said = holdfast(home, "run", "-m", "lab/M1", "say hello")
            assert (said.stdout, lab.requests[-1].model) == ("Hello.\n", "m1")
            assert "lab/m1 answers" in said.stderr
            holdfast(home, "run", "say hello")
            assert lab.requests[-1].model == "m2", "the choice is still there"
            assert len(lab.probes) == 1
            assert "lab/m2" in holdfast(home, "model", "refresh", "m2").stdout
            assert len(lab.probes) == 2
