"""What a real daemon tells over its WebSocket of itself: rules, servers of tools."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from websockets.asyncio.client import unix_connect

from holdfast.testing import tool_server
from holdfast.testing.daemon import Daemon, stage

from .at_home import ENVIRONMENT, PATIENCE

pytestmark = pytest.mark.anyio

LOOK = "/api/v1/mcp/lab/inspect"
SERVER = """
[mcp.servers.lab]
command = ["/usr/bin/python3", "{shelf}/server.py"]
read_only = ["{shelf}"]
"""


@asynccontextmanager
async def hearing(home: Path, *subscriptions: str) -> AsyncGenerator[Any]:
    """What is told of these, one after the other."""
    async with unix_connect(str(home / "run" / "holdfast.sock"), uri="ws://localhost/ws") as wire:
        for number, method in enumerate(("hello", *subscriptions)):
            await wire.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": method}))

        async def told(**true: Any) -> Any:
            with anyio.fail_after(PATIENCE):
                while True:
                    said = json.loads(await wire.recv())
                    assert "error" not in said, said
                    params = said.get("params", {})
                    if all(params.get(key) == value for key, value in true.items()):
                        return params

        yield told


async def test_a_configuration_that_counts_and_one_that_does_not_are_told():
    """Row GC-63."""
    with stage("told") as folder, Daemon(folder / "home", ENVIRONMENT) as daemon:
        home = folder / "home"
        home.mkdir(mode=0o700)
        (home / "config.toml").write_text("[limits]\nsteps = 7\n")
        await anyio.to_thread.run_sync(daemon.start)
        async with hearing(home, "config.subscribe") as told:
            first = await told(problem="")
            (home / "config.toml").write_text("[limits]\nstepz = 7\n")
            wrong = await told(config=first["config"])
            assert "stepz" in wrong["problem"]
            (home / "config.toml").write_text("[limits]\nsteps = 8\n")
            while (after := await told(problem=""))["config"] == first["config"]:
                pass
            (home / "policy.toml").write_text('[[rule]]\nsay = "deny"\ntools = ["exec"]\n')
            (home / "policy.toml").chmod(0o600)
            while (ruled := await told(problem=""))["policy"] == after["policy"]:
                pass
            status = daemon.get("/api/v1/status")
            assert (status["config"], status["policy"]) == (ruled["config"], ruled["policy"])


async def test_a_server_that_comes_is_trusted_and_changes_is_told():
    """Row GC-63."""
    with stage("told") as folder, Daemon(folder / "home", ENVIRONMENT) as daemon:
        home, shelf = folder / "home", folder / "shelf"
        home.mkdir(mode=0o700)
        shelf.mkdir()
        shutil.copy(str(tool_server.__file__), shelf / "server.py")
        await anyio.to_thread.run_sync(daemon.start)
        async with hearing(home, "tools.subscribe") as told:
            (home / "config.toml").write_text(SERVER.format(shelf=shelf))
            assert (await told(name="lab"))["state"] == "untrusted"
            seen = await anyio.to_thread.run_sync(daemon.post, LOOK, None)
            daemon.post("/api/v1/mcp/lab/trust", {"digest": seen["digest"]})
            assert "lab_echo" in (await told(state="trusted"))["tools"]
            text = (shelf / "server.py").read_text()
            (shelf / "server.py").write_text(text.replace("Say it back", "Send it to me"))
            await anyio.to_thread.run_sync(daemon.post, LOOK, None)
            gone = await told(state="quarantined")
            assert (gone["tools"], bool(gone["changes"])) == ([], True)
            (home / "config.toml").write_text("")
            assert (await told(state="removed"))["name"] == "lab"
