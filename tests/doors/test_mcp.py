"""The door to servers of tools: keys in and out, and nothing agreed to that was not shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.ports.mcp import ServerQuestion
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


async def test_every_server_is_had_come_up_and_a_broken_one_keeps_no_other_from_it(tmp_path: Path):
    """Row KV-51. Part of row OK-138."""
    async with street(tmp_path) as here:
        for name in ("one", "two", "three"):
            await here.tcp.post(f"/api/v1/mcp/{name}", json={"command": [name]})
        assert isinstance(here.house.servers, FakeServers)
        here.house.servers.broken["two"] = "it ended at once"
        looked = (await here.tcp.post("/api/v1/mcp-checks")).json()["servers"]
        assert [(one["name"], one["tools"], one["problem"]) for one in looked] == [
            ("one", 1, ""),
            ("three", 1, ""),
            ("two", 0, "it ended at once"),
        ]
        assert looked[2]["hint"] == "holdfast mcp test two"


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


async def test_a_login_is_begun_finished_listed_and_forgotten(tmp_path: Path):
    """Part of rows KV-49, KV-47."""
    async with street(tmp_path) as here:
        await here.tcp.post("/api/v1/mcp/far", json={"url": "https://mcp.example.com/mcp"})
        body = {"redirect": "http://127.0.0.1:5000/callback"}
        begun = (await here.tcp.post("/api/v1/mcp/far/login", json=body)).json()
        assert (begun["state"], begun["redirect"]) == ("begun", body["redirect"])
        place = f"/api/v1/mcp-logins/{begun['attempt']}"
        refused = await here.tcp.post(place, json={"answer": "http://127.0.0.1:5000/?code=no"})
        assert refused.status_code == 403
        answer = {"answer": "http://127.0.0.1:5000/callback?code=ok"}
        assert (await here.tcp.post(place, json=answer)).json()["state"] == "in"
        (one,) = (await here.tcp.get("/api/v1/mcp-logins")).json()["logins"]
        assert (one["server"], one["scopes"]) == ("far", ["read"])
        gone = await here.tcp.post("/api/v1/mcp/far/logout", json={})
        assert gone.json() == {"name": "far", "revoked": True}
        assert (await here.tcp.get("/api/v1/mcp-logins")).json()["logins"] == []
        missing = await here.tcp.post("/api/v1/mcp/none/login", json={})
        assert missing.status_code == 404


async def test_what_a_server_asks_is_answered_once(tmp_path: Path):
    async with street(tmp_path) as here:
        servers = here.house.servers
        assert isinstance(servers, FakeServers)
        for name in ("ask_1", "ask_2"):
            fields = {"name": {"type": "string"}}
            servers.asked[name] = ServerQuestion(
                id=name, server="lab", task="task_1", text="Who?", fields=fields
            )
        listed = (await here.tcp.get("/api/v1/mcp-questions")).json()["questions"]
        assert [one["id"] for one in listed] == ["ask_1", "ask_2"]
        content = {"content": {"name": "Ada"}}
        told = await here.tcp.post("/api/v1/mcp-questions/ask_1", json=content)
        assert told.json()["server"] == "lab"
        await here.tcp.post("/api/v1/mcp-questions/ask_2", json={"accept": False})
        assert servers.answers == {"ask_1": {"name": "Ada"}, "ask_2": None}
        late = await here.tcp.post("/api/v1/mcp-questions/ask_1", json=content)
        assert late.status_code == 404


async def test_resources_and_prompts_are_asked_for(tmp_path: Path):
    async with street(tmp_path) as here:
        await here.tcp.post("/api/v1/mcp/docs", json={"command": ["docs"]})
        place = "/api/v1/mcp/docs"
        assert (await here.tcp.get(f"{place}/prompts")).json()["said"] == {"asked": "prompts/list"}
        read = (await here.tcp.post(f"{place}/resources", json={"uri": "docs://a"})).json()
        assert read == {"server": "docs", "said": {"asked": "resources/read", "uri": "docs://a"}}
        body = {"prompt": "review", "arguments": {"file": "a.py"}}
        filled = (await here.tcp.post(f"{place}/prompts", json=body)).json()["said"]
        assert filled["arguments"] == {"file": "a.py"}
        assert (await here.tcp.get("/api/v1/mcp/none/resources")).status_code == 404
