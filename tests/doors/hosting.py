"""Hosts of the official kit before the door for MCP of a house of fakes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx2
import mcp_types as types
from mcp.client.client import Client
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client

from holdfast.doors.http.serve import serve
from tests.doors.house import TOKEN, Street, street

BEARER = {"Authorization": f"Bearer {TOKEN}"}
Elicit = Any
"""What a host does with a form: a function of the request's context and its parameters."""


@dataclass(kw_only=True)
class Host:
    """A session, and what it has heard."""

    session: ClientSession
    heard: list[Any] = field(default_factory=list[Any])
    progress: list[str] = field(default_factory=list[str])

    @property
    def old(self) -> Any:
        """The session, for what the revision of 2026 has no more; hosts of before still ask it."""
        return self.session

    async def does(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """What a tool gives; the kit holds it against the tool's own schema."""
        with anyio.fail_after(20):
            said = await self.session.call_tool(tool, arguments, progress_callback=self._note)
        assert isinstance(said, types.CallToolResult)
        assert not said.is_error, said.content
        assert said.structured_content is not None
        return said.structured_content

    async def refused(self, tool: str, /, **arguments: Any) -> str:
        said = await self.session.call_tool(tool, arguments)
        assert isinstance(said, types.CallToolResult)
        assert said.is_error
        assert isinstance(said.content[0], types.TextContent)
        return said.content[0].text

    async def reads(self, uri: str) -> str:
        found = (await self.session.read_resource(uri)).contents[0]
        assert isinstance(found, types.TextResourceContents)
        return found.text

    async def _note(self, progress: float, total: float | None, message: str | None) -> None:
        self.progress.append(message or "")


@dataclass(frozen=True, kw_only=True)
class Inn:
    """A house that is listening."""

    street: Street
    url: str
    http: httpx2.AsyncClient
    unix: Path

    @asynccontextmanager
    async def host(
        self, elicit: Elicit | None = None, query: str = "", headers: dict[str, str] = BEARER
    ) -> AsyncGenerator[Host]:
        heard: list[Any] = []

        async def hear(message: Any) -> None:
            heard.append(message)

        async with (
            httpx2.AsyncClient(headers=headers, timeout=30) as http,
            streamable_http_client(f"{self.url}{query}", http_client=http) as streams,
            ClientSession(
                streams[0], streams[1], elicitation_callback=elicit, message_handler=hear
            ) as session,
        ):
            with anyio.fail_after(20):
                await session.initialize()
            yield Host(session=session, heard=heard)

    @asynccontextmanager
    async def modern(self, elicit: Elicit | None = None) -> AsyncGenerator[Client]:
        """A host that speaks the revision of 2026, which has no sessions."""
        async with httpx2.AsyncClient(headers=BEARER, timeout=30) as http:
            way = streamable_http_client(self.url, http_client=http)
            async with Client(way, mode="2026-07-28", elicitation_callback=elicit) as client:
                yield client

    async def post(self, body: Any, **headers: str) -> httpx2.Response:
        """One raw message."""
        told = {"Accept": "application/json, text/event-stream", **BEARER, **headers}
        data = body if isinstance(body, bytes) else None
        if data is not None:
            told["Content-Type"] = "application/json"
            return await self.http.post(self.url, content=data, headers=told)
        return await self.http.post(self.url, json=body, headers=told)

    async def opened(self) -> str:
        """The name of a new session."""
        answer = await self.post(HELLO)
        assert answer.status_code == 200
        return answer.headers["mcp-session-id"]


HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


@asynccontextmanager
async def inn(home: Path, says: Any = (), **more: Any) -> AsyncGenerator[Inn]:
    async with (
        street(home, says, **more) as here,
        anyio.create_task_group() as group,
        httpx2.AsyncClient(timeout=30) as http,
    ):
        unix = home / "run" / "holdfast.sock"
        addresses: Any = await group.start(partial(serve, here.app, unix=unix, port=0))
        yield Inn(street=here, url=f"{addresses[0]}/mcp", http=http, unix=unix)
        group.cancel_scope.cancel()
