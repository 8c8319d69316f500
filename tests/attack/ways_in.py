"""Every door of a house that works, used from outside: a prompt goes in, a task comes back."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import acp
import anyio
import httpx2
from acp import schema
from anyio.abc import TaskGroup
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from websockets.asyncio.client import unix_connect

PATIENCE = 400.0
OVER = {"SUCCEEDED", "FAILED", "CANCELED", "DEAD_LETTER"}
Json = dict[str, Any]


@dataclass(kw_only=True)
class Place:
    """A house as it is seen from outside. `room` is for those who wait as long as their task."""

    home: Path
    tcp: httpx2.AsyncClient
    local: httpx2.AsyncClient
    room: TaskGroup

    @property
    def socket(self) -> str:
        return str(self.home / "run" / "holdfast.sock")

    @property
    def workspace(self) -> str:
        return str(self.home / "workspace")

    async def told(self, task: str) -> AsyncGenerator[tuple[str, Json]]:
        """What has happened to a task and what happens, until it has ended."""
        where, kind = f"/api/v1/tasks/{task}/events", ""
        async with self.local.stream("GET", where, params={"follow": True}) as answer:
            assert answer.status_code == 200, await answer.aread()
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    kind = line[7:]
                elif line.startswith("data: "):
                    item = json.loads(line[6:])
                    yield kind, item.get("data", item)

    async def first(self, task: str, true: Callable[[str, Json], bool]) -> Json:
        """The first thing that happens to a task of which that is true."""
        seen: list[str] = []
        with anyio.move_on_after(PATIENCE):
            async for kind, data in self.told(task):
                if true(kind, data):
                    return data
                seen.append(kind if kind != "end" else json.dumps(data))
        raise AssertionError((task, seen[-5:]))

    async def ended(self, task: str) -> Json:
        return await self.first(task, lambda kind, _: kind == "end")

    async def does(self, task: str, what: str, **body: Any) -> Json:
        answer = await self.local.post(f"/api/v1/tasks/{task}/{what}", json=body)
        assert answer.is_success, answer.text
        return answer.json()

    async def in_session(self, session: str) -> list[Json]:
        answer = await self.local.get("/api/v1/tasks", params={"session": session, "limit": 100})
        return answer.json()["tasks"]

    async def began(self, session: str, before: int) -> str:
        """The task that somebody begins there, beside those that were there before."""
        with anyio.fail_after(PATIENCE):
            while len(rows := await self.in_session(session)) <= before:
                await anyio.sleep(0.02)
        return str(rows[0]["id"])

    async def waits(self, where: str, body: Json) -> None:
        """Ask, and wait for the whole answer; whatever becomes of it."""
        try:
            answer = await self.tcp.post(where, json=body, timeout=PATIENCE)
        except httpx2.TransportError:
            return  # the house is gone
        assert answer.status_code != 422, answer.text


class Ask(NamedTuple):
    """What is wanted. The task is `name`d by whoever asks; `session` is the one of before."""

    prompt: str
    name: str
    session: str


async def _http(place: Place, ask: Ask) -> str:
    answer = await place.tcp.post("/api/v1/tasks", json=_terms(place, ask))
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def _socket(place: Place, ask: Ask) -> str:
    answer = await place.local.post("/api/v1/tasks", json=_terms(place, ask))
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def _command(place: Place, ask: Ask) -> str:
    words = ["run", "--detach", "--json", "-C", place.workspace]
    argv = [*_program(*words), "--session", _session(ask), ask.prompt]
    done = await anyio.run_process(argv, env=_around(place), input=b"")
    return str(json.loads(done.stdout)["id"])


async def _websocket(place: Place, ask: Ask) -> str:
    async with unix_connect(place.socket, uri="ws://localhost/ws", open_timeout=60) as wire:

        async def result(method: str, params: Mapping[str, Any]) -> Json:
            asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            await wire.send(json.dumps(asked))
            said = json.loads(await wire.recv())
            assert "result" in said, said
            return said["result"]

        await result("hello", {"capabilities": ["read", "mutate"]})
        return str((await result("tasks.create", _terms(place, ask)))["id"])


async def _mcp(place: Place, ask: Ask) -> str:
    way = streamable_http_client("http://localhost/mcp", http_client=place.local)
    async with Client(way, mode="2026-07-28") as client:
        said = await client.call_tool("submit_task", _terms(place, ask))
    assert said.structured_content, said
    return str(said.structured_content["id"])


async def _editor(place: Place, ask: Ask) -> str:
    """The editor is closed when the task is begun: it goes on without it."""
    person: Any = _Editor()
    program, ends = _program("acp"), {"shutdown_timeout": PATIENCE}
    async with acp.spawn_agent_process(
        person,
        *program,
        env=_around(place),
        cwd=place.workspace,
        transport_kwargs=ends,
    ) as (agent, _):
        able = schema.ClientCapabilities()
        await agent.initialize(protocol_version=1, client_capabilities=able)
        session = ask.session
        if session:
            await agent.load_session(cwd=place.workspace, session_id=session, mcp_servers=[])
        else:
            begun = await agent.new_session(cwd=place.workspace, mcp_servers=[])
            session = begun.session_id
        before, task = len(await place.in_session(session)), ""
        async with anyio.create_task_group() as group:
            group.start_soon(_prompted, agent, session, ask.prompt)
            task = await place.began(session, before)
            group.cancel_scope.cancel()
        return task


async def _prompted(agent: Any, session: str, prompt: str) -> None:
    with suppress(acp.RequestError):  # a task that fails, as it may
        await agent.prompt(session_id=session, prompt=[acp.text_block(prompt)])


async def _chat(place: Place, ask: Ask) -> str:
    """An agent as a model. Whoever stops waiting for its answer takes the task along."""
    said = [{"role": "user", "content": ask.prompt}]
    return await _waiting(place, ask, "/v1/chat/completions", {"messages": said})


async def _responses(place: Place, ask: Ask) -> str:
    body = {"input": ask.prompt, "background": True, "store": True}
    return await _waiting(place, ask, "/v1/responses", body)


async def _waiting(place: Place, ask: Ask, where: str, body: Json) -> str:
    user = ask.session.rpartition(":")[2] or ask.name
    session = f"openai:{BY}:{user}"
    before = len(await place.in_session(session))
    told = {**body, "model": "agent:default", "user": user}
    place.room.start_soon(place.waits, where, told)
    return await place.began(session, before)


async def _a2a(place: Place, ask: Ask) -> str:
    """From somebody whose word counts as a person's; an agent's is a stranger's (and labelled)."""
    said = {"role": "ROLE_USER", "messageId": ask.name, "contextId": _session(ask)}
    params = {
        "message": {**said, "parts": [{"text": ask.prompt}]},
        "configuration": {"returnImmediately": True},
    }
    asked = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params}
    answer = await place.tcp.post("/a2a", json=asked, headers={"A2A-Version": "1.0"})
    assert "result" in answer.json(), answer.text
    return str(answer.json()["result"]["task"]["id"])


