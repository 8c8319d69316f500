"""A question that was asked before a rule forbade it is answered by the rule."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from holdfast.testing.daemon import Answered, Daemon, stage
from holdfast.testing.model_script import RecordedRequest
from holdfast.testing.model_server import Catalogue, ModelServer, Reply, ScriptedCall
from tests.e2e.at_home import files, until

DENY = 'preset = "ask"\n[[rule]]\nsay = "deny"\nname = "no more"\ncommand = ["touch", "*"]\n'


def touching(request: RecordedRequest) -> Reply:
    if any(one["role"] == "tool" for one in request.body["messages"]):
        return Reply(text="done")
    return Reply(calls=(ScriptedCall(name="exec", arguments={"command": "touch made"}),))


@pytest.fixture
def daemon() -> Generator[Daemon]:
    catalogue = Catalogue(models=("m",))
    with stage("since") as place, ModelServer(rule=touching, catalogue=catalogue) as lab:
        home = place / "home"
        home.mkdir(mode=0o700)
        (home / "config.toml").write_text(
            f'[models]\ndefault = "lab/m"\n'
            f'[models.providers.lab]\nbase_url = "{lab.url}/v1"\nmodels = ["m"]\n'
        )
        with Daemon(home) as running:
            running.start()
            yield running
            running.stop()


def test_what_is_forbidden_meanwhile_cannot_be_approved(daemon: Daemon):
    task = daemon.submit("go", files(daemon.home), preset="")
    until(lambda: daemon.get("/api/v1/approvals")["approvals"])
    (row,) = daemon.get("/api/v1/approvals")["approvals"]
    (daemon.home / "policy.toml").write_text(DENY)
    until(lambda: daemon.get("/api/v1/policy")["rules"])
    call = f"/api/v1/tasks/{task}/calls/{row['call']}"
    for yes in ({}, {"whole_task": True}, {"lease": {"rule": "exec:touch *"}}):
        with pytest.raises(Answered, match="approval_denied") as told:
            daemon.post(f"{call}/approve", {"digest": row["digest"], **yes})
        assert "no more" in str(told.value)
    assert daemon.get(f"/api/v1/tasks/{task}")["status"] == "WAITING"
    daemon.post(f"{call}/refuse", {})
    until(lambda: daemon.get(f"/api/v1/tasks/{task}")["status"] == "SUCCEEDED")
    assert not (files(daemon.home) / "made").exists()
