"""A policy that is being written, is lost or cannot be noted widens nothing meanwhile."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from holdfast.config import load
from holdfast.core.error import Invalid
from holdfast.testing.daemon import Daemon, Gone, stage
from tests.e2e.at_home import until

STRICT = 'preset = "nothing"\n'
WIDER = 'preset = "open"\n'


@pytest.fixture
def daemon() -> Generator[Daemon]:
    with stage("policy") as place, Daemon(place / "home") as running:
        running.home.mkdir(mode=0o700)
        (running.home / "policy.toml").write_text(STRICT)
        yield running


def shown(daemon: Daemon) -> tuple[str, str]:
    """The preset in force, and what is wrong with the files."""
    told = daemon.get("/api/v1/policy")
    return told["preset"], told["problem"]


def test_an_emptied_policy_changes_nothing(daemon: Daemon):
    daemon.start()
    (daemon.home / "policy.toml").write_text("")
    until(lambda: shown(daemon)[1] != "")
    preset, problem = shown(daemon)
    assert preset == "nothing"
    assert "policy.toml: the file is empty" in problem
    (daemon.home / "policy.toml").write_text(WIDER)
    until(lambda: shown(daemon) == ("open", ""))


def test_nothing_begins_under_an_emptied_policy(daemon: Daemon):
    (daemon.home / "policy.toml").write_text(" \n")
    with pytest.raises(Gone, match="the file is empty"):
        daemon.start()


def test_a_policy_that_changes_while_the_daemon_starts_is_not_overlooked(
    daemon: Daemon, tmp_path: Path
):
    config = load(environment={"HOLDFAST_HOME": str(daemon.home)})
    (daemon.home / "policy.toml").write_text(WIDER)
    assert load(environment={"HOLDFAST_HOME": str(daemon.home)}).stamps != config.stamps


def test_the_empty_file_is_named_with_what_to_do(daemon: Daemon):
    (daemon.home / "policy.toml").write_text("")
    with pytest.raises(Invalid) as told:
        load(environment={"HOLDFAST_HOME": str(daemon.home)})
    assert "remove it" in told.value.hint
