"""A server of tools at an address: by the one way out, its key put in there, and no further."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from holdfast.adapters.egress.gateway import Gateway
from holdfast.adapters.tools.mcp.address import place as place_of
from holdfast.core.mcp import ServerSpec
from holdfast.core.message import EffectClass, Returned, Unknown
from holdfast.core.reach import Reach
from holdfast.engine.clock import SystemClock
from holdfast.testing.fake_visits import FakeVisits
from holdfast.testing.website import Asked, Reply, Website
from tests.adapters.mcp_far import JSON, KEY, Answer, Far, told
from tests.adapters.mcp_stage import Stage, inner, staged

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def far(
    place: Path, answer: Answer | None = None, **more: Any
) -> AsyncGenerator[tuple[Stage, Website, FakeVisits]]:
    visits = FakeVisits()

    async def secret(name: str, reach: Reach) -> str:
        assert (name, reach.agent, reach.tool) == ("far/key", "default", "mcp:far")
        return KEY

    with Website(rule=Far(answer)) as site:
        spec = ServerSpec(
            name="far",
            url=f"{site.url}/mcp",
            headers={"Authorization": "Bearer $SECRET{far/key}"},
            **more,
        )
        egress = Gateway(secret=secret, log=visits, clock=SystemClock())
        async with staged(place, spec, egress=egress) as stage:
            site.asked.clear()
            yield stage, site, visits


async def test_each_question_is_a_request_with_what_the_protocol_wants(tmp_path: Path):
    """Row KV-53."""
    async with far(tmp_path) as (stage, site, _visits):
        assert (await stage.says("far_look")).count("hello") == 1
        first, *rest = site.asked
        assert first.headers["accept"] == "application/json, text/event-stream"
        assert "mcp-protocol-version" not in first.headers
        for one in rest:
            assert one.headers["mcp-protocol-version"] == "2025-06-18"
            assert one.headers["mcp-session-id"] == "ticket-1"
        await stage.servers.release(stage.job.task)
        assert site.asked[-1].method == "DELETE", "the session is given back"


async def test_its_key_is_put_in_on_the_way_out_and_seen_by_nobody(tmp_path: Path):
    """Part of row OL-132."""
    async with far(tmp_path) as (stage, site, visits):
        said = inner(await stage.says("far_look"))
        assert {one.headers["authorization"] for one in site.asked} == {f"Bearer {KEY}"}
        assert KEY not in said, "it said the key back"
        rows = [row for row in visits.all.values() if row.task == "task_1"]
        assert {(row.tool, row.host, row.agent) for row in rows} == {
            ("mcp:far", "127.0.0.1", "default")
        }
        assert rows[0].secrets == ("far/key",)


async def test_it_leads_nowhere_else(tmp_path: Path):
    def away(message: Any) -> Reply:
        return Reply(status=307, headers={"Location": "http://127.0.0.1:9/other"})

    async with far(tmp_path, away) as (stage, _, visits):
        outcome = await stage.run("far_look")
        assert isinstance(outcome, Unknown)
        assert "status 307" in outcome.reason
        assert {row.port for row in visits.all.values()} == {place_of(stage.configured[0])[1]}


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(status=401), "mcp_login_needed"),
        (Reply(status=403), "mcp_login_needed"),
        (Reply(status=404), "mcp_gone"),
        (Reply(status=500, body=b"oops"), "mcp_gone"),
        (Reply(headers={"Content-Type": "text/html"}, body=b"<p>hello"), "mcp_odd"),
        (Reply(headers=JSON, body=b"{"), "mcp_odd"),
        (Reply(headers=JSON, body=told(99, {})), "mcp_gone"),
        (Reply(headers=JSON, body=b"x" * (9 << 20)), "mcp_odd"),
        (Reply(headers={"Content-Type": "text/event-stream"}, body=b"data: {}\n\n"), "mcp_gone"),
        (
            Reply(headers={"Content-Type": "text/event-stream"}, body=b"data: {}\n\n" * 20_000),
            "mcp_odd",
        ),
        (Reply(hold=True), "mcp_timeout"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
async def test_whatever_it_answers_is_an_outcome(tmp_path: Path, reply: Reply, code: str):
    effects = {"look": EffectClass.READS}
    async with far(tmp_path, lambda _: reply, seconds=1.0, effects=effects) as (stage, _, _):
        with anyio.fail_after(20):
            found, text = await stage.fails("far_look")
        assert found == code, text
        if code == "mcp_login_needed":
            assert text.startswith("MCP_AUTH_REQUIRED:server=far; reason=")


async def test_an_answer_may_come_as_events_with_progress_before_it(tmp_path: Path):
    def events(message: Any) -> Reply:
        token = message["params"]["_meta"]["progressToken"]
        step = {"progressToken": token, "progress": 1, "total": 2, "message": "halfway"}
        note = {"jsonrpc": "2.0", "method": "notifications/progress", "params": step}
        parts = told(message["id"], {"content": [{"type": "text", "text": "done"}]}).decode()
        body = f"id: 1\ndata:\n\nevent: message\ndata: {json.dumps(note)}\n\ndata: {parts}\r\n\r\n"
        return Reply(headers={"Content-Type": "text/event-stream"}, body=body.encode())

    async with far(tmp_path, events) as (stage, _, _):
        assert inner(await stage.says("far_look")) == "done"
        assert stage.told == ["far_look: 1/2 halfway"]


async def test_a_stream_is_heard_as_it_comes_and_left_once_the_answer_is_there(tmp_path: Path):
    ponged, over = threading.Event(), threading.Event()

    def pieces(message: Any) -> Iterable[bytes]:
        token = message["params"]["_meta"]["progressToken"]
        step = {"progressToken": token, "progress": 1}
        yield event({"method": "notifications/progress", "params": step})
        yield event({"id": "p1", "method": "ping"})
        assert ponged.wait(10), "it is answered while the stream is open"
        yield b"data: " + told(message["id"], {"content": []})[:20]
        yield told(message["id"], {"content": []})[20:] + b"\n\n"
        over.wait(10)
        yield b": nobody reads this\n\n"

    def events(message: Any) -> Reply:
        headers = {"Content-Type": "text/event-stream", "Content-Length": "100000"}
        return Reply(headers=headers, body=lambda: pieces(message))

    far_side = Far(events)

    def rule(asked: Asked) -> Reply | None:
        if b'"p1"' in asked.body:
            assert json.loads(asked.body) == {"jsonrpc": "2.0", "id": "p1", "result": {}}
            ponged.set()
            return Reply(status=202)
        return far_side(asked)

    async with far(tmp_path, events, seconds=10.0) as (stage, site, _):
        site.rule = rule
        with anyio.fail_after(8):
            assert inner(await stage.says("far_look")) == "[it said nothing]"
        over.set()
        assert stage.told == ["far_look: 1"]


def event(message: dict[str, Any]) -> bytes:
    return f"data: {json.dumps({'jsonrpc': '2.0', **message})}\n\n".encode()


async def test_a_call_that_nobody_waits_for_is_taken_back(tmp_path: Path):
    async with far(tmp_path, lambda _: Reply(hold=True)) as (stage, site, _):
        with anyio.move_on_after(1):
            await stage.run("far_look")
        last = json.loads(site.asked[-1].body)
        assert last["method"] == "notifications/cancelled"
        call = next(json.loads(one.body) for one in site.asked if b"tools/call" in one.body)
        assert last["params"]["requestId"] == call["id"]


async def test_a_session_that_it_forgot_is_begun_anew(tmp_path: Path):
    replies = [Reply(status=404)]

    def once(message: Any) -> Reply:
        parts = told(message["id"], {"content": [{"type": "text", "text": "again"}]})
        return replies.pop() if replies else Reply(headers=JSON, body=parts)

    async with far(tmp_path, once) as (stage, _, _):
        assert (await stage.fails("far_look"))[0] == "mcp_gone", "it certainly did not happen"
        outcome = await stage.run("far_look")
        assert isinstance(outcome, Returned)
        assert inner(outcome.text) == "again"
