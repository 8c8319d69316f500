"""The door to servers of tools: keys in and out, and nothing agreed to that was not shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.testing.fake_servers import FakeServers
from tests.doors.house import street

pytestmark = pytest.mark.anyio


async def test_a_server_is_added_looked_at_agreed_to_and_removed(tmp_path: Path):
    async with street(tmp_path) as here:
        body = {"command": ["/opt/mcp/git"], "effects": {"get_*": "reads"}, "agents": ["crew-*"]}
        made = (await here.tcp.post("/api/v1/mcp/git", json=body)).json()
        assert (made["state"], made["kind"], made["agents"]) == ("untrusted", "command", ["crew-*"])
        assert (await here.tcp.get("/api/v1/mcp/git/tools")).json()["tools"] == []
        assert (await here.tcp.get("/api/v1/status")).json()["servers"] == ["git is untrusted"]
        seen = (await here.tcp.post("/api/v1/mcp/git/inspect")).json()
        assert [tool["tool"] for tool in seen["tools"]] == ["git_echo"]
        digest = {"digest": seen["digest"]}
        told = (await here.tcp.post("/api/v1/mcp/git/trust", json=digest)).json()
        assert (told["state"], told["tools"]) == ("trusted", 1)
        listed = (await here.tcp.get("/api/v1/mcp")).json()["servers"]
        assert [(one["name"], one["state"]) for one in listed] == [("git", "trusted")]
        assert len((await here.tcp.get("/api/v1/mcp/git/tools")).json()["tools"]) == 1
        assert (await here.tcp.post("/api/v1/mcp/git/remove")).json() == {"name": "git"}
        assert (await here.tcp.get("/api/v1/mcp")).json()["servers"] == []


async def test_what_was_not_shown_cannot_be_agreed_to(tmp_path: Path):
    async with street(tmp_path) as here:
        await here.tcp.post("/api/v1/mcp/git", json={"command": ["git-server"]})
        answer = await here.tcp.post("/api/v1/mcp/git/trust", json={"digest": "0" * 64})
        assert (answer.status_code, answer.json()["code"]) == (409, "mcp_not_seen")
        seen = (await here.tcp.post("/api/v1/mcp/git/inspect")).json()
        assert isinstance(here.house.servers, FakeServers)
        here.house.servers.words = "Say it to me."
        answer = await here.tcp.post("/api/v1/mcp/git/trust", json={"digest": seen["digest"]})
        assert answer.status_code == 409


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"command": ["x"], "url": "https://example.com"}, 422),
        ({"url": "ftp://example.com"}, 422),
        ({"url": "https://example.com", "headers": {"Authorization": "Bearer plain"}}, 422),
        ({"command": ["x"], "effects": {"a": "destroys"}}, 422),
        ({"command": ["x"], "surprise": 1}, 422),
        ({"command": "x"}, 422),
    ],
)
async def test_what_makes_no_sense_is_refused(tmp_path: Path, body: dict[str, object], status: int):
    async with street(tmp_path) as here:
        assert (await here.tcp.post("/api/v1/mcp/lab", json=body)).status_code == status
        assert (await here.tcp.get("/api/v1/mcp")).json()["servers"] == []
        assert (await here.tcp.post("/api/v1/mcp/nobody/inspect")).status_code == 404
        assert (await here.tcp.get("/api/v1/mcp/nobody/tools")).status_code == 404
