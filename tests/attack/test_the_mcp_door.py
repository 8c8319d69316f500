"""Strangers, web pages, thieves of sessions and bad messages at the door for MCP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp.shared.exceptions import MCPError

from holdfast.core.message import Reply
from holdfast.doors.http.access import MAX_BODY
from tests.doors.hosting import BEARER, HELLO, Inn, inn
from tests.doors.house import PAYS

pytestmark = pytest.mark.anyio
DONE = Reply(text="all done")
LIST = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}


def with_session(session: str) -> dict[str, str]:
    return {"Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-11-25"}


async def well(here: Inn) -> bool:
    """Does somebody new get an answer?"""
    session = await here.opened()
    return (await here.post(LIST, **with_session(session))).status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic abc"}, {"Cookie": "token=x"}],
)
async def test_who_says_not_who_he_is_gets_no_further(
    tmp_path: Path, method: str, headers: dict[str, str]
):
    async with inn(tmp_path) as here:
        answer = await here.http.request(method, here.url, headers=headers, json=HELLO)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert here.street.app.state.mcp.asked is False


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
    ],
)
async def test_web_pages_and_other_names_are_refused(tmp_path: Path, headers: dict[str, str]):
    async with inn(tmp_path) as here:
        answer = await here.post(HELLO, **headers)
        assert answer.status_code == 403
        assert "mcp-session-id" not in answer.headers


async def test_a_session_is_named_beyond_guessing_and_known_only_while_it_lasts(tmp_path: Path):
    async with inn(tmp_path) as here:
        names = {await here.opened() for _ in range(20)}
        assert len(names) == 20
        assert all(len(bytes.fromhex(name)) == 16 for name in names)
        session = names.pop()
        made_up = session[:-1] + ("0" if session[-1] != "0" else "1")
        assert (await here.post(LIST, **with_session(made_up))).status_code == 404
        gone = await here.http.delete(here.url, headers={**BEARER, **with_session(session)})
        assert gone.status_code == 200
        assert (await here.post(LIST, **with_session(session))).status_code == 404


async def test_a_session_is_of_no_use_to_another_principal(tmp_path: Path):
    async with inn(tmp_path) as here:
        session = await here.opened()
        transport = httpx2.AsyncHTTPTransport(uds=str(here.unix))
        async with httpx2.AsyncClient(transport=transport, timeout=30) as other:
            told = {"Accept": "application/json, text/event-stream", **with_session(session)}
            for method in ("GET", "POST", "DELETE"):
                answer = await other.request(method, "http://holdfast/mcp", headers=told, json=LIST)
                assert answer.status_code == 404
        assert (await here.post(LIST, **with_session(session))).status_code == 200


async def test_what_one_session_was_told_no_other_hears(tmp_path: Path):
    async with inn(tmp_path) as here:
        one, two = await here.opened(), await here.opened()
        answer = await here.post(LIST, **with_session(one))
        event = next(line[4:] for line in answer.text.splitlines() if line.startswith("id: "))
        told = {"Accept": "text/event-stream", **BEARER, "Last-Event-ID": event}
        heard: dict[str, str] = {}
        for session in (one, two):
            heard[session] = await _first(here, {**told, **with_session(session)})
        assert "submit_task" in heard[one]
        assert heard[two] == ""


async def _first(here: Inn, headers: dict[str, str]) -> str:
    """What comes at once on a stream that is gone on with."""
    try:
        async with here.http.stream("GET", here.url, headers=headers, timeout=1.0) as reply:
            async for line in reply.aiter_lines():
                if line.startswith("data: {"):
                    return line
    except httpx2.ReadTimeout:
        pass
    return ""


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[]", 400),
        (b"7", 400),
        (b"[" * 100_000, 400),
        (b'{"jsonrpc":"1.0","id":1,"method":"tools/list"}', 400),
        # The kit takes it for a notification: nothing is done, and nothing answered.
        (b'{"jsonrpc":"2.0","id":{},"method":"tools/list"}', 202),
        (b'{"jsonrpc":"2.0","id":1,"method":7}', 400),
        (json.dumps([LIST, LIST]).encode(), 400),
        (
            b'{"jsonrpc":"2.0","id":1,"method":"x","params":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
            400,
        ),
    ],
    ids=range(11),
)
async def test_what_is_no_message_is_refused_and_the_door_stays_open(
    tmp_path: Path, body: bytes, status: int
):
    async with inn(tmp_path) as here:
        session = await here.opened()
        assert (await here.post(body)).status_code == 400
        assert (await here.post(body, **with_session(session))).status_code == status
        assert await well(here)


async def test_what_is_too_large_is_refused_before_it_is_read(tmp_path: Path):
    async with inn(tmp_path) as here:
        session = await here.opened()
        port = int(here.url.rpartition(":")[2].partition("/")[0])
        told = {"Host": f"127.0.0.1:{port}", **BEARER, **with_session(session)}
        told |= {"Content-Type": "application/json", "Content-Length": str(MAX_BODY + 1)}
        head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(f"POST /mcp HTTP/1.1\r\n{head}\r\n".encode())
            with anyio.fail_after(10):
                assert b" 413 " in await stream.receive()
        assert await well(here)


@pytest.mark.parametrize(
    "message",
    [
        {"method": "no/such"},
        {"method": "tools/call"},
        {"method": "tools/call", "params": {"name": "no_such", "arguments": {}}},
        {"method": "tools/call", "params": {"name": "list_tasks", "arguments": []}},
        {"method": "tools/call", "params": {"name": "list_tasks", "_meta": 7}},
        {"method": "tools/list", "params": {"cursor": "../../x"}},
        {"method": "tools/list", "params": {"cursor": "9" * 400}},
        {"method": "resources/read", "params": {"uri": "\u0000"}},
        {"method": "resources/subscribe", "params": {"uri": 7}},
        {"method": "logging/setLevel", "params": {"level": "loud"}},
        {"method": "completion/complete", "params": {"ref": {"type": "ref/prompt"}}},
        {"method": "initialize", "params": {}},
    ],
)
async def test_a_message_that_makes_no_sense_is_an_error_of_the_protocol(
    tmp_path: Path, message: dict[str, Any]
):
    async with inn(tmp_path) as here:
        told = with_session(await here.opened())
        await here.post({"jsonrpc": "2.0", "method": "notifications/initialized"}, **told)
        answer = await here.post({"jsonrpc": "2.0", "id": 9, **message}, **told)
        assert answer.status_code in {200, 400}
        assert '"error":{' in answer.text
        assert "Traceback" not in answer.text
        assert await well(here)


@pytest.mark.parametrize("version", ["2026-07-28", "1999-01-01", "x" * 5_000])
async def test_a_version_in_the_header_alone_opens_nothing(tmp_path: Path, version: str):
    async with inn(tmp_path) as here:
        answer = await here.post(LIST, **{"MCP-Protocol-Version": version})
        assert answer.status_code == 400
        assert await well(here)


async def test_a_key_may_over_mcp_what_it_may_anywhere_and_no_more(tmp_path: Path):
    async with inn(tmp_path, [PAYS, DONE]) as here:

        async def key(*scopes: str) -> dict[str, str]:
            name = scopes[-1].replace(".", "-")
            client = await here.street.keyed(*scopes, name=name)
            return {"Authorization": client.headers["authorization"]}

        outside = await here.http.post(here.url, json=HELLO, headers=await key("chat"))
        assert outside.status_code == 403
        async with here.host(headers=await key("agents")) as nothing:
            assert "tasks.read" in await nothing.refused("list_tasks")
        async with here.host(headers=await key("agents", "tasks.write")) as writer:
            row = await writer.does("submit_task", prompt="pay Ann", wait_seconds=5)
            assert writer.progress == [], "it may not look"
        async with here.host(headers=await key("agents", "tasks.write", "tasks.read")) as host:
            row = await host.does("wait_for_task", task=row["id"])
            asked = row["questions"][0]
            told = {"task": row["id"], "call": asked["call"], "digest": asked["digest"]}
            assert "approve" in await host.refused("approve_call", **told)
            assert "status" in await host.refused("show_costs")
            with pytest.raises(MCPError):
                await host.session.read_resource("holdfast://policy")
            assert (await host.does("show_task", task=row["id"]))["status"] == "WAITING"
