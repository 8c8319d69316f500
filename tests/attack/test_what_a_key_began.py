"""What was begun with a key or a session ends with it, at once, at whichever door it is."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import mcp_types as types
import pytest
from msgspec.structs import replace
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from holdfast.core.context import Prompt
from holdfast.core.ids import TaskId
from holdfast.core.message import Reply
from holdfast.doors.http.access import Access
from holdfast.ports.egress import Answer
from holdfast.ports.model import Delta
from holdfast.testing.fake_egress import FakeEgress
from tests.doors.hosting import Inn, inn
from tests.doors.house import PAYS, TOKEN, Plan, Street

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:resources/.*removed")]
PATIENCE = 30
V1 = {"A2A-Version": "1.0"}
SCOPES = ("tasks.read", "tasks.write", "chat", "agents", "models")
SAID = {"messages": [{"role": "user", "content": "hello"}]}
PAY = {"messages": [{"role": "user", "content": "pay"}]}
QUIET = Plan(keep_alive=3_000.0)


class NeverDone:
    """Asked as an agent it pays, and so has to ask; asked as a plain model it only begins."""

    def __init__(self) -> None:
        self.asked = anyio.Event()

    async def __call__(self, prompt: Prompt, hear: Callable[[Delta], None]) -> Reply:
        if "hello" not in repr(prompt.entries):
            return PAYS
        hear(Delta(text="well"))
        self.asked.set()
        await anyio.sleep_forever()
        raise AssertionError


@asynccontextmanager
async def a_key(
    home: Path, plan: Plan = QUIET, model: NeverDone | None = None
) -> AsyncGenerator[tuple[Inn, dict[str, str], str]]:
    """A house, what a key called `watch` sends, and a task of it that waits."""
    async with inn(home, model or NeverDone(), plan=plan) as here:
        keyed = await here.street.keyed(*SCOPES, name="watch")
        row = (await keyed.post("/api/v1/tasks", json={"prompt": "pay"})).json()
        await here.street.until(row["id"], "WAITING")
        yield here, {"Authorization": keyed.headers["authorization"], **V1}, row["id"]


async def taken_back(at: Street) -> None:
    assert (await at.tcp.post("/api/v1/keys/watch/revoke")).status_code == 200


def message(**configuration: Any) -> dict[str, Any]:
    said = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "pay"}]}
    return {"message": said, "configuration": configuration}


def page() -> dict[str, Any]:
    said = [{"id": "1", "role": "user", "content": "pay"}]
    return {"threadId": "talk", "runId": "r", "messages": said}


Way = tuple[str, str, Any]
STREAMS: Mapping[str, Way] = {
    "a task": ("GET", "/api/v1/tasks/{task}/events?follow=true", None),
    "a reply": ("POST", "/api/v1/models/ask", {"text": "hello", "stream": True}),
    "openai, a model": (
        "POST",
        "/v1/chat/completions",
        {**SAID, "model": "scripted/script", "stream": True},
    ),
    "openai, an agent": (
        *("POST", "/v1/chat/completions"),
        {**PAY, "model": "agent:default", "stream": True},
    ),
    "responses": (
        *("POST", "/v1/responses"),
        {"model": "agent:default", "input": "pay", "stream": True},
    ),
    "a2a, watched": ("GET", "/a2a/tasks/{task}:subscribe", None),
    "a2a, begun": ("POST", "/a2a/message:stream", message()),
    "a2a, waited for": ("POST", "/a2a/message:send", message()),
}


@pytest.mark.parametrize("name", STREAMS)
async def test_a_stream_ends_when_its_key_does_though_nothing_happens(tmp_path: Path, name: str):
    (method, path, body), model = STREAMS[name], NeverDone()
    async with a_key(tmp_path, model=model) as (here, key, task):
        base = here.url.removesuffix("/mcp")
        url = base + path.format(task=task)
        async with (
            httpx2.AsyncClient(headers=key, timeout=PATIENCE) as line,
            line.stream(method, url, json=body) as answer,
        ):
            assert answer.status_code == 200
            with anyio.fail_after(PATIENCE):
                if name.startswith("a reply") or name.endswith("model"):
                    await model.asked.wait()
                await taken_back(here.street)
                told = "".join([piece async for piece in answer.aiter_text()])
        assert "SUCCEEDED" not in told
        assert "[DONE]" not in told


WAITS: Mapping[str, Way] = {
    "a reply": ("POST", "/api/v1/models/ask", {"text": "hello"}),
    "openai, a model": ("POST", "/v1/chat/completions", {**SAID, "model": "scripted/script"}),
    "openai, an agent": ("POST", "/v1/chat/completions", {**PAY, "model": "agent:default"}),
    "responses": ("POST", "/v1/responses", {"model": "agent:default", "input": "pay"}),
}


@pytest.mark.parametrize("name", WAITS)
async def test_who_waits_for_an_answer_hears_that_the_key_has_ended(tmp_path: Path, name: str):
    method, path, body = WAITS[name]
    model = NeverDone()
    async with (
        a_key(tmp_path, model=model) as (here, key, _),
        anyio.create_task_group() as group,
    ):
        heard: list[httpx2.Response] = []

        async def ask() -> None:
            url = here.url.removesuffix("/mcp") + path
            async with httpx2.AsyncClient(headers=key, timeout=PATIENCE) as line:
                heard.append(await line.request(method, url, json=body))

        group.start_soon(ask)
        with anyio.fail_after(PATIENCE):
            while not model.asked.is_set() and len(await waiting(here.street)) < 2:
                await anyio.sleep(0.001)
        await taken_back(here.street)
        with anyio.fail_after(PATIENCE):
            while not heard:
                await anyio.sleep(0.001)
        assert heard[0].status_code == 401
        assert "has ended" in heard[0].text


async def waiting(at: Street) -> list[dict[str, Any]]:
    return (await at.tcp.get("/api/v1/tasks?status=WAITING")).json()["tasks"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/tasks", {"prompt": "after the end"}),
        ("/api/v1/tools/pay", {"arguments": {"amount": 3}}),
        ("/v1/chat/completions", {**PAY, "model": "agent:default"}),
        ("/a2a/message:send", {"message": {}}),
        ("/ag-ui", {"threadId": "t", "runId": "r", "messages": []}),
    ],
)
async def test_what_is_asked_to_its_end_after_the_key_is_not_asked(
    tmp_path: Path, path: str, body: Mapping[str, Any]
):
    """Whoever has a key can begin as many requests as they like, and end them when it is gone."""
    async with a_key(tmp_path) as (here, key, _):
        before = (await here.street.tcp.get("/api/v1/tasks")).json()["tasks"]
        base, data = here.url.removesuffix("/mcp"), json.dumps(body).encode()
        place = base.removeprefix("http://")
        told = {**key, "Host": place, "Content-Type": "application/json"}
        told |= {"Content-Length": str(len(data)), "Expect": "100-continue"}
        head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        host, _, port = place.partition(":")
        async with await anyio.connect_tcp(host, int(port)) as wire:
            with anyio.fail_after(PATIENCE):
                await wire.send(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode())
                assert b"100 Continue" in await wire.receive()  # it has been let in, and is read
                await wire.send(data[:5])
                await taken_back(here.street)
                await wire.send(data[5:])
                assert b" 401 " in (await wire.receive()).partition(b"\r\n")[0]
        assert (await here.street.tcp.get("/api/v1/tasks")).json()["tasks"] == before


async def test_a_key_that_takes_itself_back_is_told_so(tmp_path: Path):
    async with inn(tmp_path, NeverDone()) as here:
        admin = await here.street.keyed("admin", name="self")
        key = {"Authorization": admin.headers["authorization"]}
        url = here.url.removesuffix("/mcp") + "/api/v1/keys/self/revoke"
        answer = await here.http.post(url, headers=key)
        assert (answer.status_code, answer.json()["state"]) == (200, "revoked")
        assert (await here.http.post(url, headers=key)).status_code == 401


async def test_a_wait_of_a_host_ends_with_its_key_and_the_task_does_not(tmp_path: Path):
    asked = anyio.Event()

    async def puzzled(_context: Any, _params: Any) -> types.ElicitResult:
        asked.set()
        await anyio.sleep_forever()
        raise AssertionError

    async with (
        a_key(tmp_path) as (here, key, _),
        here.host(puzzled, headers=key) as host,
        anyio.create_task_group() as group,
    ):
        arguments = {"prompt": "pay", "wait_seconds": 3_000}
        group.start_soon(host.session.call_tool, "submit_task", arguments)
        live = here.street.house.live
        with anyio.fail_after(PATIENCE):
            await asked.wait()
            (task,) = [row["id"] for row in await waiting(here.street) if live.watched(row["id"])]
            await taken_back(here.street)
            while live.watched(TaskId(task)):
                await anyio.sleep(0.001)
        assert len(await waiting(here.street)) == 2
        group.cancel_scope.cancel()


async def test_a_subscription_of_a_host_ends_with_its_key(tmp_path: Path):
    async with a_key(tmp_path) as (here, key, task), here.host(headers=key) as host:
        live = here.street.house.live
        await host.old.subscribe_resource(f"task://{task}")
        with anyio.fail_after(PATIENCE):
            while not live.watched(TaskId(task)):
                await anyio.sleep(0.001)
            await taken_back(here.street)
            while live.watched(TaskId(task)):
                await anyio.sleep(0.001)


async def test_a_socket_closes_with_its_key(tmp_path: Path):
    async with a_key(tmp_path) as (here, key, task):
        url = here.url.removesuffix("/mcp").replace("http://", "ws://") + "/ws"
        async with connect(url, additional_headers=key) as wire:
            for name, params in (
                ("hello", {"capabilities": ["read"]}),
                ("events.subscribe", {"task": task}),
            ):
                said = {"jsonrpc": "2.0", "id": 1, "method": name, "params": params}
                await wire.send(json.dumps(said))
            await taken_back(here.street)
            with anyio.fail_after(PATIENCE), pytest.raises(ConnectionClosed) as closed:
                while True:
                    await wire.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, "ended" in closed.value.rcvd.reason) == (1008, True)


@pytest.mark.parametrize("whose", ["a key", "the house"])
async def test_a_stream_of_a_browser_ends_when_its_session_does(tmp_path: Path, whose: str):
    async with a_key(tmp_path) as (here, key, task):
        base = here.url.removesuffix("/mcp")
        async with httpx2.AsyncClient(timeout=PATIENCE) as page:
            own = key["Authorization"].removeprefix("Bearer ")
            said = {"key": own if whose == "a key" else TOKEN}
            begun = await page.post(f"{base}/api/v1/login", json=said)
            assert begun.status_code < 300, begun.text
            csrf = {"X-CSRF-Token": begun.json()["csrf"]}
            url = f"{base}/api/v1/tasks/{task}/events?follow=true"
            async with page.stream("GET", url) as answer:
                assert answer.status_code == 200
                with anyio.fail_after(PATIENCE):
                    out = await page.post(f"{base}/api/v1/logout", headers=csrf)
                    assert out.status_code < 300, out.text
                    assert "event: end" not in "".join([one async for one in answer.aiter_text()])


async def test_a_key_that_lasts_a_moment_ends_what_it_began(tmp_path: Path):
    """Nobody takes it back: its time is over."""
    async with inn(tmp_path, NeverDone(), plan=QUIET) as here:
        row = await here.street.submit("pay")
        keyed = await here.street.keyed("tasks.read", name="brief", days=1 / 86_400)
        key = {"Authorization": keyed.headers["authorization"]}
        url = here.url.removesuffix("/mcp") + f"/api/v1/tasks/{row['id']}/events?follow=true"
        async with here.http.stream("GET", url, headers=key) as answer:
            assert answer.status_code == 200
            with anyio.fail_after(PATIENCE):
                assert "event: end" not in "".join([one async for one in answer.aiter_text()])


@pytest.mark.parametrize("whose", ["a key", "the house"])
async def test_a_session_that_lasts_a_moment_ends_what_it_began(tmp_path: Path, whose: str):
    """Nobody logs out: its time is over, though its key, if it has one, is still good."""
    plan = replace(QUIET, access=Access(session_seconds=2))
    async with a_key(tmp_path, plan) as (here, key, task):
        base = here.url.removesuffix("/mcp")
        async with httpx2.AsyncClient(timeout=PATIENCE) as page:
            own = key["Authorization"].removeprefix("Bearer ")
            said = {"key": own if whose == "a key" else TOKEN}
            assert (await page.post(f"{base}/api/v1/login", json=said)).status_code < 300
            url = f"{base}/api/v1/tasks/{task}/events?follow=true"
            async with page.stream("GET", url) as answer:
                assert answer.status_code == 200
                with anyio.fail_after(PATIENCE):
                    assert "event: end" not in "".join([one async for one in answer.aiter_text()])
        still = await here.http.get(f"{base}/api/v1/tasks/{task}", headers=key)
        assert still.status_code == 200


async def test_nothing_is_pushed_for_a_key_that_has_ended(tmp_path: Path):
    taken = Answer(status=200, headers={}, body=b"", url="")
    plan = Plan(egress=FakeEgress(rule=lambda _: taken))
    async with a_key(tmp_path, plan) as (here, key, _):
        at, base = here.street, here.url.removesuffix("/mcp")
        push = {"id": "x", "url": "https://hook.example/"}
        send = message(taskPushNotificationConfig=push, returnImmediately=True)
        begun = await here.http.post(f"{base}/a2a/message:send", json=send, headers=key)
        task = begun.json()["task"]["id"]
        await at.until(task, "WAITING")
        with anyio.fail_after(PATIENCE):
            while not any(b"_REQUIRED" in one.request.body for one in plan.egress.fetched):
                await anyio.sleep(0.001)
            told = len(plan.egress.fetched)
            await taken_back(at)
            await at.tcp.post(f"/api/v1/tasks/{task}/cancel")
            while not [one for one in at.house.pushes.all(task) if one.failed or one.over]:
                await anyio.sleep(0.001)
        assert [one.failed for one in at.house.pushes.all(task)] == [
            "key:watch may not ask any more"
        ]
        assert len(plan.egress.fetched) == told
