"""Both ends of a way out break off wherever they like: it is told in our words, others go on."""

from __future__ import annotations

import base64
import logging
import random
import socket
import ssl
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSStream

from holdfast.core.error import HoldfastError
from holdfast.engine.clock import SystemClock
from holdfast.ports.egress import Allowed, Pass, Reach, Request
from holdfast.testing.far_side import World, made_up_world, plain

pytestmark = pytest.mark.anyio
HOST = "api.example.com"
KEYED = Allowed(host=HOST, headers={"X-Key": "$SECRET{key}"})
ALLOWED = (KEYED, Allowed(host=HOST, port=80))
LONG = b"x" * 200_000
ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + LONG,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"5\r\nhello\r\n" * 2_000,
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"no HTTP\r\n\r\n",
)
GONE = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return ("asyncio", {"use_uvloop": request.param})


@asynccontextmanager
async def house(*, seconds: float = 50.0) -> AsyncGenerator[World]:
    with anyio.fail_after(seconds):
        async with made_up_world(SystemClock()) as world:
            world.far.at(HOST)
            world.far.secrets["key"] = "canary-0123456789"
            yield world


def reach(task: str, *, intercept: bool = True) -> Reach:
    return Reach(task=task, agent="a", allowed=ALLOWED, web=True, methods=(), intercept=intercept)


@asynccontextmanager
async def tunnel(given: Pass) -> AsyncGenerator[TLSStream]:
    """TLS with what says that it is the host."""
    trust = ssl.create_default_context(cadata=given.authority.decode())
    async with await through(given, f"CONNECT {HOST}:443", f"{HOST}:443") as stream:
        assert b" 200 " in await stream.receive()
        yield await TLSStream.wrap(
            stream, hostname=HOST, ssl_context=trust, standard_compatible=False
        )


async def through(given: Pass, line: str, host: str, more: str = "") -> ByteStream:
    """A request at the proxy, with the pass shown."""
    user, _, place = given.environment["HTTP_PROXY"].removeprefix("http://").partition("@")
    stream = await anyio.connect_tcp("127.0.0.1", int(place.rpartition(":")[2]))
    shown = f"Proxy-Authorization: Basic {base64.b64encode(user.encode()).decode()}"
    await stream.send(f"{line} HTTP/1.1\r\nHost: {host}\r\n{more}{shown}\r\n\r\n".encode())
    return stream


async def test_an_answer_that_comes_before_the_request_has_ended_is_passed_on(
    caplog: pytest.LogCaptureFixture,
):
    async with house() as world:

        async def hasty(stream: ByteStream) -> None:
            await stream.receive()
            await stream.send(plain("no need for the rest", "Connection: close"))

        world.far.talk(hasty, tls=HOST)
        listener = socket.create_server(("127.0.0.1", 0))
        async with world.gateway.serve(listener, reach("hasty")) as given:
            for _ in range(3):
                async with tunnel(given) as inside:
                    head = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 500000\r\n\r\n"
                    await inside.send(head.encode() + LONG)
                    heard = b""
                    while b"no need for the rest" not in heard:
                        heard += await inside.receive()
    assert caplog.records == []


class Rude:
    """Servers and clients that stop anywhere, told by a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    async def serve(self, stream: ByteStream) -> None:
        for _ in range(self._random.choice([0, 0, 1, 2, 3])):
            with anyio.move_on_after(0.02):
                await stream.receive(self._random.choice([1, 100, 65_536]))
        await stream.send(self.cut(self._random.choice(ANSWERS)))
        await self.leave(stream)

    async def ask(self, given: Pass) -> None:
        body = b"z" * self._random.choice([0, 1_000, 500_000])
        line = f"{'POST' if body else 'GET'} "
        length = f"Content-Length: {len(body)}\r\n"
        with anyio.move_on_after(self._random.choice([2, 2, 0.02, 0.1])):
            try:
                if self._random.random() < 0.4:
                    stream = await through(given, f"{line}http://{HOST}/", HOST, length)
                    async with stream:
                        await self._on(stream, body)
                else:
                    async with tunnel(given) as stream:
                        head = f"{line}/ HTTP/1.1\r\nHost: {HOST}\r\n{length}\r\n"
                        await self._on(stream, head.encode() + body)
            except GONE:
                pass  # the other end is as rude

    async def _on(self, stream: ByteStream, data: bytes) -> None:
        await stream.send(self.cut(data))
        for _ in range(self._random.choice([0, 1, 1_000])):
            await stream.receive()
        await self.leave(stream)

    async def leave(self, stream: ByteStream) -> None:
        """With a farewell, without one, or with a reset."""
        if self._random.random() < 0.5:
            kind, hard = socket.SO_LINGER, struct.pack("ii", 1, 0)
            with suppress(AttributeError, OSError):  # it is none any more
                stream.extra(SocketAttribute.raw_socket).setsockopt(socket.SOL_SOCKET, kind, hard)
        if self._random.random() < 0.5:
            await anyio.aclose_forcefully(stream)

    def cut(self, data: bytes) -> bytes:
        return data[: self._random.choice([len(data), self._random.randrange(len(data) + 1)])]

    def chance(self, *seconds: float) -> float:
        return self._random.choice(seconds)


@pytest.mark.parametrize("seed", range(2))
async def test_wherever_either_end_breaks_off_the_others_go_on(
    seed: int, caplog: pytest.LogCaptureFixture
):
    rude, fetched = Rude(seed), list[str]()
    caplog.set_level(logging.ERROR)
    async with house() as world:
        world.far.talk(rude.serve, port=80)
        world.far.talk(rude.serve, tls=HOST)

        async def fetch(number: int) -> None:
            scheme = "https" if number % 3 else "http"
            body = b"y" * (number % 5) * 100_000
            request = Request(url=f"{scheme}://{HOST}/", method="POST", body=body)
            with anyio.move_on_after(rude.chance(5, 5, 0.01, 0.05)):
                try:
                    await world.gateway.fetch(request, reach(f"task {number}"))
                except HoldfastError as error:
                    fetched.append(error.code)

        listener = socket.create_server(("127.0.0.1", 0))
        async with world.gateway.serve(listener, reach("box")) as given:
            for _ in range(4):
                async with anyio.create_task_group() as group:
                    for number in range(15):
                        group.start_soon(fetch, number)
                        group.start_soon(rude.ask, given)
            world.far.serve(lambda _: plain("still here"), port=80)
            async with await through(given, f"GET http://{HOST}/", HOST) as stream:
                heard = b""
                while b"still here" not in heard:
                    heard += await stream.receive()
    assert set(fetched) <= {"egress_broken", "egress_cut", "egress_tls", "egress_timeout"}
    assert caplog.records == []
