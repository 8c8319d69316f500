"""`holdfast mcp serve` as hosts start it, and the conformance suite before a whole daemon."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp.client.session import ClientSession
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError

from holdfast.testing.daemon import stage, use_model
from holdfast.testing.model_script import RecordedRequest
from holdfast.testing.model_server import Catalogue, ModelServer, Reply, ScriptedCall
from tests.doors.bearing import bearing
from tests.e2e.at_home import ENVIRONMENT, files, holdfast, nothing_below
from tests.kits.npm import installed, node

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]
needs_boxes = pytest.mark.skipif(not shutil.which("bwrap"), reason="there is no bubblewrap")
BRIDGE = [sys.executable, "-m", "holdfast.doors.cli", "mcp", "serve"]


@pytest.fixture
def home() -> Generator[Path]:
    with stage("mcps") as place:
        yield place / "home"
        holdfast(place / "home", "serve", "stop")
        nothing_below(place)


def surroundings(home: Path) -> dict[str, str]:
    return {**ENVIRONMENT, "HOLDFAST_HOME": str(home), "HOME": str(home.parent)}


@asynccontextmanager
async def host(home: Path, *words: str, elicit: Any = None) -> AsyncGenerator[ClientSession]:
    """A program that starts Holdfast as its server."""
    told = StdioServerParameters(
        command=BRIDGE[0], args=[*BRIDGE[1:], *words], env=surroundings(home), cwd=files(home)
    )
    async with (
        stdio_client(told) as (reading, writing),
        ClientSession(reading, writing, elicitation_callback=elicit) as session,
    ):
        with anyio.fail_after(60):
            await session.initialize()
        yield session


async def does(session: ClientSession, tool: str, /, **arguments: Any) -> dict[str, Any]:
    with anyio.fail_after(90):
        said = await session.call_tool(tool, arguments)
    assert isinstance(said, types.CallToolResult)
    assert not said.is_error, said.content
    assert said.structured_content is not None
    return said.structured_content


def model(rule: Callable[[RecordedRequest], Reply]) -> ModelServer:
    return ModelServer(rule=rule, catalogue=Catalogue(models=("scripted",)))


@needs_boxes
async def test_a_host_has_a_file_written_after_its_person_said_yes(home: Path):
    """Part of rows KV-54, KV-55."""

    def rule(request: RecordedRequest) -> Reply:
        if "tool_calls" in repr(request.messages):
            return Reply(text="it is there")
        call = ScriptedCall(name="exec", arguments={"command": "echo hello > note.txt"})
        return Reply(calls=(call,))

    async def yes(_context: Any, params: Any) -> types.ElicitResult:
        assert "echo hello > note.txt" in params.message
        return types.ElicitResult(action="accept", content={"decision": "Yes, this once"})

    with model(rule) as far:
        use_model(home, far.url)
        folder = str(files(home))
        async with host(home, "--workspace", folder, elicit=yes) as session:
            row = await does(session, "submit_task", prompt="write a note", wait_seconds=60)
            assert (row["status"], row["answer"]) == ("SUCCEEDED", "it is there")
            assert row["workspace"] == folder
            assert row["by"].startswith("user:")
    assert (files(home) / "note.txt").read_text() == "hello\n"


async def test_a_wait_goes_on_over_a_killed_daemon_and_nothing_is_done_twice(home: Path):
    with model(lambda _: Reply(text="done at last", hold=True)) as far:
        use_model(home, far.url)
        async with host(home) as session:
            process = (await does(session, "show_status"))["pid"]
            ended: list[dict[str, Any]] = []

            async def submit() -> None:
                row = await does(session, "submit_task", prompt="take long", wait_seconds=80)
                ended.append(row)

            with anyio.fail_after(120):
                async with anyio.create_task_group() as group:
                    group.start_soon(submit)
                    while not far.requests:
                        await anyio.sleep(0.02)
                    os.kill(process, signal.SIGKILL)
                    while len(far.requests) < 2:
                        await anyio.sleep(0.02)
                    far.release()
            assert [row["answer"] for row in ended] == ["done at last"]
            assert len((await does(session, "list_tasks"))["tasks"]) == 1
            assert (await does(session, "show_status"))["pid"] != process


async def test_what_may_not_be_asked_twice_is_not_when_the_daemon_dies(home: Path):
    with model(lambda _: Reply(text="x", hold=True)) as far:
        use_model(home, far.url)
        async with host(home) as session:
            process = (await does(session, "show_status"))["pid"]
            os.kill(process, signal.SIGSTOP)
            said: list[str] = []

            async def say() -> None:
                try:
                    await session.call_tool("say_to_task", {"task": "nobody", "text": "hello"})
                except MCPError as error:
                    said.append(str(error))

            with anyio.fail_after(60):
                async with anyio.create_task_group() as group:
                    group.start_soon(say)
                    await anyio.sleep(0.5)
                    os.kill(process, signal.SIGKILL)
            assert len(said) == 1
            assert "may have happened" in said[0]
            assert await does(session, "list_tasks")


async def test_two_hosts_at_once_share_one_daemon(home: Path):
    with model(lambda _: Reply(text="done")) as far:
        use_model(home, far.url)
        async with host(home) as one, host(home) as two:
            pids = {(await does(each, "show_status"))["pid"] for each in (one, two)}
            assert len(pids) == 1
            row = await does(one, "submit_task", prompt="mine", wait_seconds=30)
            assert (await does(two, "show_task", task=row["id"]))["answer"] == "done"


def test_a_host_that_closes_its_end_ends_the_bridge_and_not_the_daemon(home: Path):
    lines = ["junk", "[1]", '{"id":{}}', '{"jsonrpc":"2.0","id":5,"method":"tools/list"}', ""]
    with subprocess.Popen(
        BRIDGE,
        env=surroundings(home),
        cwd=files(home),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as bridge:
        assert bridge.stdin
        assert bridge.stdout
        bridge.stdin.write("\n".join(lines) + "x" * 10_000_100 + "\n")
        bridge.stdin.flush()
        said = [json.loads(bridge.stdout.readline()) for _ in range(5)]
        bridge.stdin.close()
        assert bridge.wait(20) == 0
        assert bridge.stdout.read() == ""
    codes = [one["error"]["code"] for one in said]
    assert codes.count(-32700) == 1
    assert sorted(codes)[1:] == [-32600] * 4
    assert json.loads(holdfast(home, "status", "--json").stdout)["pid"]


@pytest.mark.parametrize(
    ("client", "key"),
    [
        ("claude-desktop", "mcpServers"),
        ("claude-code", "mcpServers"),
        ("cursor", "mcpServers"),
        ("windsurf", "mcpServers"),
        ("vscode", "servers"),
        ("zed", "context_servers"),
    ],
)
def test_what_clients_need_is_printed(home: Path, client: str, key: str):
    told = holdfast(home, "mcp", "config", client, "--tools", "list_*", "--workspace", ".")
    server = json.loads(told.stdout)[key]["holdfast"]
    assert Path(server["command"]).is_file()
    assert server["args"][-4:] == ["--workspace", str(files(home)), "--tools", "list_*"]
    assert not (home / "run").exists(), "printing needs no daemon"


def test_there_is_no_snippet_for_what_nobody_knows(home: Path):
    told = holdfast(home, "mcp", "config", "nobody")
    assert told.returncode == 2
    assert "claude-desktop" in told.stderr


@pytest.mark.slow
@pytest.mark.parametrize("way", ["stdio", "http"])
def test_the_inspector_lists_calls_reads_and_fills_in(home: Path, way: str):
    """Part of row KV-55."""
    inspector = str(installed("inspector") / "node_modules" / ".bin" / "mcp-inspector")
    # What it starts gets but a few of its variables: not which home is meant, unless told to.
    target = [*BRIDGE, "-e", f"HOLDFAST_HOME={home}"] if way == "stdio" else at_an_address(home)

    def inspect(method: str, *words: str) -> dict[str, Any]:
        ran = subprocess.run(
            [node(), inspector, "--cli", *target, "--method", method, *words],
            env={**surroundings(home), "PATH": f"{Path(node()).parent}:{os.environ['PATH']}"},
            cwd=files(home),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ran.returncode == 0, (ran.stdout, ran.stderr)
        return json.loads(ran.stdout)

    names = {tool["name"] for tool in inspect("tools/list")["tools"]}
    assert {"submit_task", "list_approvals", "show_costs"} <= names
    said = inspect("tools/call", "--tool-name", "list_tasks", "--tool-arg", "limit=3")
    assert said["structuredContent"]["tasks"] == []
    resources = {one["uri"] for one in inspect("resources/list")["resources"]}
    assert "holdfast://status" in resources
    (read,) = inspect("resources/read", "--uri", "holdfast://status")["contents"]
    assert "version" in json.loads(read["text"])
    assert inspect("resources/templates/list")["resourceTemplates"]
    assert "delegate" in {one["name"] for one in inspect("prompts/list")["prompts"]}
    words = ("--prompt-name", "delegate", "--prompt-args", "job=count the files")
    filled = inspect("prompts/get", *words)
    assert "count the files" in filled["messages"][0]["content"]["text"]


def at_an_address(home: Path) -> list[str]:
    """The same daemon over HTTP, with the token of its home."""
    assert holdfast(home, "serve", "--detach").returncode == 0
    places = json.loads(holdfast(home, "status", "--json").stdout)["listening"]
    place = next(one for one in places if one.startswith("http"))
    token = (home / "token").read_text(encoding="utf-8").strip()
    header = f"Authorization: Bearer {token}"
    return [f"{place}/mcp", "--transport", "http", "--header", header]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kit", "version", "least"),
    [
        ("conformance-stable", "2025-11-25", 44),
        ("conformance", "2025-11-25", 84),
        ("conformance", "2026-07-28", 152),
    ],
)
async def test_the_conformance_suite_finds_nothing_wrong(
    home: Path, kit: str, version: str, least: int
):
    """Against the daemon's own door, gate and sessions; every test, the optional ones too."""
    suite = str(
        installed(kit)
        / "node_modules"
        / "@modelcontextprotocol"
        / "conformance"
        / "dist"
        / "index.js"
    )
    async with serving(home) as port, bearing(port, (home / "token").read_text().strip()) as front:
        words = ["server", "--url", f"http://localhost:{front}/mcp", "--suite", "all"]
        with anyio.fail_after(240):
            ran = await anyio.run_process(
                [node(), suite, *words, "--spec-version", version], cwd=home, check=False
            )
    said = ran.stdout.decode()
    found = re.search(r"Total: (\d+) passed, (\d+) failed(?:, (\d+) warning)?", said)
    assert found, said[-2000:]
    assert [line for line in said.splitlines() if line.startswith("✗")] == []
    assert (int(found[1]) >= least, int(found[2]), int(found[3] or 0)) == (True, 0, 0)


