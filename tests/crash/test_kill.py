"""A real daemon, really killed: what was promised is kept and nothing unsafe happens twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from holdfast.testing import crashtest
from holdfast.testing.daemon import Answered, Daemon, use_model
from holdfast.testing.model_server import ModelServer, RecordedRequest, Reply, ScriptedCall

PATIENCE = 60.0
OVER = {"SUCCEEDED", "FAILED", "CANCELED", "DEAD_LETTER"}

pytestmark = pytest.mark.timeout(180)


class Stage:
    """A home, a workspace, and a scripted model whose `turn` says what it answers."""

    def __init__(self, folder: Path, model: ModelServer) -> None:
        self.model, self.home, self.workspace = model, folder / "home", folder / "workspace"
        self.workspace.mkdir()
        use_model(self.home, model.url)

    def daemon(self, **engine: str) -> Daemon:
        settings = {f"HOLDFAST_ENGINE_{name.upper()}": value for name, value in engine.items()}
        return Daemon(self.home, settings)

    def ledger(self) -> Counter[str]:
        path = self.workspace / "ledger"
        return Counter(path.read_text().split()) if path.exists() else Counter()


class Turns:
    """Answers by how many turns the model has had in this conversation; may hold its answers."""

    def __init__(self) -> None:
        self.answer: Callable[[int], Reply] = lambda _turn: Reply(text="done")

    def __call__(self, asked: RecordedRequest) -> Reply:
        return self.answer(turn(asked))


def turn(asked: RecordedRequest) -> int:
    return sum(message["role"] == "assistant" for message in asked.messages)


def run(command: str) -> Reply:
    return Reply(calls=(ScriptedCall(name="exec", arguments={"command": command}),))


@pytest.fixture
def turns() -> Turns:
    return Turns()


@pytest.fixture
def stage(tmp_path: Path, turns: Turns) -> Generator[Stage, None, None]:
    with ModelServer(rule=turns) as model:
        played = Stage(tmp_path, model)
        yield played
        print(played.daemon().said())  # pytest shows it when the test failed


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.005)


def ended(daemon: Daemon, *tasks: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []

    def over() -> bool:
        rows[:] = [daemon.get(f"/api/v1/tasks/{task}") for task in tasks]
        return all(row["status"] in OVER for row in rows)

    until(over)
    return rows


def events(daemon: Daemon, task: str, kind: str) -> list[dict[str, Any]]:
    found = daemon.get(f"/api/v1/tasks/{task}/events")["events"]
    return [event["data"] for event in found if event["kind"] == kind]


def verified(daemon: Daemon, task: str) -> bool:
    return daemon.get(f"/api/v1/tasks/{task}/verify")["ok"]


def test_running_and_queued_tasks_all_succeed_after_a_kill_with_one_answer_each(
    stage: Stage, turns: Turns
) -> None:
    """Row GC-17."""
    turns.answer = lambda _turn: Reply(text="never heard", hold=True)
    with stage.daemon(lanes="3") as daemon:
        daemon.start()
        tasks = [daemon.submit(f"task {n}", stage.workspace) for n in range(8)]
        until(lambda: stage.model.active == 3)
        assert daemon.get("/api/v1/tasks?limit=1")["counts"] == {"RUNNING": 3, "QUEUED": 5}
        daemon.kill()
        turns.answer = lambda _turn: Reply(text="the answer")
        daemon.start()
        rows = ended(daemon, *tasks)
        assert [(row["status"], row["answer"]) for row in rows] == [("SUCCEEDED", "the answer")] * 8
        assert [len(events(daemon, task, "Replied")) for task in tasks] == [1] * 8
        assert sum(len(events(daemon, task, "Recovered")) for task in tasks) == 3
        assert all(verified(daemon, task) for task in tasks)


def test_an_effect_that_was_reported_is_not_repeated_after_a_kill(
    stage: Stage, turns: Turns
) -> None:
    """Rows GC-18, GC-19."""
    turns.answer = lambda n: Reply(text="x", hold=True) if n else run("echo paid >> ledger")
    with stage.daemon() as daemon:
        daemon.start()
        task = daemon.submit("pay", stage.workspace, key="one payment")
        until(lambda: bool(events(daemon, task, "CallSettled")) and stage.model.active == 1)
        daemon.kill()
        turns.answer = lambda n: Reply(text="done") if n else run("echo paid >> ledger")
        daemon.start()
        assert daemon.submit("pay", stage.workspace, key="one payment") == task
        with pytest.raises(Answered, match="key_reused") as refused:
            daemon.submit("pay more", stage.workspace, key="one payment")
        assert refused.value.status == 409
        assert ended(daemon, task)[0]["status"] == "SUCCEEDED"
        assert stage.ledger() == {"paid": 1}
        assert len(events(daemon, task, "CallStarted")) == 1
        assert verified(daemon, task)


def test_an_effect_cut_off_by_a_kill_is_said_to_be_unknown_and_not_repeated(
    stage: Stage, turns: Turns
) -> None:
    """Row GC-18."""
    turns.answer = lambda n: Reply(text="done") if n else run("echo paid >> ledger; sleep 20")
    with stage.daemon() as daemon:
        daemon.start()
        task = daemon.submit("pay", stage.workspace)
        until(lambda: stage.ledger()["paid"] == 1)
        daemon.kill()
        daemon.start()
        assert ended(daemon, task)[0]["status"] == "SUCCEEDED"
        settled = events(daemon, task, "CallSettled")
        assert [one["outcome"]["type"] for one in settled] == ["unknown"]
        assert stage.ledger() == {"paid": 1}
    assert "not repeated" in stage.model.requests[-1].last_text


def test_a_stop_drains_for_a_bounded_time_and_the_next_start_completes_what_is_left(
    stage: Stage, turns: Turns
) -> None:
    """Row GC-20."""
    turns.answer = lambda n: Reply(text="done") if n else run("echo began >> ledger; sleep 20")
    with stage.daemon(drain_seconds="2") as daemon:
        daemon.start()
        task = daemon.submit("take long", stage.workspace)
        until(lambda: bool(stage.ledger()))
        assert 1.5 < daemon.stop() < 3.5  # drain + 1 s, and half a second for a busy machine
        daemon.start()
        assert ended(daemon, task)[0]["status"] == "SUCCEEDED"
        assert stage.ledger() == {"began": 1}
        assert verified(daemon, task)


def test_a_stop_lets_a_short_call_end(stage: Stage, turns: Turns) -> None:
    """Part of row GC-20."""
    turns.answer = lambda n: Reply(text="done") if n else run("echo began >> ledger; sleep 1")
    with stage.daemon() as daemon:
        daemon.start()
        task = daemon.submit("be quick", stage.workspace)
        until(lambda: bool(stage.ledger()))
        assert daemon.stop() < 6.0
        daemon.start()
        assert ended(daemon, task)[0]["status"] == "SUCCEEDED"
        outcomes = [one["outcome"]["type"] for one in events(daemon, task, "CallSettled")]
        assert outcomes == ["returned"]


def test_a_task_killed_in_its_fourth_step_goes_on_there_with_all_it_knew(
    stage: Stage, turns: Turns
) -> None:
    """Row GC-44."""
    hold = True

    def answer(n: int) -> Reply:
        if n < 5:
            step = run(f"echo step{n} >> ledger")
            return Reply(calls=step.calls, hold=hold and n == 3)
        return Reply(text="done")

    turns.answer = answer
    with stage.daemon() as daemon:
        daemon.start()
        task = daemon.submit("six steps", stage.workspace)
        until(lambda: stage.model.active == 1 and turn(stage.model.requests[-1]) == 3)
        before = daemon.get(f"/api/v1/tasks/{task}")
        daemon.kill()
        hold, asked = False, len(stage.model.requests)
        daemon.start()
        row = ended(daemon, task)[0]
        first = stage.model.requests[asked]
        assert turn(first) == 3
        assert [m["role"] for m in first.messages if m["role"] != "system"] == [
            "user",
            *("assistant", "tool") * 3,
        ]
        assert row["spent"]["steps"] == 6
        assert row["spent"]["tokens"] == 2 * before["spent"]["tokens"]
        assert row["submitted_at"] == before["submitted_at"]
        assert stage.ledger() == {f"step{n}": 1 for n in range(5)}
        assert len(events(daemon, task, "Started")) == 2


def test_ten_kills_with_parallel_calls_lose_and_repeat_nothing() -> None:
    part = crashtest.kills(10, 1000, seed=10)
    assert part.found.holds, part
    assert part.found.calls > 30


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_two_hundred_kills_with_parallel_calls_lose_and_repeat_nothing() -> None:
    """Rows GC-17, GC-18."""
    part = crashtest.kills(200, 10_000, seed=200)
    assert part.found.holds, part
    assert part.found.unknown > 50


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_thousand_random_crash_points_on_sqlite_lose_and_repeat_nothing() -> None:
    part = crashtest.in_process(2_000, seed=2_000)
    assert part.deaths >= 2_000
    assert part.found.holds, part
