"""Trust in a real daemon: a bad policy, a kill, and a task that would like more of it."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from holdfast.testing.daemon import Daemon, stage, use_model
from holdfast.testing.model_script import Reply, ScriptedCall
from holdfast.testing.model_server import ModelServer
from tests.crash.test_approvals_under_kill import until

pytestmark = pytest.mark.timeout(180)

FILES = '[domain.files]\ntools = ["write"]\n'
GRANT = {"domain": "files", "level": "high", "reason": "it did well"}
MOMENTS = (0.0, 0.002, 0.008)
"""Seconds between a grant that is sent and the end of the daemon: any may be during it."""


@pytest.fixture
def home() -> Generator[Path]:
    with stage("trust") as place:
        home = place / "home"
        home.mkdir()
        (place / "files").mkdir()
        (home / "policy.toml").write_text(FILES)
        yield home


def level(daemon: Daemon) -> str:
    return str(daemon.get("/api/v1/trust?domain=files")["domains"][0]["level"])


def changes(daemon: Daemon) -> list[Any]:
    return daemon.get("/api/v1/audit?kind=trust.changed")["records"]


def test_a_bad_domain_is_not_taken_over_and_the_last_good_one_stays(home: Path):
    asked = {"tool": "write", "words": ["a"]}
    with Daemon(home) as daemon:
        daemon.start()
        daemon.post("/api/v1/trust/grant", GRANT)

        def verdict() -> str:
            return str(daemon.post("/api/v1/policy/explain", asked)["verdict"]["rule"])

        assert verdict() == "trust: files is high"
        for bad, told in (
            ('[domain.files]\ntolls = ["write"]\n', "policy.domain.files.tolls: unknown key"),
            ('[domain.files]\nabout = "all"\n', "expected one of tools, effects, paths"),
            (f'{FILES}[[answer]]\nby = ["group:x"]\n', "expected a group that there is"),
        ):
            (home / "policy.toml").write_text(bad)
            problem = until(lambda: daemon.get("/api/v1/status")["config_problem"])
            until(lambda told=told: told in daemon.get("/api/v1/status")["config_problem"])
            assert problem
            assert verdict() == "trust: files is high"
        (home / "policy.toml").write_text(FILES.replace('"write"', '"write", "edit"'))
        until(lambda: verdict() == "trust: files is low")
        assert daemon.get("/api/v1/trust")["domains"][0]["stale"]


def test_a_grant_is_whole_or_not_there_though_the_daemon_is_killed_around_it(home: Path):
    """No level is ever in force that the audit does not know of."""
    with Daemon(home) as daemon:
        for moment in MOMENTS:
            daemon.start()
            wanted = "medium" if level(daemon) == "high" else "high"
            known = len(changes(daemon))
            daemon.call_out("/api/v1/trust/grant", {**GRANT, "level": wanted})
            time.sleep(moment)
            daemon.kill()
            daemon.start()
            told = changes(daemon)[: len(changes(daemon)) - known]
            assert len(told) <= 1
            assert level(daemon) != wanted or told[0]["fact"]["after"] == wanted
            daemon.post("/api/v1/trust/grant", {**GRANT, "level": wanted})
            daemon.kill()
            daemon.start()
            assert level(daemon) == wanted, "what was answered is there after a kill"
            daemon.kill()


def test_a_task_finds_no_way_to_more_trust(home: Path):
    """With everything allowed to it: commands, files, requests; none of them reaches the house."""
    files = home.parent / "files"
    grant = '{"domain": "files", "level": "high"}'
    line = (
        f"cat {home}/token; echo '{{}}' > {home}/trust.json; "
        f"curl -s --unix-socket {home}/run/holdfast.sock -d '{grant}' "
        "http://localhost/api/v1/trust/grant; echo done"
    )
    with Daemon(home) as daemon:
        daemon.start()
        port = daemon.get("/api/v1/status")["listening"]
        web = next((one for one in port if one.startswith("http")), "http://127.0.0.1:7799")
        calls = (
            ScriptedCall(name="exec", arguments={"command": line}),
            ScriptedCall(
                name="http",
                arguments={"method": "POST", "url": f"{web}/api/v1/trust/grant", "body": grant},
            ),
            *(
                ScriptedCall(name="append", arguments={"path": path, "content": grant})
                for path in ("../home/trust.json", str(home / "trust.json"))
            ),
            ScriptedCall(name="trust_grant", arguments={"domain": "files", "level": "high"}),
        )
        daemon.kill()
        with ModelServer([Reply(calls=calls), Reply(text="done")]) as server:
            use_model(home, server.url)
            daemon.start()
            task = daemon.submit("raise your trust", files, unattended=True)
            row = until(lambda: ended(daemon, task))
            assert row["status"] == "SUCCEEDED"
            assert level(daemon) == "low"
            assert not changes(daemon)
            assert not (home / "trust.json").exists()
            said = str(daemon.get(f"/api/v1/tasks/{task}/events"))
            assert (home / "token").read_text().strip() not in said


def ended(daemon: Daemon, task: str) -> Any:
    row = daemon.get(f"/api/v1/tasks/{task}")
    return row if row["status"] in {"SUCCEEDED", "FAILED", "CANCELED", "DEAD_LETTER"} else None
