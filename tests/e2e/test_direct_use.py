"""A tool used by itself, by a person, a program or a host: it goes the way of every other call."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import mcp_types as types
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from holdfast.assembly.home import SOCKET
from holdfast.core.context import Prompt
from holdfast.core.event import CallSettled, Replied
from holdfast.core.gate.policy import Deny
from holdfast.core.message import Reply
from holdfast.testing.daemon import Daemon, stage
from holdfast.testing.fake_slack import CLIENT, SECRET, FakeSlack
from tests.e2e.at_home import ask, files, holdfast, until
from tests.e2e.test_slack import log_in
from tests.whole_house import Inhabited, inhabited

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


def nobody(prompt: Prompt) -> Reply:
    raise AssertionError("no model is asked")


@asynccontextmanager
async def house(folder: Path, config: str = "") -> AsyncGenerator[Inhabited]:
    async with inhabited(folder / "home", nobody, config) as place:
        (folder / "home" / "workspace").mkdir(exist_ok=True)
        yield place


async def use(place: Inhabited, tool: str, **more: Any) -> dict[str, Any]:
    answer = await place.tcp.post(f"/api/v1/tools/{tool}", json=more)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_read_is_a_task_with_one_call_and_its_outcome_is_the_answer(tmp_path: Path):
    async with house(tmp_path) as place:
        (tmp_path / "home" / "workspace" / "a.txt").write_text("hello\n")
        used = await use(place, "read", arguments={"path": "a.txt"})
        assert (used["end"], "hello" in used["text"]) == ("returned", True)
        events = await place.events(used["task"])
        (judged,) = [one.judged for one in events if isinstance(one, Replied) and one.judged]
        assert judged[0].call.tool == "read"
        assert sum(isinstance(one, CallSettled) for one in events) == 1
        row = (await place.tcp.get(f"/api/v1/tasks/{used['task']}")).json()
        assert (row["status"], row["title"]) == ("SUCCEEDED", 'read {"path": "a.txt"}')
        assert (await place.tcp.get(f"/api/v1/tool-uses/{used['task']}")).json() == used


async def test_what_is_denied_is_refused_and_what_asks_waits_for_a_yes(tmp_path: Path):
    rules = '[[policy.rule]]\nsay = "deny"\ntool = "delete"\n'
    rules += '[[policy.rule]]\nsay = "ask"\ntool = "write"\n'
    async with house(tmp_path, rules) as place:
        no = await use(place, "delete", arguments={"path": "a.txt"})
        assert no["end"] == "refused"
        events = await place.events(no["task"])
        (judged,) = [one.judged for one in events if isinstance(one, Replied) and one.judged]
        assert isinstance(judged[0].verdict, Deny)
        target = tmp_path / "home" / "workspace" / "b.txt"
        asked = await use(place, "write", arguments={"path": "b.txt", "content": "x"})
        assert asked["end"] == "open"
        (question,) = asked["questions"]
        assert not target.exists()
        path = f"/api/v1/tasks/{asked['task']}/calls/{question['call']}/approve"
        said = await place.tcp.post(path, json={"digest": question["digest"]})
        assert said.status_code == 200, said.text
        await place.ended(asked["task"])
        done = (await place.tcp.get(f"/api/v1/tool-uses/{asked['task']}?wait_seconds=20")).json()
        assert done["end"] == "returned"
        assert target.read_text() == "x"


async def test_the_same_key_is_the_same_use(tmp_path: Path):
    async with house(tmp_path, '[[policy.rule]]\nsay = "allow"\ntool = "write"\n') as place:
        body = {"arguments": {"path": "c.txt", "content": "1"}, "key": "once"}
        first = await use(place, "write", **body)
        (tmp_path / "home" / "workspace" / "c.txt").write_text("2")
        assert (await use(place, "write", **body))["task"] == first["task"]
        assert (tmp_path / "home" / "workspace" / "c.txt").read_text() == "2"
        other = {"arguments": {"path": "d.txt", "content": "1"}, "key": "once"}
        assert (await place.tcp.post("/api/v1/tools/write", json=other)).status_code == 409


@pytest.mark.parametrize(
    ("tool", "arguments", "status", "code"),
    [
        ("nothing_here", {}, 404, "tool_not_found"),
        ("read", {}, 422, "bad_arguments"),
        ("read", {"path": 7}, 422, "bad_arguments"),
        ("slack_whoami", {}, 404, "tool_not_found"),
        ("top_up", {"budget": "task"}, 404, "tool_not_found"),
        ("delegate", {"prompt": "do it"}, 404, "tool_not_found"),
    ],
)
async def test_what_cannot_be_used_begins_no_task(
    tmp_path: Path, tool: str, arguments: dict[str, Any], status: int, code: str
):
    async with house(tmp_path) as place:
        told = await place.tcp.post(f"/api/v1/tools/{tool}", json={"arguments": arguments})
        assert told.status_code == status, told.text
        assert code in told.text
        assert not (await place.tcp.get("/api/v1/tasks")).json()["tasks"]


async def test_a_key_needs_the_scope_and_another_task_is_no_use_of_a_tool(tmp_path: Path):
    async with house(tmp_path) as place:
        made = await place.local.post(
            "/api/v1/keys", json={"name": "eye", "scopes": ["tasks.read"]}
        )
        key = {"Authorization": f"Bearer {made.json()['key']}"}
        told = await place.tcp.post("/api/v1/tools/read", json={}, headers=key)
        assert told.status_code == 403
        assert (await place.tcp.get("/api/v1/tools", headers=key)).status_code == 200
        words = await place.tcp.post("/api/v1/tasks", json={"prompt": "hi", "model": "direct/call"})
        row = await place.ended(words.json()["id"])
        assert row["status"] == "FAILED"
        assert "is given a tool and its arguments as JSON" in json.dumps(row)
        assert (await place.tcp.get(f"/api/v1/tool-uses/{row['id']}")).status_code == 404


async def test_a_wait_for_a_use_ends_with_its_key_and_the_use_does_not(tmp_path: Path):
    async with house(tmp_path) as place, anyio.create_task_group() as group:
        told = {"name": "brief", "scopes": ["tasks.read", "tasks.write"]}
        made = await place.local.post("/api/v1/keys", json=told)
        key = {"Authorization": f"Bearer {made.json()['key']}"}
        heard: list[httpx2.Response] = []

        async def waits(method: str, path: str, body: Any = None) -> None:
            heard.append(await place.tcp.request(method, path, json=body, headers=key))

        body = {"arguments": {"seconds": 3_000}, "wait_seconds": 3_000}
        group.start_soon(waits, "POST", "/api/v1/tools/wait", body)
        with anyio.fail_after(60):
            while not (rows := (await place.tcp.get("/api/v1/tasks")).json()["tasks"]):
                await anyio.sleep(0.001)
            (task,) = [row["id"] for row in rows]
            await place.until(task, "WAITING")
            path = f"/api/v1/tool-uses/{task}?wait_seconds=3000"
            group.start_soon(waits, "GET", path)
            assert (await place.tcp.post("/api/v1/keys/brief/revoke")).status_code == 200
            while len(heard) < 2:
                await anyio.sleep(0.001)
        assert {one.status_code for one in heard} == {401}
        assert (await place.tcp.get(f"/api/v1/tasks/{task}")).json()["status"] == "WAITING"


async def test_a_folder_that_cannot_be_looked_at_is_refused(tmp_path: Path):
    async with house(tmp_path) as place:
        for folder in ("/" + "x" * 3_000, "/tmp/\0"):
            body = {"arguments": {"path": "a.txt"}, "workspace": folder}
            told = await place.tcp.post("/api/v1/tools/read", json=body)
            assert (told.status_code, told.json()["code"]) == (422, "bad_workspace")


async def test_the_houses_own_tools_are_for_nobody(tmp_path: Path):
    async with house(tmp_path) as place:
        names = {one["name"] for one in (await place.tcp.get("/api/v1/tools")).json()["tools"]}
        assert not names & {"top_up", "delegate", "plan"}
        told = await place.tcp.post("/api/v1/tools/top_up", json={"arguments": {"budget": "task"}})
        assert told.status_code == 404


@asynccontextmanager
async def host(place: Inhabited, tools: str, **more: Any) -> AsyncGenerator[Client]:
    socket = str(place.house.home / SOCKET)
    transport = httpx2.AsyncHTTPTransport(uds=socket)
    async with httpx2.AsyncClient(transport=transport, timeout=60) as wire:
        way = streamable_http_client(f"http://localhost/mcp?{tools}", http_client=wire)
        async with Client(way, **more) as client:
            yield client


async def names(client: Client) -> set[str]:
    return {tool.name for tool in (await client.list_tools()).tools}


async def test_a_host_gets_the_tools_that_it_names_and_no_others(tmp_path: Path):
    """Rows KV-56, KV-57."""
    with FakeSlack() as slack:
        slack.say("C0GENERAL", "hello host")
        async with house(tmp_path, f'[slack]\napi = "{slack.api}"\n') as place:
            async with host(place, "tools=slack_*") as client:
                assert not await names(client), "nobody is logged in"
            await log_in(place, slack)
            for broad in ("tools=*", "tools=*_task*", "x=1"):
                async with host(place, broad) as client:
                    assert not {one for one in await names(client) if "slack" in one}, broad
            async with host(place, "tools=slack_*&tools=wait_for_task") as client:
                found = await names(client)
                assert len(found) == 13
                assert {"slack_post_as_me", "slack_channel_history", "wait_for_task"} <= found
                said = await client.call_tool("slack_channel_history", {"channel": "C0GENERAL"})
                assert not said.is_error
                assert "hello host" in str(said.content)
                bad = await client.call_tool("slack_channel_history", {"channel": "#x"})
                assert bad.is_error
            rows = (await place.tcp.get("/api/v1/tasks")).json()["tasks"]
            assert len(rows) == 1, "the call that made sense is a task, written down as any other"


async def test_a_post_by_a_host_is_asked_about_there_and_journaled(tmp_path: Path):
    """Part of row KV-56."""
    with FakeSlack() as slack:
        async with house(tmp_path, f'[slack]\napi = "{slack.api}"\n') as place:
            await log_in(place, slack)
            post = {"channel": "C0GENERAL", "text": 'A "quoted"\nline'}
            async with host(place, "tools=slack_*") as client:
                said = await client.call_tool("slack_post_as_me", post)
                assert said.is_error
                assert "waits for a person's yes" in str(said.content)
            assert not slack.posts
            (row,) = (await place.tcp.get("/api/v1/tasks")).json()["tasks"]
            (question,) = row["questions"]
            calls = (await place.house.recorder.load(row["id"])).calls
            assert [one.call.labels for one in calls.values()] == [()], "the host said every word"
            path = f"/api/v1/tasks/{row['id']}/calls/{question['call']}/approve"
            await place.local.post(path, json={"digest": question["digest"]})
            await place.ended(row["id"])
            (posted,) = slack.posts
            assert posted["text"] == post["text"]


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_a_person_at_the_host_says_yes_in_a_form(tmp_path: Path, mode: str):
    """Part of row KV-56."""
    seen = list[str]()

    async def person(context: Any, params: Any) -> types.ElicitResult:
        seen.append(params.message)
        return types.ElicitResult(action="accept", content={"decision": "Yes, this once"})

    with FakeSlack() as slack:
        async with house(tmp_path, f'[slack]\napi = "{slack.api}"\n') as place:
            await log_in(place, slack)
            asking: Any = {"mode": mode, "elicitation_callback": person}
            async with host(place, "tools=slack_*", **asking) as client:
                said = await client.call_tool("slack_dm_self", {"text": "remember the milk"})
            assert not said.is_error, said
            assert "remember the milk" in seen[0]
            assert [one["channel"] for one in slack.posts] == ["D0ME"]


def test_a_use_that_waits_for_a_yes_survives_kill_9_and_is_done_once():
    with stage("direct-use") as place:
        home, folder = place / "home", files(place / "home")
        with FakeSlack() as slack, Daemon(home) as daemon:
            home.mkdir(mode=0o700, exist_ok=True)
            (home / "config.toml").write_text(f'[slack]\napi = "{slack.api}"\n')
            (home / "config.toml").chmod(0o600)
            daemon.start()
            socket = home / SOCKET
            told = {"client_id": CLIENT, "client_secret": SECRET}
            begun = ask(socket, "POST", "/api/v1/slack/default/login", told)
            answer = {"answer": slack.agree(begun["authorize"])}
            ask(socket, "POST", f"/api/v1/slack-logins/{begun['attempt']}", answer)
            post = (
                "slack_post_as_me",
                "channel=C0GENERAL",
                "text=1.10",
                "--wait",
                "0",
            )
            used = json.loads(
                holdfast(home, "tool", "use", *post, "-C", str(folder), "--json").stdout
            )
            task = used["task"]
            where = f"/api/v1/tool-uses/{task}?wait_seconds=20"
            assert ask(socket, "GET", where)["end"] == "open"
            daemon.kill()
            slack.end()  # and the token has ended meanwhile
            daemon.start()
            assert holdfast(home, "task", "approve", task).returncode == 0
            until(lambda: ask(socket, "GET", where)["end"] == "returned")
            assert [one["text"] for one in slack.posts] == ["1.10"]
            shown = holdfast(home, "slack", "status").stdout
            assert "renewed by itself" in shown
            daemon.stop()
