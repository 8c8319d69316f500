"""A host of 2026 that knows the protocol's tasks: a call becomes a durable one of ours."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from holdfast.core.message import Reply
from tests.doors.hosting import Inn, inn
from tests.doors.house import PAYS

pytestmark = pytest.mark.anyio
DONE = Reply(text="all done")
Json = dict[str, Any]
_NUMBERS = itertools.count(1)
_OURS = "io.modelcontextprotocol"
KNOWS: Json = {"extensions": {f"{_OURS}/tasks": {}}, "elicitation": {"form": {}}}


async def said(at: Inn, method: str, able: Json = KNOWS, **params: Any) -> Json:
    """The answer, or the error, to one request of a host of 2026."""
    meta = {
        f"{_OURS}/protocolVersion": "2026-07-28",
        f"{_OURS}/clientCapabilities": able,
        f"{_OURS}/clientInfo": {"name": "test", "version": "1"},
    }
    name = params.pop("header", params.get("taskId") or params.get("name"))
    usual = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method, "Mcp-Name": name}
    headers = {**usual, **params.pop("headers", {})}
    told = {**params, "_meta": meta}
    body = {"jsonrpc": "2.0", "id": next(_NUMBERS), "method": method, "params": told}
    answer = await at.post(body, **headers)
    lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    found = json.loads(lines[-1] if lines else answer.text)
    return found.get("result") or found["error"]


async def begun(at: Inn, **arguments: Any) -> Json:
    return await said(at, "tools/call", name="submit_task", arguments=arguments)


async def until(at: Inn, task: str, *stages: str) -> Json:
    with anyio.fail_after(30):
        while (found := await said(at, "tasks/get", taskId=task))["status"] not in stages:
            await anyio.sleep(0.005)
    return found


async def test_a_call_becomes_a_task_that_asks_is_answered_and_gives_its_result(tmp_path: Path):
    async with inn(tmp_path, [PAYS, DONE]) as at:
        made = await begun(at, prompt="pay Ann")
        assert (made["resultType"], made["ttlMs"]) == ("task", None)
        assert "result" not in made
        waits = await until(at, made["taskId"], "input_required")
        ((call, asked),) = waits["inputRequests"].items()
        assert asked["method"] == "elicitation/create"
        assert '"to": "Ann"' in asked["params"]["message"]
        closed: Json = {call: {"action": "decline"}, "c9_9": {"action": "accept", "content": {}}}
        task = {"taskId": made["taskId"]}
        assert (await said(at, "tasks/update", **task, inputResponses=closed))["resultType"]
        assert (await said(at, "tasks/get", **task))["status"] == "input_required"
        odd = await said(at, "tasks/update", **task, inputResponses={call: {"action": "dance"}})
        assert odd["code"] == -32602
        yes: Json = {call: {"action": "accept", "content": {"decision": "Yes, this once"}}}
        await said(at, "tasks/update", **task, inputResponses=yes)
        done = await until(at, made["taskId"], "completed")
        assert done["result"]["structuredContent"]["answer"] == "all done"
        assert not done["result"].get("isError")
        await said(at, "tasks/cancel", **task)
        assert (await said(at, "tasks/get", **task))["status"] == "completed"
        rows = (await at.street.tcp.get("/api/v1/tasks")).json()["tasks"]
        assert [row["id"] for row in rows] == [made["taskId"]]


async def test_a_task_is_cancelled_and_stays_so(tmp_path: Path):
    async with inn(tmp_path, [PAYS, DONE]) as at:
        task = (await begun(at, prompt="pay Ann"))["taskId"]
        await until(at, task, "input_required")
        for _ in range(2):
            assert await said(at, "tasks/cancel", taskId=task)
        assert (await until(at, task, "cancelled"))["status"] == "cancelled"


async def test_who_wants_the_result_or_knows_no_tasks_gets_what_was_always_given(tmp_path: Path):
    async with inn(tmp_path, [DONE, DONE]) as at:
        waited = await begun(at, prompt="go", wait_seconds=10)
        assert waited["structuredContent"]["answer"] == "all done"
        plain = {"name": "submit_task", "arguments": {"prompt": "go"}}
        row = await said(at, "tools/call", {}, **plain)
        task = row["structuredContent"]["id"]
        for method in ("tasks/get", "tasks/update", "tasks/cancel"):
            error = await said(at, method, {}, taskId=task)
            assert error["code"] == -32021
            assert error["data"]["requiredCapabilities"] == {
                "extensions": {"io.modelcontextprotocol/tasks": {}}
            }


async def test_no_other_task_and_no_other_header_is_taken(tmp_path: Path):
    async with inn(tmp_path, [DONE]) as at:
        task = (await begun(at, prompt="go"))["taskId"]
        assert (await said(at, "tasks/get", taskId=task, header="another"))["code"] == -32020
        for odd in ("nobody-has-this", "x/cancel", "../costs"):
            for method in ("tasks/get", "tasks/update", "tasks/cancel"):
                assert (await said(at, method, taskId=odd))["code"] == -32602
        assert (await said(at, "tasks/result", taskId=task))["code"] == -32601
        wrong = await begun(at, prompt="")
        assert wrong["isError"]


async def test_a_key_that_may_not_look_is_told_nothing_of_a_task(tmp_path: Path):
    async with inn(tmp_path, [DONE]) as at:
        task = (await begun(at, prompt="go"))["taskId"]
        wanted = {"name": "guest", "scopes": ["agents"]}
        key = (await at.street.local.post("/api/v1/keys", json=wanted)).json()["key"]
        guest = {"Authorization": f"Bearer {key}"}
        for method in ("tasks/get", "tasks/update", "tasks/cancel"):
            told = await said(at, method, taskId=task, headers=guest)
            assert told["code"] == -32602
            assert "all done" not in str(told)
