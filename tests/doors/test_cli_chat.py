"""`holdfast chat`: a conversation over a pipe and at a terminal."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doors.cli_stage import Stage, Terminal, staged
from tests.doors.fake_daemon import HOLD, asks, call, replied, settled


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as found:
        yield found


def test_each_line_is_a_task_of_one_session_and_its_end_tells_what_it_took(stage: Stage):
    """Part of row OK-33."""
    stage.daemon.plan(answer="first answer")
    stage.daemon.plan(answer="second answer")
    told = stage.run("chat", stdin=b"one\n\ntwo\n/quit\nnever\n")
    assert (told.code, told.out) == (0, "first answer\nsecond answer\n")
    assert [job.body["prompt"] for job in stage.daemon.jobs] == ["one", "two"]
    [session] = {job.body["session"] for job in stage.daemon.jobs}
    assert told.err.startswith(f"holdfast 0.1.0 | fake/m1 | session {session} | /help\n")
    assert told.err.endswith(f"Session {session} | 2 tasks, 2,408 tokens, $0.0024\n")
    assert all(job.body["unattended"] for job in stage.daemon.jobs)


def test_an_error_is_told_and_the_conversation_goes_on(stage: Stage):
    """Part of row OK-33."""
    stage.daemon.refusals["/api/v1/tasks"] = (429, {"code": "saturated", "message": "too much"})
    said = {"reply": "There is no /nonsense.", "session": "s", "agent": ""}
    stage.daemon.canned["/api/v1/chat-command"] = said
    stage.daemon.canned["/api/v1/sessions/s"] = {"exchanges": []}
    told = stage.run("chat", stdin=b"one\n/nonsense\n")
    assert told.code == 0
    assert "error: too much" in told.err
    assert "There is no /nonsense." in told.err


def test_a_directive_for_the_model_is_a_message_like_any_other(stage: Stage):
    assert stage.run("chat", stdin=b'/tool list {"path": "."}\n').out == "ok\n"
    assert stage.daemon.jobs[0].body["prompt"] == '/tool list {"path": "."}'


def test_a_path_is_a_message_like_any_other(stage: Stage):
    assert stage.run("chat", stdin=b"/etc/hosts is odd\n").out == "ok\n"
    assert stage.daemon.jobs[0].body["prompt"] == "/etc/hosts is odd"


def test_slash_commands_tell_and_steer(stage: Stage):
    """Part of row OK-33."""
    said = {"reply": "/new          begin", "session": "s", "agent": ""}
    stage.daemon.canned["/api/v1/chat-command"] = said
    stage.daemon.canned["/api/v1/sessions/s"] = {"exchanges": []}
    lines = ["/help", "/status", "/model fake/m2", "go", "/tasks", "/cancel", "exit"]
    told = stage.run("chat", stdin="\n".join(lines).encode())
    assert stage.daemon.jobs[0].body["model"] == "fake/m2"
    for said in (
        "/approve",
        "/new          begin",
        "1 of 4 lanes busy",
        "model: fake/m2",
        "00000001",
        "nothing is running",
    ):
        assert said in told.err


def test_what_the_house_answers_itself_leads_to_another_conversation(stage: Stage):
    """Part of row OC-73: nothing of it is a task."""
    said = {"reply": "A new conversation: 2.", "session": "chat-2", "agent": ""}
    stage.daemon.canned["/api/v1/chat-command"] = said
    stage.daemon.canned["/api/v1/sessions/s"] = {"exchanges": []}
    past = {"task": "t", "status": "SUCCEEDED", "at": 1, "prompt": "q", "answer": "a"}
    stage.daemon.canned["/api/v1/sessions/chat-2"] = {"exchanges": [past]}
    told = stage.run("chat", stdin=b"one\n/resume 2\ntwo\n")
    assert "> q\na\n" in told.err
    first, second = [job.body["session"] for job in stage.daemon.jobs]
    assert (first != second, second) == (True, "chat-2")
    assert "A new conversation: 2." in told.err


def test_resuming_shows_the_last_three_exchanges_and_goes_on_in_the_session(stage: Stage):
    """Part of rows OK-30 and OK-31."""
    stage.daemon.canned["/api/v1/sessions"] = {"sessions": [{"id": "chat-new"}, {"id": "chat-old"}]}
    said = [
        {"task": f"t{n}", "status": "SUCCEEDED", "at": 1, "prompt": f"q{n}", "answer": f"a{n}"}
        for n in range(5)
    ]
    stage.daemon.canned["/api/v1/sessions/chat-new"] = {"exchanges": said}
    told = stage.run("chat", "--resume", "last", stdin=b"more\n")
    assert "(2 earlier exchanges)\n> q2\na2\n> q3\na3\n> q4\na4\n" in told.err
    assert stage.daemon.jobs[0].body["session"] == "chat-new"
    assert stage.run("chat", "--resume", "chat-").err.startswith("error: chat- could be any of")
    assert stage.run("chat", "--resume", "nope").code == 2


def test_a_session_that_is_named_and_not_there_begins(stage: Stage):
    missing = {"code": "session_not_found", "message": "there is no session mine"}
    stage.daemon.refusals["/api/v1/sessions/mine"] = (404, missing)
    told = stage.run("chat", "--session", "mine", stdin=b"first\n")
    assert told.code == 0
    assert stage.daemon.jobs[0].body["session"] == "mine"
    assert stage.run("session", "show", "mine").code == 2


def test_at_a_terminal_words_appear_as_they_come_and_only_once(stage: Stage):
    stage.daemon.plan(
        ("AskBegun", {}),
        ("delta", {"text": "the \x1b[31mans"}),
        ("delta", {"text": "wer"}),
        replied("the answer"),
        answer="the answer",
    )
    with Terminal(stage, "chat") as person:
        person.until("> ")
        person.type("go\n")
        person.until("the answer")
        before = person.until("> ")
        person.type("\x04")
        code, _ = person.end()
    assert code == 0
    assert "the answer" not in before
    assert "done in 3 steps" in before


def test_at_a_terminal_a_half_answer_is_said_to_be_void(stage: Stage):
    stage.daemon.plan(
        ("delta", {"text": "the ans"}),
        ("delta", {"reset": "b/2"}),
        ("delta", {"text": "the answer"}),
        replied("the answer"),
        answer="the answer",
    )
    with Terminal(stage, "chat") as person:
        person.until("> ")
        person.type("go\n")
        person.until("the ans")
        between = person.until("the answer")
        assert "that broke off; b/2 begins again" in between
        assert "the answer" not in person.until("> ")
        person.type("\x04")
        assert person.end()[0] == 0


def test_at_a_terminal_a_question_is_asked_in_the_conversation(stage: Stage):
    one = call("c1", "exec", "make", command="make")
    stage.daemon.plan(("delta", {"text": "let me"}), asks(one), settled("c1"), answer="made")
    with Terminal(stage, "chat") as person:
        person.until("> ")
        person.type("go\n")
        person.until("[s]top")
        person.type("y\n")
        person.until("made")
        person.until("> ")
        person.type("/quit\n")
        assert person.end()[0] == 0


def test_an_interrupt_stops_the_task_and_not_the_conversation(stage: Stage):
    stage.daemon.plan(("AskBegun", {}), replied("", call("c1", "read", "a")), HOLD)
    with Terminal(stage, "chat") as person:
        person.until("> ")
        person.type("go\n")
        while not (stage.daemon.jobs and len(stage.daemon.jobs[0].log) > 2):
            pass
        person.interrupt()
        person.until("stopped 00000001")
        person.until("> ")
        person.type("\x04")
        assert person.end()[0] == 0
    assert stage.daemon.jobs[0].row["status"] == "CANCELED"
