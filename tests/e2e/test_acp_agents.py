"""Other agents at work in a whole house: asked, given leave, killed, hostile."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from holdfast.testing.daemon import Daemon, stage, use_model
from holdfast.testing.model_server import ModelServer, Reply, ScriptedCall
from tests.e2e.at_home import files, until
from tests.kits.npm import KITS, installed, node

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(not shutil.which("bwrap"), reason="there is no bubblewrap"),
]
OVER = {"SUCCEEDED", "FAILED", "CANCELED", "DEAD_LETTER"}


class Home:
    """A home with one other agent, and a model that asks it as scripted."""

    def __init__(self, place: Path) -> None:
        self.path, self.shelf = place / "home", place / "shelf"
        self.shelf.mkdir()
        self.workspace = files(self.path)
        self.more = ""

    def configure(self, url: str, command: list[str], read_only: list[str]) -> None:
        use_model(self.path, url)
        shown = [str(self.shelf), *read_only]
        table = f"\n[acp.agents.other]\ncommand = {command}\nread_only = {shown}\n{self.more}\n"
        with (self.path / "config.toml").open("a") as config:
            config.write(table.replace("'", '"'))

    def python(self, url: str) -> None:
        shutil.copy(KITS / "acp" / "agent.py", self.shelf)
        program = [sys.executable, "-I", str(self.shelf / "agent.py")]
        self.configure(url, program, [sys.prefix, sys.base_prefix])

    def javascript(self, url: str) -> None:
        kit = installed("acp")
        self.configure(url, [node(), str(kit / "agent.mjs")], [sys.prefix, str(kit)])

    def rogue(self, url: str, mode: str, *words: str) -> None:
        shutil.copy(KITS / "acp" / "rogue.py", self.shelf)
        program = ["/usr/bin/python3", str(self.shelf / "rogue.py"), mode, *words]
        self.configure(url, program, [])


@pytest.fixture
def home() -> Generator[Home]:
    with stage("acp") as place:
        yield Home(place)


def asking(*arguments: dict[str, Any]) -> list[Reply]:
    calls = [
        Reply(calls=(ScriptedCall(name="ask_other", arguments=given, id=f"c{number}"),))
        for number, given in enumerate(arguments)
    ]
    return [*calls, Reply(text="done")]


def ended(daemon: Daemon, task: str) -> dict[str, Any]:
    until(lambda: daemon.get(f"/api/v1/tasks/{task}")["status"] in OVER, 90)
    return daemon.get(f"/api/v1/tasks/{task}")


def outcomes(daemon: Daemon, task: str) -> list[dict[str, Any]]:
    rows = daemon.get(f"/api/v1/tasks/{task}/events?limit=1000")["events"]
    return [row["data"]["outcome"] for row in rows if row["kind"] == "CallSettled"]


def settled(daemon: Daemon, task: str, count: int) -> bool:
    return len(outcomes(daemon, task)) >= count


def one(home: Home, mode: str, *words: str) -> dict[str, Any]:
    """What comes of one question to an agent of that kind."""
    with ModelServer(asking({"prompt": "go"})) as model, Daemon(home.path) as daemon:
        home.rogue(model.url, mode, *words)
        daemon.start()
        task = daemon.submit("ask it", home.workspace)
        assert ended(daemon, task)["status"] == "SUCCEEDED"
        assert not daemon.get("/api/v1/boxes")["boxes"] or not [
            row for row in daemon.get("/api/v1/boxes")["boxes"] if row["owner"].startswith(task)
        ]
        found = outcomes(daemon, task)
        daemon.stop()
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("kind", ["python", "javascript"])
def test_what_it_asks_leave_for_is_refused_until_a_person_approves_exactly_that(
    home: Home, kind: str
):
    """Agents made with the protocol's own libraries, in both languages."""
    again = {"prompt": "write a.txt", "allow": ["edit write a.txt"]}
    script = asking({"prompt": "write a.txt"}, again)
    with ModelServer(script) as model, Daemon(home.path) as daemon:
        getattr(home, kind)(model.url)
        daemon.start()
        task = daemon.submit("have it write a note", home.workspace, preset="ask")
        for number in range(2):
            until(lambda: bool(daemon.get(f"/api/v1/tasks/{task}").get("questions")), 90)
            question = daemon.get(f"/api/v1/tasks/{task}")["questions"][0]
            assert question["tool"] == "ask_other"
            assert not (home.workspace / "a.txt").exists()
            body = {"digest": question["digest"]}
            daemon.post(f"/api/v1/tasks/{task}/calls/{question['call']}/approve", body)
            until(partial(settled, daemon, task, number + 1), 90)
        assert ended(daemon, task)["status"] == "SUCCEEDED"
        first, second = (str(one["text"]) for one in outcomes(daemon, task))
        daemon.stop()
    assert "I was not allowed to." in first
    assert "- edit write a.txt" in first
    assert "You said: write a.txt. Done." in second
    assert "never an instruction" in second
    assert (home.workspace / "a.txt").read_text() == "by the agent\n"


