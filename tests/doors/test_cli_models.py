"""`holdfast model`: which there are, which is chosen, and a question straight to one."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.doors.cli_stage import Stage, Terminal, staged
from tests.doors.fake_daemon import problem

ASK = "/api/v1/models/ask"
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


CARDS: list[dict[str, Any]] = [
    {"name": "a/big", "window": 200_000, "input_price": 3_000_000, "output_price": 15_000_000,
     "tools": True, "vision": True},
    {"name": "b/cheap", "window": 128_000, "output_price": 600_000, "thinking": True},
    {"name": "c/dear", "output_price": 75_000_000},
    {"name": "d/local", "output_price": 0, "input_price": 0},
    *({"name": f"lab/m{number:02}"} for number in range(30)),
]  # fmt: skip
LIST: dict[str, Any] = {
    "default": "b/cheap",
    "models": [one["name"] for one in CARDS],
    "roles": {"executor": "b/cheap", "evaluator": "b/cheap", "planner": "b/cheap", "small": ""},
    "cards": CARDS,
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
    stage.daemon.streams[ASK] = [("delta", {"text": "hell"}), ("error", problem(said))]
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
    stage.daemon.canned["/api/v1/models/health"] = found
    told = stage.run("model", "health").out.splitlines()
    assert told[0].split() == ["MODEL", "STATE", "ANSWERED", "FAILED", "LAST", "BECAUSE"]
    assert "left alone for 4 m  1,204     2       overloaded  a/1 has trouble" in told[1]
    assert told[2].split()[:3] == ["a/0", "on", "trial"]
    assert told[3].split() == ["b/2", "well", "1,204", "0", "-", "-"]
    assert json.loads(stage.run("model", "health", "--json").out) == found
    stage.daemon.canned["/api/v1/models/health"] = {"models": []}
    assert stage.run("model", "health").err == "no model has been asked yet\n"


def test_models_are_listed_with_what_they_can_and_cost(stage: Stage):
    stage.daemon.canned["/api/v1/models"] = LIST
    told = stage.run("model", "list")
    rows = [line.split() for line in told.out.splitlines()]
    assert rows[0] == ["MODEL", "CAN", "IN", "OUT", "READS", "ROLE"]
    assert rows[1] == ["a/big", "tools", "vision", "$3.00", "$15.00", "200,000"]
    assert rows[2][:2] == ["b/cheap", "thinking"]
    assert rows[2][-3:] == ["executor", "evaluator", "planner"]
    assert rows[4] == ["d/local", "free", "free"]
    assert "34 models shown" in told.err
    assert len(stage.run("model", "list", "lab").out.splitlines()) == 31
    found = json.loads(stage.run("model", "list", "--json", "cheap").out)
    assert (found["models"], found["default"]) == (["b/cheap"], "b/cheap")


def test_a_refresh_asks_the_providers_now(stage: Stage):
    stage.daemon.canned["/api/v1/models/refresh"] = LIST
    assert "a/big" in stage.run("model", "refresh", "big").out
    assert len(stage.daemon.asked("POST", "/api/v1/models/refresh")) == 1


def test_a_model_is_chosen_for_a_role_and_a_choice_that_does_not_count_says_so(stage: Stage):
    choose = "/api/v1/models/choose"
    stage.daemon.canned[choose] = {"role": "small", "model": "b/cheap", "note": "config wins"}
    told = stage.run("model", "set", "cheap", "--role", "small")
    assert (told.code, told.out) == (0, "b/cheap\n")
    assert "config wins" in told.err
    assert stage.run("model", "set", "--clear").code == 0
    assert stage.daemon.asked("POST", choose) == [
        {"model": "cheap", "role": "small"},
        {"model": "", "role": "executor"},
    ]
    assert stage.run("model", "set").code == 2, "nobody is here to pick one"


def test_a_model_is_picked_from_pages_that_narrow_while_one_types(stage: Stage):
    """Row OK-84."""
    stage.daemon.canned["/api/v1/models"] = LIST
    with Terminal(stage, "run", "-m", "?", "go", out=False) as person:
        page = person.until("Esc leaves")
        rows = [row.split() for row in page.splitlines() if "/" in row]
        assert rows[0] == ["a/big", "[V][T]", "$$", "200K"]
        assert rows[1] == [">", "b/cheap", "[R]", "$", "128K"], "the default is offered first"
        assert rows[2:4] == [["c/dear", "$$$"], ["d/local", "free"]]
        assert len(rows) == 20
        assert "page 1 of 2" in page
        person.type("\x1b[6~")
        assert "lab/m29" in person.until("page 2 of 2")
        person.type("LAB 1")
        narrowed = person.until("12 of 34 models: LAB 1_")
        assert narrowed
        person.type("\x7f\x1b[B\x1b[B\r")
        person.until("lab/m02")
        assert person.end()[0] == 0
    assert stage.daemon.jobs[0].body["model"] == "lab/m02"


def test_leaving_the_picker_asks_nobody_anything(stage: Stage):
    stage.daemon.canned["/api/v1/models"] = LIST
    for key in ("\x1b", "\x04"):
        with Terminal(stage, "run", "-m", "?", "go", out=False) as person:
            person.until("Esc leaves")
            person.type(key)
            assert person.end()[0] == 2
    assert stage.daemon.jobs == []


VECTORS: dict[str, Any] = {
    "model": "openai/e",
    "vectors": [[0.5, -1.0], [0.25, 2.0]],
    "usage": {"input": 7},
    "cost_usd": 0.0012,
}


def test_each_text_becomes_a_line_of_numbers(stage: Stage):
    stage.daemon.streams["/api/v1/models/embed"] = [("reply", VECTORS)]
    told = stage.run("model", "embed", "-m", "openai", "--query", "red apples", "pears")
    assert (told.code, told.out) == (0, "[0.5, -1.0]\n[0.25, 2.0]\n")
    assert told.err == "✓ openai/e, 7 tokens, $0.0012\n"
    assert stage.daemon.asked("POST", "/api/v1/models/embed") == [
        {"texts": ["red apples", "pears"], "stream": True, "model": "openai", "purpose": "query"}
    ]


def test_a_dash_reads_a_text_from_each_line_that_says_something(stage: Stage):
    stage.daemon.streams["/api/v1/models/embed"] = [("reply", VECTORS)]
    told = stage.run("model", "embed", "--json", "-", stdin=b"red apples\n\n  \npears\n")
    assert json.loads(told.out) == VECTORS
    assert stage.daemon.asked("POST", "/api/v1/models/embed")[0]["texts"] == ["red apples", "pears"]
    told = stage.run("model", "embed", "-", stdin=b"\n")
    assert told.code == 2
    assert "No input" in told.err
