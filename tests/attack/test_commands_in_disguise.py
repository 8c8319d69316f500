"""A command line that reads one way and runs another: the gate reads it as bash does."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.gate.commands import parsed
from holdfast.testing.daemon import Daemon, stage
from holdfast.testing.model_script import RecordedRequest
from holdfast.testing.model_server import Catalogue, ModelServer, Reply, ScriptedCall
from tests.e2e.at_home import files, until

# Bash hands every command here instead of running it: its words, each behind a control character.
TELLING = r"""command_not_found_handle() { printf 'C'; printf '\1%s' "$@"; printf '\2'; }
PATH=/nonexistent; eval "$1" """
SIGNS = r"""a b rm -rf ' " \ # '' "" $ $' $" ; | && || ~ ! = x= { } {a,b} [ ] ^ % + : , @ 1"""
WORDS = (
    "time if in function coproc ]] [[ . a=~ a:~ --x=~ ( ) < > * ? ` é 'x~y' \"x~y\" \r \x0b \xa0"
)
PIECES = st.sampled_from([*SIGNS.split(" "), *WORDS.split(" "), " ", "\t", "\n", "\\\n"])


def ran(line: str, folder: Path) -> list[tuple[str, ...]]:
    """The commands that bash makes of a line."""
    told = subprocess.run(
        [shutil.which("bash") or "bash", "--norc", "-c", TELLING, "bash", line],
        capture_output=True,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        timeout=20,
        check=False,
    )
    heard = told.stdout.decode(errors="surrogateescape").split("\2")
    return [tuple(one[2:].split("\1")) for one in heard if one.startswith("C")]


@settings(max_examples=150, deadline=None)
@given(pieces=st.lists(PIECES | st.just(" "), min_size=1, max_size=12))
def test_what_an_allow_rule_compares_is_what_bash_runs(pieces: list[str]):
    line = "".join(pieces)
    read = parsed(line)
    if read.plain:
        with stage("disguise") as folder:
            (folder / "a").touch()
            assert set(ran(line, folder)) <= set(read.commands), line


HIDDEN = "git status ''#; touch pwned"
QUOTED = "cat > notes <<EOF\nit's\nEOF\ntouch pwned\necho 'done'"
LINES = ("git status", HIDDEN, QUOTED, "sudo touch pwned", "\\touch pwned", "true;" * 250 + HIDDEN)


def proposing(request: RecordedRequest) -> Reply:
    messages: list[dict[str, Any]] = request.body["messages"]
    if any(one["role"] == "tool" for one in messages):
        return Reply(text="done")
    return Reply(calls=tuple(ScriptedCall(name="exec", arguments={"command": x}) for x in LINES))


@pytest.fixture
def daemon() -> Generator[Daemon]:
    with (
        stage("commands") as place,
        ModelServer(rule=proposing, catalogue=Catalogue(models=("m",))) as model,
    ):
        home = place / "home"
        home.mkdir(mode=0o700)
        (home / "config.toml").write_text(
            f'[models]\ndefault = "lab/m"\n'
            f'[models.providers.lab]\nbase_url = "{model.url}/v1"\nmodels = ["m"]\n'
        )
        (home / "policy.toml").write_text(
            'preset = "nothing"\n[[rule]]\nsay = "allow"\ncommand = ["git", "status", "*"]\n'
        )
        with Daemon(home) as running:
            running.start()
            yield running
            running.stop()


def verdicts(daemon: Daemon, task: str) -> dict[str, str]:
    """What was said of each line, once the task has ended."""
    until(lambda: daemon.get(f"/api/v1/tasks/{task}")["status"] == "SUCCEEDED")
    told = daemon.get(f"/api/v1/tasks/{task}/events?limit=500")["events"]
    judged = [one for event in told for one in event["data"].get("judged", ())]
    return {one["call"]["arguments"]["command"]: one["verdict"]["type"] for one in judged}


def test_a_comment_that_is_none_carries_nothing_past_an_allow_rule(daemon: Daemon):
    task = daemon.submit("go", files(daemon.home), preset="")
    found = verdicts(daemon, task)
    assert found == {"git status": "allow"} | dict.fromkeys(LINES[1:], "deny")
    assert not (files(daemon.home) / "pwned").exists()


def test_a_denied_command_is_denied_behind_quotes_of_a_document_and_behind_many_others(
    daemon: Daemon,
):
    task = daemon.submit("go", files(daemon.home), deny=["exec:touch *"])
    found = verdicts(daemon, task)
    assert found.pop("git status") == "allow"
    assert set(found.values()) == {"deny"}
    assert not (files(daemon.home) / "pwned").exists()