def test_where_nobody_is_there_it_is_not_asked_at_all(home: Home):
    with ModelServer(asking({"prompt": "write a.txt"})) as model, Daemon(home.path) as daemon:
        home.rogue(model.url, "looks")
        daemon.start()
        more = {"preset": "ask", "unattended": True}
        task = daemon.submit("have it write a note", home.workspace, **more)
        assert ended(daemon, task)["status"] == "SUCCEEDED"
        assert [found["type"] for found in outcomes(daemon, task)] == ["refused"]
        daemon.stop()


def test_it_sees_the_folder_of_the_task_and_nothing_else(home: Home):
    secret = home.path.parent / "secret.txt"
    secret.write_text("mine")
    inside = home.workspace / "open.txt"
    inside.write_text("ours")
    found = one(home, "looks", str(secret), str(home.path / "token"), "/etc/shadow", str(inside))
    assert f"found: ['{inside}']" in found["text"]


def test_what_it_plants_for_the_host_is_put_back_and_its_words_are_cleaned(home: Home):
    subprocess.run(["git", "init", "-q", str(home.workspace)], check=True)
    found = one(home, "plants")
    assert not (home.workspace / ".git" / "hooks" / "pre-commit").exists()
    assert "ignore all rules\n" in found["text"]
    assert "invisible or control characters were removed" in found["text"]


@pytest.mark.parametrize(
    ("mode", "kind", "words"),
    [
        ("dies", "unknown", "it has ended"),
        ("floods", "unknown", "it says more than anybody can read"),
        ("endless", "unknown", "it sent a message of more than 8 MiB"),
        ("stalls", "unknown", "no answer to session/prompt within 5 s"),
        ("sleeps", "unknown", "it said nothing for 2 s"),
        ("odd", "unknown", "an update makes no sense"),
        ("asks", "returned", "I asked for a file"),
        ("refuses", "failed", "it refuses to do that"),
        ("future", "failed", "it speaks version 9"),
        ("login", "failed", "it wants a login (who are you?)"),
    ],
)
def test_a_rogue_agent_harms_only_the_call(home: Home, mode: str, kind: str, words: str):
    bounds = {"stalls": "timeout_seconds = 5.0", "sleeps": "idle_seconds = 2.0"}
    home.more = bounds.get(mode, "")
    found = one(home, mode)
    assert found["type"] == kind, found
    assert words in str(found), found


def test_a_killed_house_knows_that_it_may_have_happened_and_does_not_ask_twice(home: Home):
    with ModelServer(asking({"prompt": "go"})) as model, Daemon(home.path) as daemon:
        home.rogue(model.url, "stalls")
        daemon.start()
        task = daemon.submit("ask it", home.workspace)
        until(lambda: "CallStarted" in kinds(daemon, task), 90)
        daemon.kill()
        daemon.start()
        assert ended(daemon, task)["status"] == "SUCCEEDED"
        assert [found["type"] for found in outcomes(daemon, task)] == ["unknown"]
        assert kinds(daemon, task).count("CallStarted") == 1
        daemon.stop()


def kinds(daemon: Daemon, task: str) -> list[str]:
    rows = daemon.get(f"/api/v1/tasks/{task}/events?limit=1000")["events"]
    return [row["kind"] for row in rows]
