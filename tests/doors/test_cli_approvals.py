"""Asking a person: at the terminal while a task runs, and later from anywhere."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doors.cli_stage import Stage, Terminal, staged
from tests.doors.fake_daemon import HOLD, asks, call, settled

EDIT = call("c1", "edit", "src/a.py", path="src/a.py", old="one\ntwo", new="one\nthree")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as found:
        yield found


LIKE_IT = {"lease": {"scope": "task"}}


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("y", {"whole_task": False}),
        ("a", {"whole_task": True}),
        ("yes", {"whole_task": False}),
        ("l", {"whole_task": False, **LIKE_IT}),
    ],
)
def test_at_a_terminal_the_exact_change_is_shown_and_one_letter_answers(
    stage: Stage, typed: str, told: dict[str, Any]
):
    stage.daemon.plan(asks(EDIT), settled("c1"), answer="changed")
    with Terminal(stage, "run", "go", out=False) as person:
        shown = person.until("[s]top")
        person.type(f"maybe\n{typed}\n")
        code, out = person.end()
    assert "? May I edit src/a.py?" in shown
    lines = [line.strip() for line in shown.splitlines()]
    assert lines[lines.index("old:") :][:6] == [
        "old:",
        "- one",
        "- two",
        "new:",
        "+ one",
        "+ three",
    ]
    assert (code, out) == (0, "changed\n")
    [body] = stage.daemon.asked(
        "POST", "/api/v1/tasks/task_00000000000000000000000000000001/calls/c1/a"
    )
    assert body == {"digest": "digest-c1", **told}
    assert stage.daemon.jobs[0].body["unattended"] is False


def test_a_no_refuses_the_call_and_the_task_goes_on(stage: Stage):
    stage.daemon.plan(asks(EDIT), settled("c1", "refused", "not now"), answer="left it")
    with Terminal(stage, "run", "go", out=False) as person:
        person.until("[s]top")
        person.type("n\n")
        assert person.end() == (0, "left it\n")
    assert any(path.endswith("/calls/c1/refuse") for _, path, _ in stage.daemon.requests)


def test_a_stop_cancels_the_task(stage: Stage):
    stage.daemon.plan(asks(EDIT), settled("c1"))
    with Terminal(stage, "run", "go", out=False) as person:
        person.until("[s]top")
        person.type("s\n")
        assert person.end() == (1, "")
    assert stage.daemon.jobs[0].row["status"] == "CANCELED"


def test_two_questions_are_put_one_after_the_other(stage: Stage):
    other = call("c2", "exec", "rm -r build", command="rm -r build")
    stage.daemon.plan(asks(EDIT), settled("c1"), asks(other), settled("c2"), answer="both")
    with Terminal(stage, "run", "go", out=False) as person:
        person.until("[s]top")
        person.type("y\n")
        person.until("? May I exec rm -r build?")
        person.until("[s]top")
        person.type("y\n")
        assert person.end() == (0, "both\n")


def test_an_answer_that_came_from_elsewhere_in_the_meantime_does_no_harm(stage: Stage):
    stage.daemon.plan(asks(EDIT), settled("c1"), answer="went on")
    path = "/api/v1/tasks/task_00000000000000000000000000000001/calls/c1/approve"
    said = {"code": "no_such_question", "message": "call c1 is not open any more", "hint": ""}
    stage.daemon.refusals[path] = (409, said)
    with Terminal(stage, "run", "go", out=False) as person:
        person.until("[s]top")
        stage.daemon.jobs[0].moved.set()
        person.type("y\n")
        person.until("not open any more")
        assert person.end() == (0, "went on\n")


def test_what_is_asked_cannot_play_tricks_with_the_terminal(stage: Stage):
    sly = call("c1", "exec", "x", command="rm -r ~ #\x1b[2K\x1b[1A\u202egpj.exe\r echo fine")
    stage.daemon.plan(asks(sly, "May I\x1b]0;title\x07 exec\n this?"), answer="no harm")
    with Terminal(stage, "run", "go", out=False) as person:
        shown = person.until("[s]top")
        person.type("y\n")
        person.end()
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "? May I exec  this?" in shown
    assert "command: rm -r ~ #gpj.exe echo fine" in shown


def test_an_interrupt_at_a_question_stops_the_task(stage: Stage):
    stage.daemon.plan(asks(EDIT), answer="never")
    with Terminal(stage, "run", "go", out=False) as person:
        person.until("[s]top")
        person.interrupt()
        assert person.end() == (130, "")
    assert stage.daemon.jobs[0].row["status"] == "CANCELED"


def open_question(stage: Stage) -> str:
    """A detached task that asks; the end of its id."""
    stage.daemon.plan(asks(EDIT), settled("c1"), answer="changed")
    process = stage.begin("run", "-q", "--yes", "go")
    with process:
        while not (stage.daemon.jobs and stage.daemon.jobs[0].row.get("questions")):
            assert process.poll() is None
        process.kill()
    return stage.daemon.jobs[0].id[-8:]


def test_later_a_yes_is_bound_to_what_was_asked(stage: Stage):
    task = open_question(stage)
    told = stage.run("task", "approve", task, "--whole-task")
    assert told.out == f"approved {task} edit src/a.py\n"
    [body] = stage.daemon.asked("POST", f"/api/v1/tasks/{stage.daemon.jobs[0].id}/calls/c1/approve")
    assert body == {"digest": "digest-c1", "whole_task": True}
    again = stage.run("task", "approve", task)
    assert (again.code, again.out) == (2, "")
    assert "does not ask about anything" in again.err


def test_an_edit_and_a_yes_to_all_alike_are_sent_as_such(stage: Stage):
    task = open_question(stage)
    for bad, why in (("new", "is no argument"), ("=x", "is no argument"), ("n:={", "is not JSON")):
        told = stage.run("task", "approve", task, "--edit", bad)
        assert (told.code, told.out, why in told.err) == (2, "", True), told.err
    words = ("--edit", "new=two = 2", "--edit", "count:=[1]", "--edit", "old=")
    told = stage.run("task", "approve", task, *words)
    assert told.out == f"sent back, edited: {task} edit src/a.py\n"
    [body] = stage.daemon.asked("POST", f"/api/v1/tasks/{stage.daemon.jobs[0].id}/calls/c1/approve")
    assert body["arguments"] == {"new": "two = 2", "count": [1], "old": ""}


def test_who_only_watches_is_told_what_the_task_waits_for(stage: Stage):
    stage.daemon.plan(asks(EDIT), settled("c1"), answer="changed")
    process = stage.begin("run", "--yes", "go")
    assert process.stderr
    with process:
        assert process.stderr.readline() == b"\xc2\xb7 waiting for approval: edit src/a.py\n"
        assert stage.run("task", "approve", stage.daemon.jobs[0].id).code == 0
        out, _ = process.communicate(timeout=20)
    assert out == b"changed\n"


def test_later_a_no_carries_its_reason(stage: Stage):
    task = open_question(stage)
    assert stage.run("task", "deny", task, "--reason", "use git mv").code == 0
    [body] = stage.daemon.asked("POST", f"/api/v1/tasks/{stage.daemon.jobs[0].id}/calls/c1/refuse")
    assert body == {"reason": "use git mv"}


def test_approvals_shows_what_waits_with_its_arguments(stage: Stage):
    task = open_question(stage)
    question = {**stage.daemon.jobs[0].row["questions"][0], "task": stage.daemon.jobs[0].id}
    stage.daemon.canned["/api/v1/approvals"] = {"approvals": [{**question, "title": "tidy up"}]}
    told = stage.run("approvals")
    assert f"{task}  tidy up (call c1)" in told.out
    assert "+ three" in told.out
    assert json.loads(stage.run("approvals", "--json").out)["approvals"][0]["call"] == "c1"


def test_a_message_steers_a_task_at_work(stage: Stage):
    stage.daemon.plan(HOLD)
    task = stage.run("run", "--detach", "go").out.strip()
    assert stage.run("task", "say", task, "leave", "the tests alone").code == 0
    assert stage.daemon.asked("POST", f"/api/v1/tasks/{task}/say") == [
        {"text": "leave the tests alone"}
    ]
