"""The protocols' own JavaScript libraries against a daemon: A2A's client, and a page's AG-UI."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Generator
from typing import Any

import pytest

from tests.doors.a2a_stage import A2AStage, a2a_stage
from tests.e2e.at_home import until
from tests.kits import npm

YES = {"approved": True}
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def at() -> Generator[A2AStage]:
    with a2a_stage() as made:
        yield made


def runs(script: str, **told: Any) -> Any:
    done = subprocess.run(
        [npm.node(), script],
        cwd=npm.installed("a2a"),
        input=json.dumps(told),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("form", ["JSONRPC", "HTTP+JSON"])
def test_the_javascript_client_does_all_that_it_can(at: A2AStage, form: str) -> None:
    before = len(at.hook.asked)
    seen = runs("client.mjs", url=at.url, token=at.token, form=form, hook=at.hook.url)
    assert seen["sent"][0] == seen["got"] == seen["streamed"] == "TASK_STATE_COMPLETED"
    assert seen["sent"][1].endswith("one two three")
    assert seen["stream"][0] == "task"
    assert seen["stream"][-2:] == ["artifactUpdate", "statusUpdate"]
    assert seen["cancelled"] == "TASK_STATE_CANCELED"
    assert seen["twice"] == "TaskNotCancelableError"
    assert seen["back"][0] == "task"
    assert seen["backed"] == "TASK_STATE_COMPLETED"
    assert (seen["file"], seen["kept"]) == (["made.txt", "made here"], "from js")
    assert "401" in seen["denied"] or "missing or wrong" in seen["denied"]
    task, same = seen["push"]
    assert same
    until(lambda: "COMPLETED" in str([one.body for one in at.hook.asked[before:]]))
    assert all(
        (one.headers["authorization"], json.loads(one.body).popitem()[1]["taskId"])
        == ("Bearer js-credentials", task)
        for one in at.hook.asked[before:]
    )


def test_what_a_page_hears_holds_against_the_protocols_own_check(at: A2AStage) -> None:
    plan = [
        {"thread": "t1", "run": "r1", "say": "hello", "agent": True},
        {"thread": "t1", "run": "r1", "say": "hello"},
        {"thread": "t2", "run": "r2", "say": "ask me"},
        {"thread": "t2", "run": "r3", "resume": {"status": "resolved", "payload": {"text": "red"}}},
        {"thread": "t3", "run": "r4", "say": "make a file"},
        {"thread": "t4", "run": "r5", "say": "break down"},
        {"thread": "t5", "run": "r6", "say": ""},
        {"thread": "t6", "run": "r7", "say": "remove it"},
        {"thread": "t6", "run": "r8", "resume": {"status": "resolved", "payload": YES}},
        {"thread": "t6", "run": "r8", "resume": {"status": "resolved", "payload": YES}},
        {"thread": "t7", "run": "r9", "say": "remove it"},
        {"thread": "t7", "run": "r10", "resume": {"status": "cancelled"}},
        {"thread": "t8", "run": "r11", "say": "hold", "cancel": True},
    ]
    said = runs("page.mjs", url=at.url, token=at.token, runs=plan)
    first, again, asks, resumed, files, broken, empty, *rest = said
    removes, agreed, repeated, wants, refused, cancelled = rest
    assert first["types"][:2] == ["RUN_STARTED", "STATE_SNAPSHOT"]
    assert first["last"]["outcome"] == {"type": "success"}
    assert {"TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END"} <= set(first["types"])
    assert first["page"][-1]["content"].endswith("one two three")
    assert again["last"] == first["last"]
    assert asks["last"]["outcome"]["type"] == "interrupt"
    assert asks["last"]["outcome"]["interrupts"][0]["message"] == "Which?"
    assert "TOOL_CALL_RESULT" in resumed["types"]
    assert resumed["last"]["outcome"] == {"type": "success"}
    assert resumed["last"]["result"]["task"] == asks["last"]["result"]["task"]
    assert {"TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END"} <= set(files["types"])
    assert broken["types"][-1] == "RUN_ERROR"
    assert empty["status"] == 422
    (question,) = removes["last"]["outcome"]["interrupts"]
    assert question["reason"] == "approval_required"
    assert question["metadata"]["target"] == "made.txt"
    assert agreed["last"]["outcome"] == {"type": "success"}
    assert repeated["last"] == agreed["last"]
    assert wants["last"]["outcome"]["type"] == "interrupt"
    assert "TOOL_CALL_RESULT" in refused["types"]
    assert cancelled["last"]["outcome"] == {"type": "cancelled"}


MAP = {
    "name": "show_map",
    "description": "Shows a map.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


def test_a_page_runs_its_own_tools_and_the_agent_goes_on_across_kill_9() -> None:
    with a2a_stage() as at:
        asks = {"thread": "m", "run": "r1", "say": "show the map", "tools": [MAP]}
        first, again = runs("page.mjs", url=at.url, token=at.token, runs=[asks, asks])
        assert first["last"]["outcome"]["type"] == "success"
        (call,) = first["last"]["outcome"]["pendingToolCallIds"]
        assert again["last"] == first["last"]
        at.daemon.kill()
        at.daemon.start()
        (url,) = [one for one in at.daemon.get("/api/v1/status")["listening"] if "http" in one]
        gives = {"thread": "m", "run": "r2", "gives": {call: "Rome is shown"}, "tools": [MAP]}
        page = {**asks, "thread": "p", "run": "r3", "agent": True}
        told, same, whole = runs("page.mjs", url=url, token=at.token, runs=[gives, gives, page])
        assert told["last"]["outcome"] == {"type": "success"}
        assert told["last"]["result"]["answer"] == "done as asked"
        assert told["last"]["result"]["task"] == first["last"]["result"]["task"]
        assert same["last"] == told["last"]
        assert whole["called"] == ["show_map"]
        assert whole["page"][-1] == {"role": "assistant", "content": "done as asked"}
