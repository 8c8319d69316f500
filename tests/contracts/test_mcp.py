"""Servers of the official kit, however they are reached, keep what is promised of a server."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import anyio
import pytest

from holdfast.core.mcp import ServerSpec
from holdfast.core.message import EffectClass, Returned
from tests.adapters.mcp_stage import Stage, inner, staged
from tests.adapters.plain_egress import PlainEgress

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

KIT = str(Path(__file__).with_name("sdk_server.py"))
KINDS = ("stdio", "http", "http-json", "http-stateless")


@contextmanager
def listening(kind: str) -> Generator[str]:
    """The kit's server over HTTP, until the end."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    running = subprocess.Popen(
        [sys.executable, KIT, kind, str(port)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "it never came up"
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/{'sse' if kind == 'sse' else 'mcp'}"
    finally:
        running.kill()
        running.wait(10)


@asynccontextmanager
async def served(kind: str, place: Path, url: str = "", **more: Any) -> AsyncGenerator[Stage]:
    if kind == "stdio":
        path = {"PYTHONPATH": os.pathsep.join(sys.path)}
        more |= {"command": (sys.executable, KIT), "environment": path}
    else:
        more["url"] = url
    spec = ServerSpec(name="kit", believe_hints=True, start_seconds=60, **more)
    async with staged(place, spec, egress=PlainEgress()) as stage:
        yield stage


@pytest.mark.parametrize(
    ("kind", "handshake"),
    [*((kind, old) for kind in KINDS for old in (False, True)), ("sse", True)],
)
async def test_a_server_of_the_kit_is_spoken_with(kind: str, handshake: bool, tmp_path: Path):
    """Rows GC-94, KV-53, KV-54, OK-108, OL-132. Part of rows KV-51, OK-138."""
    with listening(kind) if kind != "stdio" else nullcontext("") as url:
        async with served(kind, tmp_path, url, handshake=handshake) as stage:
            seen = await stage.servers.inspect("kit")
            assert seen.protocol == ("2025-11-25" if handshake else "2026-07-28")
            assert (seen.title, seen.version, seen.trusted) == ("kit", "3.1", True)
            assert {tool.name for tool in seen.tools} >= {"add", "weather", "broken", "drawing"}
            assert stage.tool("kit_add").traits.effect is EffectClass.READS
            assert "5" in inner(await stage.says("kit_add", a=2, b=3))
            place = {"city": "ulm", "degrees": 3}
            told = json.loads(inner(await stage.says("kit_weather", place=place)))
            assert told == {"city": "ULM", "degrees": 4.0}
            code, text = await stage.fails("kit_broken")
            assert code == "mcp_error"
            assert "Error executing tool broken" in text
            assert "image/png, 24 bytes, kept as blob" in await stage.says("kit_drawing")
            assert "there" in await stage.says("kit_long_way")
            if kind != "http-json":
                assert [one.split()[1] for one in stage.told] == ["1/3", "2/3", "3/3"]
            code, text = await stage.fails("kit_add", a="two", b=3)
            assert code == "mcp_error"


async def test_a_server_over_http_that_was_started_anew_is_spoken_with_again(tmp_path: Path):
    """Part of rows GC-94, OL-132."""
    with listening("http") as url:
        async with served("http", tmp_path, url, handshake=True) as stage:
            await stage.says("kit_add", a=1, b=1)
            port = int(url.rpartition(":")[2].partition("/")[0])
            # Its session is forgotten, as after a restart.
            await forget(stage, port)
            code, _ = await stage.fails("kit_add", a=1, b=1)
            assert code == "mcp_gone"
            with anyio.fail_after(20):
                assert "3" in inner(await stage.says("kit_add", a=1, b=2))


async def forget(stage: Stage, port: int) -> None:
    """End the session from outside, with its own name."""
    sessions = stage.servers._sessions._sessions  # pyright: ignore[reportPrivateUsage]
    peer = next(iter(sessions.values())).peer
    ticket = getattr(getattr(peer, "_posting"), "session")  # noqa: B009
    request = (
        f"DELETE /mcp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nMcp-Session-Id: {ticket}\r\n"
        "MCP-Protocol-Version: 2025-11-25\r\nConnection: close\r\n\r\n"
    )
    stream = await anyio.connect_tcp("127.0.0.1", port)
    async with stream:
        await stream.send(request.encode())
        assert b" 200 " in await stream.receive()


@pytest.mark.parametrize(
    ("module", "tool", "arguments", "words"),
    [
        ("mcp_server_time", "get_current_time", {"timezone": "UTC"}, "UTC"),
        ("mcp_server_git", "git_status", {"repo_path": "."}, "No commits yet"),
    ],
)
async def test_a_reference_server_is_used(
    tmp_path: Path, module: str, tool: str, arguments: dict[str, str], words: str
):
    pytest.importorskip(module)
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]}
    command = (sys.executable, "-m", module)
    spec = ServerSpec(name="ref", command=command, environment=environment, prefix="")
    async with staged(tmp_path, spec) as stage:
        subprocess.run(["git", "init", "-q", str(stage.workspace)], check=True)
        outcome = await stage.run(tool, **arguments)
        assert isinstance(outcome, Returned), outcome
        assert words in outcome.text
