"""One server, two doors: a Unix socket for this user, a local port for the token's holder."""

import os
import signal
import socket
import stat
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from holdfast.core.error import Refused, Unavailable
from holdfast.doors.http.serve import serve
from tests.doors.house import TOKEN, Street, street

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[True, False], ids=["uvloop", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "holdfast.sock"


@asynccontextmanager
async def served(at: Street, **how: Any) -> AsyncGenerator[tuple[str, ...]]:
    async with anyio.create_task_group() as group:

        async def run(*, task_status: Any) -> None:
            await serve(at.app, **how, task_status=task_status)

        yield await group.start(run)
        group.cancel_scope.cancel()


def over(unix: Path) -> httpx2.AsyncClient:
    transport = httpx2.AsyncHTTPTransport(uds=str(unix))
    return httpx2.AsyncClient(transport=transport, base_url="http://holdfast")


async def test_both_doors_answer_and_know_who_asks(tmp_path: Path, path: Path):
    async with street(tmp_path) as at, served(at, unix=path, port=0) as addresses:
        url, file = addresses
        assert file == f"unix:{path}"
        async with over(path) as local, httpx2.AsyncClient(base_url=url) as tcp:
            status = (await local.get("/api/v1/status")).json()
            assert status["listening"] == list(addresses)
            assert (await tcp.get("/api/v1/status")).status_code == 401
            bearer = {"Authorization": f"Bearer {TOKEN}"}
            assert (await tcp.get("/api/v1/status", headers=bearer)).status_code == 200
            body = {"prompt": "x", "workspace": str(tmp_path / "workspace")}
            row = (await local.post("/api/v1/tasks", json=body)).json()
            assert row["by"].startswith("user:")
            row = (await tcp.post("/api/v1/tasks", json=body, headers=bearer)).json()
            assert row["by"] == "token:default"
            assert (await tcp.post("/api/v1/stop", headers=bearer)).status_code == 403
            assert (await local.post("/api/v1/stop")).status_code == 202
            assert at.stops == ["stop"]


async def test_only_its_owner_reaches_the_socket_and_nothing_of_it_stays(
    tmp_path: Path, path: Path
):
    async with street(tmp_path) as at:
        async with served(at, unix=path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert not path.exists()


async def test_a_socket_that_a_dead_daemon_left_is_replaced(tmp_path: Path, path: Path):
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with street(tmp_path) as at, served(at, unix=path), over(path) as local:
        assert (await local.get("/healthz")).json()["ok"]


async def test_a_socket_that_answers_is_left_alone(tmp_path: Path, path: Path):
    async with street(tmp_path) as at, served(at, unix=path):
        async with street(tmp_path) as second:
            with pytest.raises(Refused) as refused:
                await serve(second.app, unix=path)
        assert (refused.value.code, refused.value.hint[:15]) == (
            "already_running",
            "`holdfast statu",
        )
        async with over(path) as local:
            assert (await local.get("/healthz")).status_code == 200


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path, path: Path):
    path.parent.mkdir()
    path.write_text("mine")
    async with street(tmp_path) as at:
        with pytest.raises(Refused, match="is no socket"):
            await serve(at.app, unix=path)
    assert path.read_text() == "mine"


async def test_a_port_that_is_taken_says_how_to_go_on(tmp_path: Path, path: Path):
    """Part of row GC-86. Part of row OL-01."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        async with street(tmp_path) as at:
            with pytest.raises(Unavailable) as taken:
                await serve(at.app, unix=path, port=port)
    assert taken.value.code == "port_in_use"
    assert f"lsof -i :{port}" in taken.value.hint
    assert "HOLDFAST_SERVER_PORT" in taken.value.hint
    assert not path.exists()


async def test_a_path_that_no_socket_can_have_says_so(tmp_path: Path):
    async with street(tmp_path) as at:
        with pytest.raises(Unavailable, match="too long"):
            await serve(at.app, unix=tmp_path / ("x" * 120))


async def test_an_address_that_is_not_ours_says_so(tmp_path: Path):
    async with street(tmp_path) as at:
        with pytest.raises(Unavailable) as failed:
            await serve(at.app, unix=None, host="192.0.2.1", port=0)
    assert failed.value.code == "cannot_listen"


async def test_serving_leaves_signals_and_threads_alone(tmp_path: Path, path: Path):
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    async with street(tmp_path) as at:
        threads = own_threads()
        async with served(at, unix=path, port=0):
            assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before
            assert own_threads() <= threads


def own_threads() -> set[threading.Thread]:
    """But for those that the house borrows to read files."""
    return {one for one in threading.enumerate() if not one.name.startswith("AnyIO worker")}


async def test_a_socket_in_a_home_that_cannot_be_written_says_so(tmp_path: Path):
    if os.getuid() == 0:
        locked = Path("/proc/holdfast")
    else:
        locked = tmp_path / "locked"
        locked.mkdir(mode=0o500)
    async with street(tmp_path) as at:
        with pytest.raises(Unavailable, match="cannot listen on"):
            await serve(at.app, unix=locked / "run" / "s.sock")
