"""The daemon killed around an answer to a question: before, while, and after it is given."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from holdfast.testing.daemon import Answered, Daemon, stage, use_model
from holdfast.testing.model_script import Reply, ScriptedCall
from holdfast.testing.model_server import ModelServer

pytestmark = pytest.mark.timeout(180)

PATIENCE = 30.0
MOMENTS = (0.0, 0.001, 0.003, 0.006, 0.012, 0.025)
"""Seconds between an answer that is sent and the end of the daemon: any may be during it."""


class Asking:
    """A task that wants to append a line to a file, and asks first."""

    def __init__(self, daemon: Daemon, server: ModelServer, files: Path, name: str) -> None:
        self.daemon, self.name, self.file = daemon, name, files / name
        call = ScriptedCall(name="append", arguments={"path": name, "content": "once\n"})
        server.load(Reply(calls=(call,)))
        self.id = daemon.submit(f"append to {name}", files, preset="ask")

    @property
    def row(self) -> Any:
        return self.daemon.get(f"/api/v1/tasks/{self.id}")

    def question(self) -> Any:
        return until(lambda: self.row.get("questions"))[0]

    def place(self, question: Any, say: str = "approve") -> str:
        return f"/api/v1/tasks/{self.id}/calls/{question['call']}/{say}"

    def answer(self, question: Any) -> str:
        """Say yes; what is said to that: `ok`, or why not."""
        try:
            self.daemon.post(self.place(question), {"digest": question["digest"]})
        except Answered as refused:
            return str(refused)
        return "ok"

    def ended(self) -> str:
        over = {"SUCCEEDED", "FAILED", "CANCELED", "DEAD_LETTER"}
        return until(lambda: (row := self.row)["status"] in over and row["status"])

    def lines(self) -> list[str]:
        return self.file.read_text().splitlines() if self.file.exists() else []

    def told(self, kind: str) -> list[Any]:
        events = self.daemon.get(f"/api/v1/tasks/{self.id}/events")["events"]
        return [one["data"] for one in events if one["kind"] == kind]


def until(true: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := true()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)
    return found


Stage = tuple[Daemon, ModelServer, Path]


@pytest.fixture
def at_home() -> Generator[Stage]:
    with stage("answers") as place, ModelServer(default=Reply(text="done")) as server:
        home, files = place / "home", place / "files"
        files.mkdir()
        use_model(home, server.url)
        with Daemon(home) as daemon:
            daemon.start()
            yield daemon, server, files


def restarted(daemon: Daemon) -> None:
    daemon.kill()
    daemon.start()


def test_killed_between_question_and_answer_it_still_asks_the_same_and_runs_once(at_home: Stage):
    """Part of row OL-53: the step waits, whatever happens to the process."""
    task = Asking(*at_home, "waits")
    question = task.question()
    for _ in range(2):
        restarted(task.daemon)
        assert task.question() == question
    assert task.lines() == []
    assert task.answer(question) == "ok"
    assert task.ended() == "SUCCEEDED"
    assert task.answer(question) != "ok"
    assert task.lines() == ["once"]
    assert len(task.told("CallApproved")) == 1


@pytest.mark.slow
def test_killed_after_the_answer_it_does_not_ask_again_and_runs_at_most_once(at_home: Stage):
    for number in range(3):
        task = Asking(*at_home, f"after{number}")
        question = task.question()
        assert task.answer(question) == "ok"
        restarted(task.daemon)
        assert task.answer(question) != "ok", "the answer was acknowledged: it counts, once"
        assert task.ended() == "SUCCEEDED"
        once(task)


@pytest.mark.slow
def test_killed_while_the_answer_is_given_it_counts_once_or_is_asked_for_again(at_home: Stage):
    """The answer of a client that hears nothing more: lost, or counted; never twice."""
    again = 0
    for number, moment in enumerate(MOMENTS):
        task = Asking(*at_home, f"while{number}")
        question = task.question()
        task.daemon.call_out(task.place(question), {"digest": question["digest"]})
        time.sleep(moment)
        restarted(task.daemon)
        if task.row.get("questions"):
            assert task.question() == question
            assert task.told("CallApproved") == []
            assert task.answer(question) == "ok"
            again += 1
        assert task.ended() == "SUCCEEDED"
        assert task.answer(question) != "ok"
        once(task)
    assert again < len(MOMENTS), "no answer ever arrived: the moments are all too early"


@pytest.mark.slow
def test_a_no_counts_once_too_and_nothing_runs(at_home: Stage):
    for number, moment in enumerate(MOMENTS[:4]):
        task = Asking(*at_home, f"no{number}")
        question = task.question()
        task.daemon.call_out(task.place(question, "refuse"), {"reason": "not now"})
        time.sleep(moment)
        restarted(task.daemon)
        if task.row.get("questions"):
            task.daemon.post(task.place(question, "refuse"), {})
        assert task.ended() == "SUCCEEDED"
        assert task.answer(question) != "ok", "a yes after the no comes too late"
        assert task.lines() == []
        assert len(task.told("CallSettled")) == 1


def once(task: Asking) -> None:
    """One yes, one answer, one line; or nobody knows, which is said and not repeated."""
    assert len(task.told("CallApproved")) == 1
    (settled,) = task.told("CallSettled")
    if settled["outcome"]["type"] == "unknown":
        assert len(task.lines()) <= 1
        return
    assert task.lines() == ["once"], settled
