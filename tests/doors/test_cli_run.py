"""`holdfast run`: what goes in, what comes out, and what happens in between."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doors.cli_stage import Stage, command, environment, staged
from tests.doors.fake_daemon import CUT, HOLD, STOP, call, replied, settled


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as found:
        yield found


def prompt(stage: Stage) -> str:
    return stage.daemon.asked("POST", "/api/v1/tasks")[0]["prompt"]


def test_a_pipe_is_added_to_the_words_and_stdout_holds_the_answer_and_nothing_else(stage: Stage):
    """Part of row OK-01."""
    stage.daemon.plan(("AskBegun", {}), answer="hello\nthere")
    told = stage.run("run", "say", "hi", stdin=b"ctx\n")
    assert told.out == "hello\nthere\n"
    assert told.code == 0
    assert prompt(stage) == "say hi\n\n---\n\nctx"
    assert "asking fake/m1" in told.err


def test_a_pipe_alone_is_the_task(stage: Stage):
    """Part of row OK-01."""
    stage.run("run", stdin=b"do this\nand that\n")
    assert prompt(stage) == "do this\nand that"


def test_words_alone_are_the_task_and_dev_null_is_no_pipe(stage: Stage):
    stage.run("run", "only", "this")
    assert prompt(stage) == "only this"


def test_an_empty_pipe_beside_words_changes_nothing(stage: Stage):
    stage.run("run", "only this", stdin=b"")
    assert prompt(stage) == "only this"


@pytest.mark.parametrize("arguments", [("run",), ("run", "--stdin"), ("run", "--stdin", "words")])
def test_empty_input_is_refused_in_words(stage: Stage, arguments: tuple[str, ...]):
    """Part of row OK-01."""
    told = stage.run(*arguments, stdin=b" \n")
    assert told.code == 2
    assert told.err.startswith("error: No input received on stdin\n")
    assert told.out == ""
    assert stage.daemon.jobs == []


def test_input_that_is_not_utf8_is_refused_with_the_byte_and_its_place(stage: Stage):
    told = stage.run("run", stdin=b"ab\xffcd")
    assert told.code == 2
    assert "not UTF-8: byte 0xff at position 2" in told.err


def test_a_text_file_is_added_with_its_name_and_anything_else_by_name_only(stage: Stage):
    (stage.folder / "notes.md").write_text("# Notes\n")
    (stage.folder / "photo.jpg").write_bytes(b"\xff\xd8\x00")
    (stage.folder / "long.txt").write_text("x" * (256 * 1024 + 1))
    stage.run("run", "look", "-f", "notes.md", "-f", "photo.jpg", "--file=long.txt")
    said = prompt(stage)
    assert said.startswith("look\n\n--- file notes.md ---\n\n# Notes\n")
    assert "See also the file photo.jpg (3 bytes)." in said
    assert "See also the file long.txt (262,145 bytes)." in said


def test_a_wanted_shape_and_how_much_to_think_are_part_of_the_task(stage: Stage):
    """Part of rows GC-42, OC-62."""
    (stage.folder / "s.json").write_text('{"type": "object"}')
    stage.daemon.plan(answer="{}", thinking="Hm.")
    shape = ("--schema", "s.json", "--schema-retries", "1", "--no-strict")
    told = stage.run("run", "ask", *shape, "--thinking", "low", "--show-thinking", "always")
    body = stage.daemon.asked("POST", "/api/v1/tasks")[0]
    assert body["shape"] == {"schema": {"type": "object"}, "strict": False, "retries": 1}
    assert body["style"] == {"thinking": "low"}
    assert told.out == "{}\n\nThinking:\nHm.\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "No such file"),
        ("{", "is not JSON"),
        ("[]", "holds no JSON object"),
        ("x" * 300_000, "larger than 256 KiB"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_with_its_file(
    stage: Stage, text: str | None, said: str
):
    """Part of row GC-42."""
    if text is not None:
        (stage.folder / "s.json").write_text(text)
    told = stage.run("run", "ask", "--schema", "s.json")
    assert told.code == 2
    assert said in told.err
    assert "s.json" in told.err
    assert stage.daemon.jobs == []


@pytest.mark.parametrize("name", ["pipe.png", "folder.png", "zero.png"])
def test_only_a_file_can_be_attached(stage: Stage, name: str):
    os.mkfifo(stage.folder / "pipe.png")
    (stage.folder / "folder.png").mkdir()
    (stage.folder / "zero.png").symlink_to("/dev/zero")
    told = stage.run("run", "look", "--attach", name)
    assert told.code == 2
    assert told.err.startswith(f"error: {name} is not a file\n")
    assert stage.daemon.jobs == []


def test_a_schema_without_an_end_is_refused(stage: Stage):
    told = stage.run("run", "ask", "--schema", "/dev/zero")
    assert told.code == 2
    assert "larger than 256 KiB" in told.err


def test_a_file_that_the_task_could_not_open_is_refused(
    stage: Stage, tmp_path_factory: pytest.TempPathFactory
):
    outside = tmp_path_factory.mktemp("outside") / "blob.bin"
    outside.write_bytes(b"\x00")
    told = stage.run("run", "look", "-f", str(outside))
    assert told.code == 2
    assert "lies outside the workspace" in told.err
    assert "cannot be read" in stage.run("run", "look", "-f", "nowhere.txt").err


def test_every_option_reaches_the_daemon(stage: Stage):
    given = "-m fake/m2 --allow read --deny exec:rm* --yes --preset ask --budget 0.5 --steps 3"
    given += " --tokens 900 --seconds 60 --check true --check=false --until DONE --session s1"
    stage.run("run", *given.split(), "--priority", "7", "--key", "k1", "--deliver", "outbox", "go")
    [body] = stage.daemon.asked("POST", "/api/v1/tasks")
    assert body == {
        "prompt": "go",
        "workspace": str(stage.folder.resolve()),
        "model": "fake/m2",
        "session": "s1",
        "preset": "ask",
        "until": "DONE",
        "key": "k1",
        "priority": 7,
        "allow": ["read", "*"],
        "deny": ["exec:rm*"],
        "checks": ["true", "false"],
        "deliver": ["outbox"],
        "limits": {"cost_usd": 0.5, "steps": 3, "tokens": 900, "seconds": 60},
        "unattended": True,
    }


def test_progress_tells_each_step_once_and_the_end_in_numbers(stage: Stage):
    """Part of row OK-23."""
    read, test = call("c1", "read", "src/a.py"), call("c2", "exec", "pytest -q")
    stage.daemon.plan(
        ("AskBegun", {}),
        replied("", read, test),
        ("CallStarted", {"call_id": "c1"}),
        settled("c1"),
        ("CallStarted", {"call_id": "c2"}),
        settled("c2", "failed", "exit 1\nmany lines"),
        settled("c3", "refused", "the policy says no"),
        ("ChecksDue", {"answer": "x", "judged": [{"call": call("k", "exec", "true")}]}),
        ("ChecksFailed", {"report": "true: exit 1"}),
        ("AttemptFailed", {"fault": {"message": "overloaded"}, "at": 1000, "retry_at": 3000}),
    )
    told = stage.run("run", "go")
    assert told.err.splitlines() == [
        "· nobody is here to ask: what the policy would ask is denied (--allow and --yes grant)",
        "· asking fake/m1",
        "· read src/a.py",
        "· exec pytest -q",
        "✗ exec pytest -q: exit 1",
        "✗ call c3: not allowed: the policy says no",
        "· checking: 1 check",
        "✗ a check failed: true: exit 1",
        "✗ overloaded; trying again in 2 s",
        "✓ done in 3 steps, 4.1 s, 1,204 tokens, $0.0012",
    ]


def test_quiet_says_nothing_at_all(stage: Stage):
    """Part of row OK-23."""
    stage.daemon.plan(("AskBegun", {}), answer="42")
    told = stage.run("run", "-q", "go")
    assert (told.out, told.err) == ("42\n", "")


def test_a_terminal_without_utf8_gets_plain_signs(stage: Stage):
    env = environment(stage.home, PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    stage.daemon.plan(("AskBegun", {}), answer="naïve")
    told = stage.run("run", "go", env=env)
    assert told.out == "na\\xefve\n"
    assert "- asking fake/m1\n" in told.err
    assert "ok done in" in told.err


def test_json_is_the_summary_on_stdout_and_the_progress_stays_on_stderr(stage: Stage):
    told = stage.run("run", "--json", "go")
    assert json.loads(told.out)["answer"] == "ok"
    assert "done in" in told.err


@pytest.mark.parametrize("status", ["FAILED", "DEAD_LETTER", "CANCELED"])
def test_a_task_that_did_not_succeed_is_exit_one_and_says_why(stage: Stage, status: str):
    fault = {"code": "budget_exceeded", "message": "money: the limit\nis reached"}
    stage.daemon.plan(answer=None, status=status, fault=fault)
    told = stage.run("run", "go")
    assert (told.code, told.out) == (1, "")
    if status != "CANCELED":
        assert "error: money: the limit\nis reached\n" in told.err
        assert "hint: holdfast budget list; its own limits: holdfast task retry" in told.err


def test_detached_it_prints_the_id_and_returns(stage: Stage):
    stage.daemon.plan(HOLD)
    told = stage.run("run", "--detach", "go")
    assert told.out == f"{stage.daemon.jobs[0].id}\n"
    assert stage.daemon.jobs[0].body["unattended"] is False


def test_a_connection_that_breaks_costs_no_event_and_no_answer(stage: Stage):
    one, two = call("c1", "read", "a"), call("c2", "read", "b")
    stage.daemon.plan(
        replied("", one, two),
        ("CallStarted", {"call_id": "c1"}),
        CUT,
        CUT,
        ("CallStarted", {"call_id": "c2"}),
        CUT,
        answer="still here",
    )
    told = stage.run("run", "go")
    assert (told.code, told.out) == (0, "still here\n")
    assert re.findall("read [ab]", told.err) == ["read a", "read b"]
    assert len(stage.daemon.asked("POST", "/api/v1/tasks")) == 1


def test_a_daemon_that_was_stopped_in_good_order_is_not_started_again(stage: Stage):
    stage.daemon.plan(("AskBegun", {}), STOP)
    told = stage.run("run", "go")
    assert told.code == 4
    assert "the daemon was stopped; the task goes on at its next start" in told.err


def test_an_interrupt_stops_the_task_itself(stage: Stage):
    stage.daemon.plan(("AskBegun", {}), HOLD)
    process = stage.begin("run", "go")
    assert process.stderr
    with process:
        while b"asking" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert stage.daemon.jobs[0].row["status"] == "CANCELED"
    assert b"stopped" in err


@pytest.mark.parametrize(
    ("status", "code"),
    [(403, 3), (401, 3), (422, 2), (409, 2), (404, 2), (503, 4), (429, 4), (500, 70)],
)
def test_what_the_daemon_refuses_is_told_with_its_hint_and_its_exit_code(
    stage: Stage, status: int, code: int
):
    said = {"code": "some_code", "message": "this is why", "hint": "do that"}
    stage.daemon.refusals["/api/v1/tasks"] = (status, said)
    told = stage.run("run", "--json", "go")
    assert told.code == code
    assert told.err == "error: this is why\nhint: do that\n"
    assert json.loads(told.out)["error"] == said


def test_a_reader_that_goes_away_is_no_reason_for_a_traceback(stage: Stage):
    stage.daemon.plan(answer="x" * 1_000_000)
    process = stage.begin("run", "-q", "go")
    assert process.stdout
    assert process.stderr
    with process:
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_a_full_disk_behind_stdout_is_an_error_in_words(stage: Stage):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command("--version"),
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(stage.home),
            check=False,
        )
    assert done.returncode == 4
    assert done.stderr == b"error: the output could not be written: No space left on device\n"