TASKS = (
    "tasks-lifecycle",
    "tasks-capability-negotiation",
    "tasks-wire-fields",
    "tasks-request-state-removal",
    "tasks-mrtr-input",
    "tasks-request-headers",
    "tasks-dispatch-and-envelope",
    "tasks-required-task-error",
    "tasks-mrtr-composition",
    "tasks-status-notifications",
)


@pytest.mark.slow
async def test_a_call_that_becomes_a_task_is_what_the_suite_wants(home: Path):
    """The suite's scenarios for the extension for tasks, which no revision requires."""
    suite = (
        installed("conformance") / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
    )
    failed, passed = dict[str, str](), 0
    async with serving(home) as port, bearing(port, (home / "token").read_text().strip()) as front:
        for scenario in TASKS:
            words = ["server", "--url", f"http://localhost:{front}/mcp", "--scenario", scenario]
            with anyio.fail_after(120):
                ran = await anyio.run_process(
                    [node(), str(suite), *words, "--spec-version", "2026-07-28", "--force"],
                    cwd=home,
                    check=False,
                )
            said = ran.stdout.decode()
            found = re.search(r"Passed: (\d+)/(\d+), (\d+) failed", said)
            if not found or found[1] != found[2]:
                failed[scenario] = said[-3000:]
            passed += int(found[1]) if found else 0
    assert failed == {}
    assert passed == 44, "the last of them the suite itself skips"


@asynccontextmanager
async def serving(home: Path) -> AsyncGenerator[int]:
    """The daemon for conformance; its port."""
    command = [sys.executable, "-m", "holdfast.assembly.conformance", "--home", str(home)]
    running = await anyio.open_process(command, env=surroundings(home), stderr=subprocess.PIPE)
    try:
        assert running.stderr
        heard = ""
        with anyio.fail_after(60):
            while not (ready := re.search(r"ready on http://127\.0\.0\.1:(\d+)", heard)):
                heard += (await running.stderr.receive()).decode()
        yield int(ready[1])
    finally:
        running.terminate()
        with anyio.fail_after(30, shield=True):
            await running.wait()
            await running.aclose()