async def _web_page(place: Place, ask: Ask) -> str:
    thread = _session(ask)
    before = len(await place.in_session(thread))
    said = [{"id": "1", "role": "user", "content": ask.prompt}]
    body = {"threadId": thread, "runId": ask.name, "messages": said}
    place.room.start_soon(place.waits, "/ag-ui", body)
    return await place.began(thread, before)


async def _bridge(place: Place, ask: Ask) -> str:
    """From somebody whom the configuration knows as a person; others are strangers."""
    sender = ask.session.split("/")[2] if ask.session else ask.name
    body = {"sender": sender, "room": "hall", "text": ask.prompt}
    answer = await place.tcp.post("/api/v1/chat", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["task"])


BY = "token:default"
_NATIVE = "doors/http/native.py::submit"


class Door(NamedTuple):
    """`enter` gets a task in; `by` are the functions of ours that it passes, nearest first."""

    enter: Callable[[Place, Ask], Awaitable[str]]
    by: tuple[str, ...]


DOORS: dict[str, Door] = {
    "http": Door(_http, (_NATIVE,)),
    "socket": Door(_socket, (_NATIVE,)),
    "command": Door(_command, ("doors/cli/run.py::submit", _NATIVE)),
    "websocket": Door(_websocket, (_NATIVE,)),
    "mcp": Door(_mcp, (_NATIVE,)),
    "editor": Door(_editor, ("doors/acp/session.py::Session._begun", _NATIVE)),
    "chat": Door(
        _chat, ("doors/http/openai/answering.py::ready", "doors/http/openai/agents.py::submit")
    ),
    "responses": Door(
        _responses,
        (
            "doors/http/openai/responses.py::Making.in_background",
            "doors/http/openai/agents.py::submit",
        ),
    ),
    "a2a": Door(_a2a, ("doors/http/a2a/operations.py::_begun",)),
    "bridge": Door(_bridge, ("runtime/bridging.py::_submit",)),
    "web page": Door(_web_page, ("doors/http/agui/running.py::_begun",)),
}
"""How a task gets in. A new door is a line here, and all of the matrix holds for it."""


def _session(ask: Ask) -> str:
    return ask.session or ask.name


def _terms(place: Place, ask: Ask) -> Json:
    return {"prompt": ask.prompt, "workspace": place.workspace, "session": _session(ask)}


def _program(*words: str) -> list[str]:
    return [sys.executable, "-m", "holdfast.doors.cli", *words]


def _around(place: Place) -> dict[str, str]:
    home = str(place.home)
    path = os.pathsep.join(sys.path)
    return {"PATH": os.defpath, "PYTHONPATH": path, "HOME": home, "HOLDFAST_HOME": home}


class _Editor:
    """A person who looks at something else."""

    async def session_update(self, session_id: str, update: Any, **_: Any) -> None:
        """Nothing is shown."""

    async def request_permission(
        self, session_id: str, tool_call: Any, options: Any, **_: Any
    ) -> schema.RequestPermissionResponse:
        await anyio.sleep_forever()
        raise AssertionError


@asynccontextmanager
async def at_the_socket(home: Path) -> AsyncGenerator[httpx2.AsyncClient]:
    """A client that the house knows as its own user."""
    way = httpx2.AsyncHTTPTransport(uds=str(home / "run" / "holdfast.sock"))
    async with httpx2.AsyncClient(
        transport=way, base_url="http://localhost", timeout=PATIENCE
    ) as client:
        yield client
