"""Secrets at home: what lets the daemon start, what does not, and what a kill leaves."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path

import pytest

from holdfast.adapters.vaults.files import FileVault
from holdfast.testing.daemon import Daemon, stage
from holdfast.testing.model_script import RecordedRequest
from holdfast.testing.model_server import Catalogue, ModelServer, Reply, ScriptedCall
from tests.e2e.at_home import holdfast, served

VALUE = "canary-0123456789"
PASSPHRASE = "a long passphrase"


@pytest.fixture
def home() -> Generator[Path]:
    with stage("vault") as place:
        (place / "home").mkdir(mode=0o700)
        yield place / "home"


def test_a_sealed_vault_without_its_passphrase_does_not_let_the_daemon_start(home: Path):
    vault = FileVault(home / "vault")
    vault.put("provider/openai/api_key", VALUE)
    vault.seal("passphrase", PASSPHRASE)
    for more in ({}, {"HOLDFAST_VAULT_PASSPHRASE": "another passphrase"}):
        code, said = served(home, **more)
        assert code == 3
        assert "passphrase" in said
        assert "hint:" in said
        assert VALUE not in said
    with Daemon(home, {"HOLDFAST_VAULT_PASSPHRASE": PASSPHRASE}) as daemon:
        daemon.start()
        assert daemon.get("/api/v1/vault")["kept"] == "passphrase"
        assert "openai" in daemon.get("/api/v1/status")["model"]


def test_a_box_that_would_be_given_a_secret_does_not_let_the_daemon_start(home: Path):
    """Part of row KV-27."""
    FileVault(home / "vault").put("provider/openai/api_key", VALUE)
    for variable, said_of in (("GH_TOKEN", "x"), ("HARMLESS", f"a-{VALUE}")):
        (home / "config.toml").write_text(f'[box.environment]\n{variable} = "{said_of}"\n')
        code, said = served(home)
        assert code == 2
        assert f"box.environment: {variable} would give a secret" in said
        assert VALUE not in said


def test_what_was_kept_is_there_after_a_kill_and_the_environment_wins(home: Path):
    """Part of row OL-25."""
    with Daemon(home, {"HOLDFAST_SECRET_FROM_ENV": VALUE}) as daemon:
        daemon.start()
        daemon.post("/api/v1/secrets", {"name": "github", "value": VALUE, "grants": ["default"]})
        daemon.post("/api/v1/secrets/grant", {"name": "from_env", "agent": "crew-*"})
        before = daemon.get("/api/v1/secrets")
        daemon.kill()
        daemon.start()
        assert daemon.get("/api/v1/secrets") == before, "the same value changes nothing"
        daemon.stop()
    with Daemon(home, {"HOLDFAST_SECRET_FROM_ENV": f"new-{VALUE}"}) as daemon:
        daemon.start()
        rows = {row["name"]: row for row in daemon.get("/api/v1/secrets")["secrets"]}
        assert rows["from_env"]["terms"]["grants"] == ["crew-*"], "its terms stay"
        old = next(row for row in before["secrets"] if row["name"] == "from_env")
        assert rows["from_env"]["changed_at"] > old["changed_at"]


AWS = "AKIAIOSFODNN7EXAMPLE"
GITHUB = "ghp_" + "a1B2" * 9


def echoing(request: RecordedRequest) -> Reply:
    """A model that reads the file first, and then says every placeholder that it was shown."""
    shown = sorted(set(re.findall(r"<<[A-Z]+_[0-9a-f]{12}>>", repr(request.body))))
    if len(shown) > 1:
        return Reply(text=f"I saw {' and '.join(shown)}")
    return Reply(calls=(ScriptedCall(name="read", arguments={"path": "keys.txt"}),))


def test_what_looks_like_a_secret_reaches_no_model_and_the_person_sees_it(home: Path):
    """Part of row OK-106."""
    files = home.parent / "files"
    files.mkdir()
    (files / "keys.txt").write_text(f"token: {GITHUB}\n")
    with ModelServer(rule=echoing, catalogue=Catalogue(models=("m",))) as model:
        (home / "config.toml").write_text(
            f'[models.providers.lab]\nbase_url = "{model.url}/v1"\nmodels = ["m"]\n'
            "[vault]\nredact_patterns = true\n"
        )
        with Daemon(home) as daemon:
            daemon.start()
            done = holdfast(home, "run", "--yes", "-m", "lab/m", f"is {AWS} in keys.txt?")
            assert done.returncode == 0, done.stderr
            assert AWS in done.stdout
            assert GITHUB in done.stdout
        assert len(model.requests) >= 2
        assert not any(key in repr(one.body) for one in model.requests for key in (AWS, GITHUB))
