"""The policy file in use: taken over while the daemon runs, and leases that outlive it."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from holdfast.testing.daemon import Daemon, stage, use_model
from holdfast.testing.model_script import Reply, ScriptedCall
from holdfast.testing.model_server import ModelServer
from tests.e2e.at_home import served

PATIENCE = 20.0
SHUT = '[[rule]]\nsay = "deny"\ntools = ["write"]\nreason = "shut"\n'


@pytest.fixture
def place() -> Generator[Path]:
    with stage("policy") as found:
        (found / "home").mkdir()
        (found / "files").mkdir()
        yield found


def until(true: Callable[[], Any]) -> Any:
    """What `true` finds, asked again and again. Fails after a while."""
    deadline = time.monotonic() + PATIENCE
    while not (found := true()):
        assert time.monotonic() < deadline
    return found


def test_a_changed_policy_counts_within_two_seconds_and_a_bad_one_never(place: Path):
    """Part of rows GC-89a, GC-89b, OL-21."""
    home = place / "home"
    asked = {"tool": "write", "words": ["a"]}

    with Daemon(home) as daemon:
        daemon.start()

        def verdict() -> str:
            return daemon.post("/api/v1/policy/explain", asked)["verdict"]["say"]

        first = daemon.get("/api/v1/policy")["version"]
        assert verdict() == "ask"
        (home / "policy.toml").write_text(SHUT)
        changed = time.monotonic()
        until(lambda: verdict() == "deny")
        assert time.monotonic() - changed < 2 + PATIENCE / 4
        second = daemon.get("/api/v1/policy")["version"]
        assert second != first
        (home / "policy.toml").write_text(SHUT + 'tolls = ["x"]\n')
        problem = until(lambda: daemon.get("/api/v1/status")["config_problem"])
        assert "policy.toml:5: policy.rule.1.tolls: unknown key; did you mean tools?" in problem
        assert daemon.get("/api/v1/policy")["version"] == second
        assert verdict() == "deny"
        (home / "policy.toml").unlink()
        until(lambda: not daemon.get("/api/v1/status")["config_problem"])
        assert daemon.get("/api/v1/policy")["version"] == first


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ('preset = "everything"', "policy.preset: expected one of"),
        ('[[rule]]\nsay = "allow"\neffects = ["foo.bar"]', "policy.rule.1.effects"),
        ('[[rule]]\nsay = "allow"\ncapabilities = ["x"]', "rule.1.capabilities: unknown key"),
        ('[[rule]]\nsay = "perhaps"', "policy.rule.1.say: expected one of"),
        ("[[rule]", "policy.toml"),
    ],
)
def test_with_a_policy_that_makes_no_sense_it_does_not_start(place: Path, policy: str, said: str):
    """Whatever a rule may be about has a fixed name, but for tools, which come and go with their
    servers: one that there is not allows nothing, and `policy show` doubts it. Row GC-89b."""
    (place / "home" / "policy.toml").write_text(policy)
    code, told = served(place / "home")
    assert code == 2
    assert said in told
    assert "Traceback" not in told


def test_a_lease_is_used_once_though_the_daemon_is_killed(place: Path):
    """Part of row OC-15."""
    home, files = place / "home", place / "files"
    write = ScriptedCall(name="write", arguments={"path": "made", "content": "yes"})
    script = [Reply(calls=(write,)), Reply(text="made"), Reply(calls=(write,)), Reply(text="again")]
    with ModelServer(script) as server:
        use_model(home, server.url)
        with Daemon(home) as daemon:
            daemon.start()
            terms = {"rule": "write:made", "scope": "all", "uses": 1, "seconds": 0}
            lease = daemon.post("/api/v1/policy/leases", terms)
            first = daemon.submit("make it", files, preset="ask")
            until(lambda: daemon.get(f"/api/v1/tasks/{first}")["status"] == "SUCCEEDED")
            daemon.kill()
            daemon.start()
            assert daemon.get("/api/v1/policy")["leases"] == []
            second = daemon.submit("make it again", files, preset="ask")
            until(lambda: daemon.get(f"/api/v1/tasks/{second}")["status"] == "WAITING")
            told = daemon.post("/api/v1/policy/explain", {"task": first})
    assert told["then"]["rule"].startswith(f"lease {lease['id']}")
    assert told["then"]["policy"] == told["policy"]
