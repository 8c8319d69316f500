"""Looking at tasks, sessions and the daemon, and acting on them."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doors.cli_stage import Stage, Terminal, staged
from tests.doors.fake_daemon import HOLD, call, replied


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path) as found:
        yield found


def done(stage: Stage, answer: str = "the answer", **row: Any) -> str:
    stage.daemon.plan(answer=answer, **row)
    stage.run("run", "-q", "do \x1b[31mit\x07 now")
    return stage.daemon.jobs[-1].id


def test_the_list_is_aligned_and_tells_ids_that_are_long_enough(stage: Stage):
    """Part of row OK-32."""
    task, now = done(stage), time.time() * 1000
    stage.daemon.jobs[0].row |= {"submitted_at": int(now - 7_200_500)}
    head, row = stage.run("task", "list").out.splitlines()
    assert head.split() == ["ID", "STATUS", "AGE", "STEPS", "TOKENS", "COST", "TASK"]
    assert row.split("  ")[0] == task[-8:]
    assert row.endswith("do it now")
    assert "2 h ago" in row
    assert head.index("TASK") == row.index("do it now")
    assert stage.run("task", "--status", "failed", "-n", "5").code == 0
    assert stage.daemon.requests[-1][1] == "/api/v1/tasks?status=FAILED&limit=5"


def test_the_answer_comes_back_byte_for_byte(stage: Stage):
    """Part of row OK-32."""
    done(stage, answer="héllo\n\x1b[31m")
    assert stage.run("task", "show", "0001", "--answer").out == "héllo\n\x1b[31m\n"
    told = stage.run("task", "show", "0001").out
    assert "status     SUCCEEDED\n" in told
    assert json.loads(stage.run("task", "show", "0001", "--json").out)["short"] == "00000001"


def test_a_task_that_is_not_there_is_exit_two_with_a_hint(stage: Stage):
    told = stage.run("task", "show", "zzzz")
    assert (told.code, told.out) == (2, "")
    assert told.err == "error: there is no task zzzz\nhint: holdfast task list\n"


def test_a_reference_with_strange_signs_stays_inside_its_place(stage: Stage):
    told = stage.run("task", "show", "../status?x=é")
    assert told.code == 2
    path = stage.daemon.requests[-1][1].partition("?")[0]
    assert path == "/api/v1/tasks/..%2Fstatus%3Fx%3D%C3%A9"


def test_watching_tells_everything_and_ends_with_the_task(stage: Stage):
    stage.daemon.plan(
        HOLD, replied("", call("c1", "read", "a")), ("CallStarted", {"call_id": "c1"})
    )
    task = stage.run("run", "--detach", "go").out.strip()
    stage.daemon.jobs[0].moved.set()
    told = stage.run("task", "watch", task[-8:])
    assert told.out == "the answer\n"
    assert "· read a\n" in told.err


def test_cancel_and_retry_say_what_became_of_it(stage: Stage):
    stage.daemon.plan(HOLD)
    task = stage.run("run", "--detach", "go").out.strip()
    assert stage.run("task", "cancel", task, "--reason", "wrong").out == "canceled 00000001\n"
    assert stage.daemon.asked("POST", f"/api/v1/tasks/{task}/cancel") == [{"reason": "wrong"}]
    assert stage.run("task", "retry", task).out == f"{task}\n"


def test_a_bundle_is_written_once_and_never_over_a_file(stage: Stage):
    task = done(stage)
    told = stage.run("task", "bundle", task[-8:])
    assert told.out == f"{task}.zip\n"
    assert (stage.folder / f"{task}.zip").read_bytes() == b"PK-a-zip"
    again = stage.run("task", "bundle", task[-8:])
    assert again.code == 2
    assert "exists already" in again.err
    assert stage.run("task", "bundle", task[-8:], "-").out == "PK-a-zip"


@pytest.mark.parametrize(("same", "code"), [(True, 0), (False, 1)])
def test_replay_and_verify_answer_with_their_exit_code(stage: Stage, same: bool, code: int):
    task = done(stage)
    differences = [] if same else [{"seq": 3, "recorded": "Replied", "decided": "Failed"}]
    replay = {"same": same, "events": 7, "differences": differences}
    verify = {"ok": same, "events": 7, "problems": [] if same else ["the chain breaks at event 3"]}
    stage.daemon.canned[f"/api/v1/tasks/{task}/replay"] = replay
    stage.daemon.canned[f"/api/v1/tasks/{task}/verify"] = verify
    replayed, verified = stage.run("task", "replay", task), stage.run("task", "verify", task)
    assert (replayed.code, verified.code) == (code, code)
    assert "7 events" in replayed.out if same else "recorded Replied" in replayed.out
    assert "whole" in verified.out if same else "chain breaks" in verified.out


def test_sessions_are_listed_with_their_tasks_and_shown_with_their_words(stage: Stage):
    """Part of rows OK-29 and OK-30."""
    now = int(time.time() * 1000)
    row = {"id": "chat-1", "tasks": 2, "tokens": 1500, "cost_usd": 0.25, "last_at": now}
    stage.daemon.canned["/api/v1/sessions"] = {"sessions": [{**row, "title": "hello"}]}
    said = {"task": "task_12345678", "status": "SUCCEEDED", "at": now, "prompt": "q", "answer": "a"}
    stage.daemon.canned["/api/v1/sessions/chat-1"] = {"exchanges": [said]}
    told = stage.run("session", "list")
    assert "chat-1   2      1,500   $0.2500  0 s ago  hello" in told.out
    assert told.err == "1 session shown\n"
    assert "> q\na\n" in stage.run("session", "show", "chat-1").out


def test_status_tells_what_the_daemon_tells_and_what_it_cost(stage: Stage):
    """Row OK-142. Part of row OK-98."""
    used = {"usd": 0.0012, "calls": 2, "input": 1_200, "output": 4, "saved_usd": 0.5}
    row = {**used, "group": {"model": "p/m"}}
    stage.daemon.canned["/api/v1/costs"] = {"rows": [row], "total": used}
    told = stage.run("status", "--costs").out
    costs = ("today       $0.0012 for 1,204 tokens in 2 calls", "$0.0012 (100 %) p/m", "$0.5000 by")
    for said in ("up          1 m", "2 succeeded; 1 of 4 lanes busy", *costs):
        assert said in told
    assert json.loads(stage.run("status", "--json").out)["lanes"] == 4
    assert json.loads(stage.run("status", "--live", "--json").out)["lanes"] == 4


def test_live_status_draws_frames_until_it_is_interrupted(stage: Stage):
    """Part of row OK-26."""
    done(stage)
    with Terminal(stage, "status", "--live") as person:
        person.until("\x1b[H\x1b[2J")
        frame = person.until("\x1b[H\x1b[2J")
        person.interrupt()
        assert person.end()[0] == 130
    assert "holdfast 0.1.0, up 1 m" in frame
    assert "00000001  SUCCEEDED" in frame
    assert "do it now" in frame


def test_a_backup_goes_where_it_is_wanted_as_an_absolute_path(stage: Stage):
    stage.daemon.canned["/api/v1/backup"] = {"path": "/x/y.db", "bytes": 12}
    told = stage.run("backup", "y.db")
    assert (told.code, told.out) == (0, "/x/y.db\n")
    assert stage.daemon.asked("POST", "/api/v1/backup") == [{"to": str(stage.folder / "y.db")}]


def test_a_purge_wants_a_reason_and_a_yes(stage: Stage):
    stage.daemon.canned["/api/v1/purge"] = {"purged": 2}
    assert stage.run("purge", "--session", "s").code == 2
    assert stage.run("purge", "--session", "s", "--reason", "asked to").code == 2
    assert stage.daemon.asked("POST", "/api/v1/purge") == []
    told = stage.run("purge", "--session", "s", "--reason", "asked to", "--yes")
    assert told.out == "2 tasks made unreadable\n"
    assert stage.daemon.asked("POST", "/api/v1/purge") == [{"session": "s", "reason": "asked to"}]


def test_a_restore_is_refused_while_the_daemon_runs(stage: Stage):
    (stage.folder / "old.db").write_bytes(b"")
    told = stage.run("restore", "old.db")
    assert told.code == 2
    assert "hint: holdfast serve stop && holdfast restore" in told.err


TRIED = [
    {"model": "c/3", "code": "skipped", "reason": "cooling down for another 9 s after timeout"},
    {"model": "a/1", "code": "overloaded", "reason": "a/1 has trouble", "took": 400},
    {"model": "b/2", "after": 410, "took": 1200, "first": 300},
]
TRIED[1]["next"] = "failover"
SAID = [
    "c/3 was not asked: cooling down for another 9 s after timeout",
    "a/1 overloaded after 0.4 s; went on to the next: a/1 has trouble",
    "b/2 answered after 1.2 s, first piece after 0.3 s",
]


def test_who_was_asked_and_why_is_told_when_more_than_one_was(stage: Stage):
    gave_up = {"model": "a/1", "code": "timeout", "reason": "too slow", "next": "give up"}
    failed = {"fault": {"message": "too slow"}, "at": 1000, "retry_at": 3000, "tried": [gave_up]}
    stage.daemon.plan(
        replied("", call("c1", "read", "a")),
        ("Replied", {"judged": [], "model": "b/2", "tried": TRIED}),
        ("AttemptFailed", failed),
    )
    told = stage.run("run", "go")
    assert [line[2:] for line in told.err.splitlines()[1:4]] == SAID
    assert "a/1 timeout after 0.0 s; gave up: too slow" in told.err
    shown = stage.run("task", "show", stage.daemon.jobs[-1].id).out
    assert f"turn 2     {SAID[0]}\n           {SAID[1]}\n           {SAID[2]}\n" in shown
