"""`holdfast model`: asking one, straight."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.doors.cli_stage import Stage, staged

ASK = "/v1/models/ask"
REPLY: dict[str, Any] = {
    "text": "hello you",
    "calls": [],
    "usage": {"input": 9, "output": 3},
    "cost_usd": 0.0012,
    "model": "b/2",
    "tried": [
        {"model": "a/1", "code": "overloaded", "reason": "a/1 has trouble"},
        {"model": "b/2"},
    ],
    "problem": "",
}


@pytest.fixture
def stage(tmp_path: Path) -> Generator[Stage]:
    with staged(tmp_path) as one:
        yield one


def test_an_answer_is_written_as_it_comes_and_what_it_took_on_stderr(stage: Stage):
    stage.daemon.streams[ASK] = [
        ("delta", {"thought": "hm"}),
        ("delta", {"text": "hello "}),
        ("delta", {"text": "y"}),
        ("reply", REPLY),
    ]
    told = stage.run("model", "ask", "-m", "b", "--role", "judge", "say", "hello")
    assert (told.code, told.out) == (0, "hello you\n")
    assert stage.daemon.asked("POST", ASK) == [
        {"text": "say hello", "stream": True, "model": "b", "role": "judge"}
    ]
    assert told.err.splitlines() == [
        "✗ a/1: a/1 has trouble",
        "✓ b/2, 12 tokens, $0.0012",
    ]


def test_a_pipe_is_added_to_what_is_asked(stage: Stage):
    stage.daemon.streams[ASK] = [("reply", REPLY)]
    assert stage.run("model", "ask", "sum up", stdin=b"many words").code == 0
    assert stage.daemon.asked("POST", ASK)[0]["text"] == "sum up\n\n---\n\nmany words"


def test_json_is_the_whole_reply_and_nothing_before_it(stage: Stage):
    stage.daemon.streams[ASK] = [("delta", {"text": "hello "}), ("reply", REPLY)]
    told = stage.run("model", "ask", "--json", "say hello")
    assert json.loads(told.out) == REPLY


def test_an_answer_that_begins_again_is_shown_once_more_and_whole(stage: Stage):
    stage.daemon.streams[ASK] = [
        ("delta", {"text": "hell"}),
        ("delta", {"reset": "b/2"}),
        ("delta", {"text": "hello"}),
        ("reply", REPLY),
    ]
    told = stage.run("model", "ask", "say hello")
    assert told.out == "hello you\n", "who reads from a pipe gets no half answer"
    assert "again, with b/2" in told.err


def test_a_model_that_fails_is_an_error_before_and_after_the_answer_began(stage: Stage):
    said = {"code": "overloaded", "message": "The provider has trouble.", "hint": ""}
    stage.daemon.streams[ASK] = [("delta", {"text": "hell"}), ("error", {"error": said})]
    told = stage.run("model", "ask", "say hello")
    assert (told.code, told.out) == (4, "")
    assert "error: The provider has trouble." in told.err
    stage.daemon.refusals[ASK] = (504, {**said, "code": "timeout"})
    told = stage.run("model", "ask", "--json", "say hello")
    assert (told.code, json.loads(told.out)["error"]["code"]) == (4, "timeout")


def test_a_line_that_breaks_is_no_answer(stage: Stage):
    stage.daemon.streams[ASK] = [("delta", {"text": "hell"}), ("cut", {})]
    assert stage.run("model", "ask", "say hello").code == 4


WELL = {
    "model": "b/2",
    "available": True,
    "success_count": 1204,
    "failure_count": 0,
    "consecutive_failures": 0,
    "cooldown_remaining": 0.0,
    "last_code": "",
    "last_error": "",
}
ILL = WELL | {
    "model": "a/1",
    "available": False,
    "failure_count": 2,
    "cooldown_remaining": 299.5,
    "last_code": "overloaded",
    "last_error": "a/1 has trouble",
}


def test_how_the_models_are_is_a_row_for_each(stage: Stage):
    """Part of row OL-34."""
    found = {"models": [ILL, ILL | {"model": "a/0", "cooldown_remaining": 0.0}, WELL]}
    stage.daemon.canned["/v1/models/health"] = found
    told = stage.run("model", "health").out.splitlines()
    assert told[0].split() == ["MODEL", "STATE", "ANSWERED", "FAILED", "LAST", "BECAUSE"]
    assert "left alone for 4 m  1,204     2       overloaded  a/1 has trouble" in told[1]
    assert told[2].split()[:3] == ["a/0", "on", "trial"]
    assert told[3].split() == ["b/2", "well", "1,204", "0", "-", "-"]
    assert json.loads(stage.run("model", "health", "--json").out) == found
    stage.daemon.canned["/v1/models/health"] = {"models": []}
    assert stage.run("model", "health").err == "no model has been asked yet\n"
