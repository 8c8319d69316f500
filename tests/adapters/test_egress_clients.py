"""Programs that people have go through the way out as they go through any proxy."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx2
import pytest
from anyio.abc import SocketAttribute, SocketStream

from holdfast.adapters.egress.gateway import Gateway
from holdfast.engine.clock import SystemClock
from holdfast.ports.egress import AUTHORITY, Allowed, Reach, Request
from holdfast.testing.fake_visits import FakeVisits
from holdfast.testing.far_side import Heard, World, made_up_world, plain

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not (shutil.which("curl") and shutil.which("git")), reason="no clients"),
]
HOST = "api.example.com"
KEY = "sk-canary-0123456789"
CLOSED = Reach(task="t", agent="a", allowed=(Allowed(host=HOST), Allowed(host=HOST, port=80)))
OPENED = Reach(
    task="t",
    agent="a",
    allowed=(Allowed(host=HOST, path="/v1/*", headers={"X-Api-Key": "$SECRET{api/key}"}),),
    intercept=True,
)
URLLIB = "import sys, urllib.request as u; sys.stdout.buffer.write(u.urlopen(sys.argv[1]).read())"
POSTED = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], data=b'x' * 300000).read())"
NODE = "fetch(process.argv[1]).then(r => r.text()).then(t => process.stdout.write(t))"


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


@asynccontextmanager
async def inside(reach: Reach, folder: Path) -> AsyncGenerator[tuple[World, dict[str, str]]]:
    """A far side, and the variables of a box that may use a way out to it."""
    with anyio.fail_after(40):
        async with made_up_world(SystemClock()) as world:
            world.far.at(HOST)
            world.far.secrets["api/key"] = KEY
            listener = socket.create_server(("127.0.0.1", 0))
            async with world.gateway.serve(listener, reach) as given:
                file = folder / "authority.pem"
                file.write_bytes(given.authority or world.far.certificate)
                trusted = dict.fromkeys(("SSL_CERT_FILE", "CURL_CA_BUNDLE"), str(file))
                told = {
                    name: str(file) if value == AUTHORITY else value
                    for name, value in given.environment.items()
                }
                yield world, {**trusted, **told, "PATH": "/usr/bin:/bin", "HOME": str(folder)}


async def run(environment: Mapping[str, str], *argv: str) -> subprocess.CompletedProcess[bytes]:
    return await anyio.run_process(argv, env=environment, check=False)


def echo(heard: Heard) -> bytes:
    key = heard.headers.get("x-api-key", "no key")
    return plain(f"{heard.method} {heard.target} {len(heard.body)} {key}")


@pytest.mark.parametrize("reach", [CLOSED, OPENED], ids=["closed", "opened"])
async def test_programs_speak_tls_through_it(reach: Reach, tmp_path: Path):
    url = f"https://{HOST}/v1/a?b=c"
    programs = [
        ["curl", "--silent", "--show-error", url],
        ["curl", "--silent", "--proxy-anyauth", "--http2", url],
        [sys.executable, "-I", "-c", URLLIB, url],
        *([["node", "-e", NODE, url]] if _node_knows_proxies() else []),
    ]
    async with inside(reach, tmp_path) as (world, environment):
        world.far.serve(echo, tls=HOST)
        for argv in programs:
            said = await run(environment, *argv)
            key = "*" * len(KEY) if reach is OPENED else "no key"
            assert said.stdout.decode() == f"GET /v1/a?b=c 0 {key}", (argv, said.stderr)
        keys = {one.headers.get("x-api-key") for one in world.far.heard}
        assert keys == ({KEY} if reach is OPENED else {None})
        assert all(one.code == "" for one in world.visits.all.values())


def _node_knows_proxies() -> bool:
    node = shutil.which("node", path="/usr/bin:/bin")
    if node is None:
        return False
    said = subprocess.run([node, "--version"], capture_output=True, check=True, text=True)
    return int(said.stdout.removeprefix("v").split(".")[0]) >= 24


async def test_programs_speak_plain_http_through_it_and_send_bodies(tmp_path: Path):
    async with inside(CLOSED, tmp_path) as (world, environment):
        world.far.serve(echo, port=80)
        url = f"http://{HOST}/up"
        (tmp_path / "body").write_bytes(b"x" * 300_000)
        for argv in (
            ["curl", "--silent", "--data-binary", f"@{tmp_path}/body", url],
            ["curl", "-s", "-T", f"{tmp_path}/body", "-H", "Transfer-Encoding: chunked", url],
            ["curl", "-s", "-H", "Expect: 100-continue", "--data-binary", f"@{tmp_path}/body", url],
            ["curl", "--silent", "--http1.0", "--data-binary", f"@{tmp_path}/body", url],
            [sys.executable, "-I", "-c", POSTED, url],
        ):
            said = await run(environment, *argv)
            assert b"/up 300000 no key" in said.stdout, (argv, said)


async def test_git_asks_through_it(tmp_path: Path):
    refs = f"{'0123456789' * 4}\trefs/heads/main\n"

    def repository(heard: Heard) -> bytes:
        return plain("ref: refs/heads/main\n" if heard.target.endswith("/HEAD") else refs)

    async with inside(OPENED, tmp_path) as (world, environment):
        world.far.serve(repository, tls=HOST)
        environment |= {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1"}
        said = await run(environment, "git", "ls-remote", f"https://{HOST}/v1/repo.git")
        assert "refs/heads/main" in said.stdout.decode(), said
        assert {one.headers["x-api-key"] for one in world.far.heard} == {KEY}


async def test_a_refusal_is_told_in_words(tmp_path: Path):
    async with inside(OPENED, tmp_path) as (_, environment):
        said = await run(environment, "curl", "--silent", f"https://{HOST}/other")
        assert b"GET /other is not allowed at api.example.com [egress_path]" in said.stdout
        said = await run(environment, "curl", "-sS", "https://elsewhere.example/")
        assert b"403" in said.stderr
        said = await run(environment, "curl", "--silent", "http://elsewhere.example/")
        assert b"[egress_host]" in said.stdout


async def test_a_client_of_python_keeps_to_it(tmp_path: Path):
    async with inside(OPENED, tmp_path) as (world, environment):
        world.far.serve(echo, tls=HOST)
        trust = ssl.create_default_context(cafile=environment["SSL_CERT_FILE"])
        proxy = environment["HTTPS_PROXY"]
        async with httpx2.AsyncClient(proxy=proxy, verify=trust, trust_env=False) as client:
            for number in range(3):
                found = await client.post(f"https://{HOST}/v1/{number}", content=b"abc")
                assert found.text == f"POST /v1/{number} 3 {'*' * len(KEY)}"


async def test_the_system_resolves_and_dials_when_nothing_else_is_said():
    with anyio.fail_after(20):
        async with (
            await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
            anyio.create_task_group() as group,
        ):

            async def answer(stream: SocketStream) -> None:
                async with stream:
                    await stream.receive()
                    await stream.send(plain("from here"))

            group.start_soon(listener.serve, answer)
            port = listener.extra(SocketAttribute.local_port)
            visits = FakeVisits()

            async def secret(name: str, reach: Reach) -> str:
                raise AssertionError(name, reach)

            gateway = Gateway(secret=secret, log=visits, clock=SystemClock())
            reach = Reach(task="t", agent="a", web=True, private=("localhost",))
            answered = await gateway.fetch(Request(url=f"http://localhost:{port}/"), reach)
            assert answered.body == b"from here"
            (visit,) = visits.all.values()
            assert visit.address == "127.0.0.1"
            group.cancel_scope.cancel()
