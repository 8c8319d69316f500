"""A path means what it meant when it was judged, or the call does not run."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from holdfast.testing.daemon import Daemon, stage
from holdfast.testing.model_script import RecordedRequest
from holdfast.testing.model_server import Catalogue, ModelServer, Reply, ScriptedCall
from tests.e2e.at_home import files, until

RULES = """preset = "open"
[[rule]]
say = "deny"
paths = ["secrets"]
[[rule]]
say = "ask"
tools = ["read", "write", "move", "search"]
"""


@contextmanager
def house(*calls: ScriptedCall) -> Generator[Daemon]:
    """A daemon whose model proposes these calls at once, then says that it is done."""

    def rule(request: RecordedRequest) -> Reply:
        messages: list[dict[str, Any]] = request.body["messages"]
        answered = any(one["role"] == "tool" for one in messages)
        return Reply(text="done") if answered else Reply(calls=calls)

    with stage("links") as place, ModelServer(rule=rule, catalogue=Catalogue(models=("m",))) as lab:
        home = place / "home"
        home.mkdir(mode=0o700)
        (home / "config.toml").write_text(
            f'[models]\ndefault = "lab/m"\n'
            f'[models.providers.lab]\nbase_url = "{lab.url}/v1"\nmodels = ["m"]\n'
        )
        (home / "policy.toml").write_text(RULES)
        (files(home) / "secrets").mkdir()
        (files(home) / "secrets" / "key").write_text("the key")
        with Daemon(home) as running:
            running.start()
            yield running
            running.stop()


def answers(daemon: Daemon, task: str) -> list[dict[str, Any]]:
    """What came of the calls so far."""
    events = daemon.get(f"/api/v1/tasks/{task}/events?limit=500")["events"]
    return [one["data"]["outcome"] for one in events if "outcome" in one["data"]]


def approved(daemon: Daemon, task: str, command: str) -> dict[str, Any]:
    """What comes of the call that is asked about, once the command has run."""
    until(lambda: len(answers(daemon, task)) == 1)
    (row,) = daemon.get("/api/v1/approvals")["approvals"]
    assert row["tool"] != "exec", command
    call = f"/api/v1/tasks/{task}/calls/{row['call']}"
    daemon.post(f"{call}/approve", {"digest": row["digest"]})
    until(lambda: len(answers(daemon, task)) == 2)
    return answers(daemon, task)[1]


CALLS: list[tuple[str, dict[str, Any]]] = [
    ("read", {"path": "door/key"}),
    ("write", {"path": "door/key", "content": "mine"}),
    ("move", {"from": "door/key", "to": "key"}),
    ("move", {"from": "note", "to": "door/key"}),
    ("search", {"pattern": "the key", "path": "door"}),
]


@pytest.mark.parametrize(("tool", "arguments"), CALLS)
def test_a_link_made_while_a_person_was_asked_leads_nowhere(tool: str, arguments: dict[str, Any]):
    link = "ln -s secrets door"
    made = ScriptedCall(name="exec", arguments={"command": link})
    with house(made, ScriptedCall(name=tool, arguments=arguments)) as daemon:
        (files(daemon.home) / "note").write_text("mine")
        task = daemon.submit("go", files(daemon.home), preset="")
        found = approved(daemon, task, link)
        assert found.get("code") == "other_path", found
        assert (files(daemon.home) / "secrets" / "key").read_text() == "the key"


def test_a_folder_made_after_the_verdict_is_no_other_path():
    command = "mkdir -p new/deep"
    made = ScriptedCall(name="exec", arguments={"command": command})
    call = ScriptedCall(name="write", arguments={"path": "new/./deep/x", "content": "mine"})
    with house(made, call) as daemon:
        approved(daemon, daemon.submit("go", files(daemon.home), preset=""), command)
        assert (files(daemon.home) / "new/deep/x").read_text() == "mine"
