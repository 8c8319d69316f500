"""Secrets at home: what lets the daemon start, what does not, and what a kill leaves."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from holdfast.adapters.vaults.files import FileVault
from holdfast.testing.daemon import Daemon, stage
from tests.e2e.at_home import served

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
        assert daemon.get("/v1/vault")["kept"] == "passphrase"
        assert "openai" in daemon.get("/v1/status")["model"]


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
        daemon.post("/v1/secrets", {"name": "github", "value": VALUE, "grants": ["default"]})
        daemon.post("/v1/secrets/grant", {"name": "from_env", "agent": "crew-*"})
        before = daemon.get("/v1/secrets")
        daemon.kill()
        daemon.start()
        assert daemon.get("/v1/secrets") == before, "the same value changes nothing"
        daemon.stop()
    with Daemon(home, {"HOLDFAST_SECRET_FROM_ENV": f"new-{VALUE}"}) as daemon:
        daemon.start()
        rows = {row["name"]: row for row in daemon.get("/v1/secrets")["secrets"]}
        assert rows["from_env"]["terms"]["grants"] == ["crew-*"], "its terms stay"
        old = next(row for row in before["secrets"] if row["name"] == "from_env")
        assert rows["from_env"]["changed_at"] > old["changed_at"]
