"""Connecting providers through the front door: hot, private, and never shown."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from holdfast.testing.daemon import Daemon, stage
from holdfast.testing.model_server import Catalogue, ModelServer, Reply
from tests.e2e.at_home import holdfast

KEY = "sk-canary-0123456789abcdef"


@pytest.fixture
def home() -> Generator[Path]:
    with stage("connect") as place:
        yield place / "home"


@pytest.fixture
def lab() -> Generator[ModelServer]:
    with ModelServer(default=Reply(text="Hello."), catalogue=Catalogue(models=("m1", "m2"))) as it:
        yield it


def connect(home: Path, *words: str, key: str = KEY) -> Any:
    piped, pipe = os.pipe()
    os.write(pipe, key.encode())
    os.close(pipe)
    try:
        return holdfast(home, *words, stdin=piped)
    finally:
        os.close(piped)


def files_with(word: str, folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and word.encode() in path.read_bytes()
    }


def test_a_saved_key_counts_at_once_and_after_a_restart(home: Path, lab: ModelServer):
    """Part of row OK-80."""
    with Daemon(home, {"OPENAI_BASE_URL": f"{lab.url}/v1"}) as daemon:
        daemon.start()
        assert daemon.get("/api/v1/models")["default"].startswith("openai/"), "an address is enough"
    with Daemon(home, {"ANTHROPIC_BASE_URL": lab.url}) as daemon:
        daemon.start()
        assert daemon.get("/api/v1/models")["default"] == "offline/rules"
        said = connect(home, "connect", "anthropic", "--stdin")
        assert said.returncode == 0, said.stderr
        assert "anthropic: connected, from saved key" in said.stdout
        assert daemon.get("/api/v1/models")["default"].startswith("anthropic/")
        done = holdfast(home, "run", "say hello")
        assert done.stdout.strip() == "Hello."
        assert lab.requests[-1].headers["authorization"] == f"Bearer {KEY}"
        daemon.stop()
        daemon.start()
        line = "Found: anthropic (from saved key). Using: anthropic/"
        assert daemon.get("/api/v1/status")["model"].startswith(line)
        assert KEY not in f"{said}{done}{daemon.said()}"
    assert files_with(KEY, home) == set(), "where it is kept it is sealed"
    kept = home / "vault" / "provider~anthropic~api_key"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_the_environment_goes_before_a_saved_key_and_is_said(home: Path, lab: ModelServer):
    with Daemon(home, {"OPENAI_BASE_URL": f"{lab.url}/v1", "OPENAI_API_KEY": "sk-env"}) as daemon:
        daemon.start()
        said = connect(home, "connect", "openai", "--stdin", "--json")
        made = json.loads(said.stdout)
        assert (made["source"], made["also"]) == ("OPENAI_API_KEY", ["saved key"])
        assert "OPENAI_API_KEY goes before it" in made["note"]
        listed = holdfast(home, "connect")
        assert "openai" in listed.stdout
        assert "OPENAI_API_KEY" in listed.stdout
        assert "can be connected: anthropic" in listed.stderr
        assert "sk-env" not in f"{said}{listed}{daemon.get('/api/v1/connections')}"


def test_a_server_of_ones_own_is_added_used_replaced_and_forgotten(home: Path, lab: ModelServer):
    """Row OK-90."""
    with Daemon(home) as daemon:
        daemon.start()
        said = connect(home, "connect", "lab", "--url", f"{lab.url}/v1/", "--stdin")
        assert said.returncode == 0, said.stderr
        assert "lab: connected, from saved server; use it as lab/m1" in said.stdout
        assert holdfast(home, "run", "-m", "lab/m2", "hello").stdout.strip() == "Hello."
        assert lab.requests[-1].headers["authorization"] == f"Bearer {KEY}"
        said = connect(
            home, "connect", "lab", "--url", f"{lab.url}/v1", "--model", "mine", "--stdin", key=""
        )
        assert "use it as lab/mine" in said.stdout
        holdfast(home, "run", "-m", "lab", "hello")
        assert KEY not in str(lab.requests[-1].headers), "the old key was for the old server"
        for name in ("openai", "Lab", "../x", "a b"):
            refused = connect(home, "connect", name, "--url", f"{lab.url}/v1", "--stdin")
            assert refused.returncode == 2, refused
        gone = holdfast(home, "disconnect", "lab")
        assert gone.stdout == "lab: forgot its server\n"
        assert holdfast(home, "disconnect", "lab").stdout == "lab: nothing of it was saved\n"
        assert daemon.get("/api/v1/connections")["connections"] == []


def test_a_configured_provider_takes_a_saved_key(home: Path, lab: ModelServer):
    """Row OC-13: the variable, then the saved key, then the one in the file."""
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text(
        f'[models.providers.lab]\nbase_url = "{lab.url}/v1"\nmodels = ["m1"]\n'
        'api_key_env = "LAB_KEY"\napi_key = "from-the-file"\n'
    )
    (home / "config.toml").chmod(0o600)
    used: list[str] = []
    for environment in ({}, {"LAB_KEY": "from-a-variable"}):
        with Daemon(home, environment) as daemon:
            daemon.start()
            for _ in range(2):
                holdfast(home, "run", "-m", "lab/m1", "hello")
                used.append(lab.requests[-1].headers["authorization"].removeprefix("Bearer "))
                if not environment and len(used) == 1:
                    connect(home, "connect", "lab", "--stdin", key="saved")
    assert used == ["from-the-file", "saved", "from-a-variable", "from-a-variable"]


@pytest.mark.parametrize(
    ("words", "key", "says"),
    [
        (("connect", "opnai", "--stdin"), KEY, "there is no provider opnai"),
        (("connect", "anthropic", "--stdin"), "", "the key is empty"),
        (("connect", "anthropic", "--stdin"), "two words", "that is not a key"),
        (("connect", "anthropic"), KEY, "a key can only be typed at a terminal"),
        (("connect", "lab", "--url", "lab:80", "--stdin"), KEY, "not the address of a server"),
        (("connect", "lab", "--url", "http://u:p@h/v1", "--stdin"), KEY, "may not carry a secret"),
        (("connect", "openai", "--model", "x", "--stdin"), KEY, "--model is for a server"),
        (("connect", "lab", "--url", "http://127.0.0.1:9/v1", "--stdin"), KEY, "cannot be reached"),
        (("connect", "--stdin"), KEY, "name the provider"),
    ],
)
def test_what_cannot_be_connected_is_said_and_nothing_is_kept(
    words: tuple[str, ...], key: str, says: str, home: Path
):
    with Daemon(home) as daemon:
        daemon.start()
        said = connect(home, *words, key=key)
        assert said.returncode in {2, 4}
        assert says in said.stderr
        assert daemon.get("/api/v1/connections")["connections"] == []
    assert not files_with(KEY, home)


def test_a_key_is_tried_first_unless_that_is_left_out(home: Path):
    with ModelServer(catalogue=Catalogue(models=("m",))) as server:
        nobody = f"{server.url}/nowhere"
        with Daemon(home) as daemon:
            daemon.start()
            refused = connect(home, "connect", "lab", "--url", nobody, "--stdin")
            assert "nothing that lists models answers" in refused.stderr
            kept = connect(home, "connect", "lab", "--url", nobody, "--stdin", "--no-check")
            assert kept.returncode == 0, kept.stderr
            assert daemon.get("/api/v1/connections")["connections"][0]["name"] == "lab"


def test_a_key_for_a_provider_whose_address_nobody_knows_is_not_saved(home: Path):
    with Daemon(home) as daemon:
        daemon.start()
        for name, variable in (("azure", "AZURE_OPENAI_ENDPOINT"), ("custom", "CUSTOM_BASE_URL")):
            said = connect(home, "connect", name, "--stdin", "--no-check")
            assert said.returncode == 2, said.stderr
            assert variable in said.stderr
        assert files_with(KEY, home) == set()
        said = connect(home, "connect", "bedrock", "--stdin")
        assert said.returncode == 0, "Bedrock has no list of models to try a key with"
