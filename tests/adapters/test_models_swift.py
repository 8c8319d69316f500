"""The fast way to providers acts as httpx2's own transport does, towards rude servers too."""

from __future__ import annotations

import asyncio
import gc
import gzip
import socket
import ssl
import struct
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import httpx2
import pytest

from holdfast.adapters.models import swift
from holdfast.adapters.models.settings import Timeouts
from holdfast.adapters.models.swift import Swift
from holdfast.adapters.models.wire import new_client

pytestmark = pytest.mark.anyio
Wire = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PATIENT = {"connect": 5.0, "read": 5.0, "write": 5.0, "pool": 5.0}
SHORT = {**PATIENT, "read": 0.2}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["swift", "as the library has it"])
def transport(request: pytest.FixtureRequest) -> httpx2.AsyncBaseTransport:
    trust = httpx2.create_ssl_context()
    careful = httpx2.AsyncHTTPTransport(verify=trust)
    return Swift(trust, careful) if request.param == "swift" else careful


def only_swift() -> Swift:
    trust = httpx2.create_ssl_context()
    return Swift(trust, httpx2.AsyncHTTPTransport(verify=trust))


class Place:
    """A server that says what it is told to, and what it was asked."""

    def __init__(self, wire: Wire) -> None:
        self.wire, self.url = wire, ""
        self.connections = 0
        self.gone = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self.wire(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.gone.set()
        finally:
            writer.close()


@asynccontextmanager
async def place(wire: Wire, trust: ssl.SSLContext | None = None) -> AsyncGenerator[Place]:
    there = Place(wire)
    server = await asyncio.start_server(there.serve, "127.0.0.1", 0, ssl=trust)
    scheme = "https" if trust else "http"
    there.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield there
    finally:
        server.close()


async def head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def saying(*parts: bytes) -> Wire:
    """Answers each request of a connection with the same bytes, then waits for the next."""

    async def wire(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await head(reader)
            for part in parts:
                writer.write(part)
                await writer.drain()

    return wire


def once(*parts: bytes) -> Wire:
    """Answers one request and hangs up."""

    async def wire(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        for part in parts:
            writer.write(part)
            await writer.drain()

    return wire


@asynccontextmanager
async def client(
    transport: httpx2.AsyncBaseTransport, patience: dict[str, float] = PATIENT
) -> AsyncGenerator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(
        mounts={"all://": transport}, timeout=httpx2.Timeout(**patience)
    ) as there:
        yield there


WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


async def test_a_connection_is_used_again_for_the_next_request(
    transport: httpx2.AsyncBaseTransport,
):
    async with place(saying(WHOLE)) as there, client(transport) as asking:
        for _ in range(5):
            answer = await asking.get(there.url)
            assert (answer.status_code, answer.json()) == (200, {})
            assert answer.headers["content-type"] == "application/json"
            assert answer.http_version == "HTTP/1.1"
        assert there.connections == 1


async def test_a_request_is_sent_as_it_was_built(transport: httpx2.AsyncBaseTransport):
    said: list[bytes] = []

    async def wire(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said.append(await head(reader))
        said.append(await reader.readexactly(7))
        writer.write(WHOLE)

    async with place(wire) as there, client(transport) as asking:
        await asking.post(
            there.url + "/a%2Fb?q=%20x",
            content=b'{"a":1}',
            headers=[("x-one", "1"), ("x-one", "2"), ("user-agent", "ours")],
        )
    lines = said[0].decode().lower().split("\r\n")
    assert lines[0] == "post /v1/a%2fb?q=%20x http/1.1"
    assert [one for one in lines if one.startswith("x-one")] == ["x-one: 1", "x-one: 2"]
    assert [one for one in lines if one.startswith("user-agent")] == ["user-agent: ours"]
    assert [one for one in lines if one.startswith("content-length")] == ["content-length: 7"]
    assert not any(one.startswith("content-type") for one in lines)
    assert said[1] == b'{"a":1}'


async def test_a_redirect_is_not_followed_and_a_cookie_not_kept(
    transport: httpx2.AsyncBaseTransport,
):
    there_said: list[bytes] = []

    async def wire(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            there_said.append(await head(reader))
            writer.write(
                b"HTTP/1.1 302 Found\r\nlocation: /away\r\nset-cookie: a=b\r\n"
                b"content-length: 0\r\n\r\n"
            )

    async with place(wire) as there, client(transport) as asking:
        asking.cookies = httpx2.Cookies()
        for _ in range(2):
            assert (await asking.get(there.url)).status_code == 302
            asking.cookies = httpx2.Cookies()
    assert len(there_said) == 2
    assert not any(b"cookie" in one.lower() or b"away" in one for one in there_said)


async def test_what_is_packed_is_unpacked_once(transport: httpx2.AsyncBaseTransport):
    packed = gzip.compress(b"the words")
    start = f"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(packed)}\r\n\r\n"
    async with place(once(start.encode() + packed)) as there, client(transport) as asking:
        assert (await asking.get(there.url)).text == "the words"


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


async def test_what_came_before_a_stream_breaks_off_is_heard(
    transport: httpx2.AsyncBaseTransport,
):
    async with place(once(CHUNKED + b"5\r\nhello\r\n")) as there, client(transport) as asking:
        heard: list[bytes] = []
        async with asking.stream("GET", there.url) as answer:
            with pytest.raises(httpx2.RemoteProtocolError):
                async for part in answer.aiter_bytes():
                    heard.append(part)  # noqa: PERF401  it ends with an error
        assert b"".join(heard) == b"hello"


def breaking_off(*parts: bytes, reset: bool = False) -> Wire:
    """Each part in a packet of its own, and then nothing more."""

    async def wire(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.05)
        if reset:
            there: socket.socket = writer.get_extra_info("socket")
            there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    return wire


RUDE: dict[str, tuple[Wire, type[httpx2.HTTPError]]] = {
    "hangs up at once": (once(), httpx2.RemoteProtocolError),
    "speaks no HTTP": (once(b"SSH-2.0-x\r\n\r\n"), httpx2.RemoteProtocolError),
    "a head that has no end": (once(b"HTTP/1.1 200 OK\r\n" + b"x" * 300_000), httpx2.HTTPError),
    "two lengths": (
        once(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 5\r\n\r\n{}abc"),
        httpx2.RemoteProtocolError,
    ),
    "less than it said": (
        once(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}"),
        httpx2.RemoteProtocolError,
    ),
    "a chunk of no size": (once(CHUNKED + b"zz\r\nhello\r\n"), httpx2.RemoteProtocolError),
    "a chunk of no size later": (
        breaking_off(CHUNKED, b"2\r\n{}\r\n", b"zz\r\n"),
        httpx2.RemoteProtocolError,
    ),
    "another answer in the middle of one": (
        breaking_off(CHUNKED, b"2\r\n{}\r\n", b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"),
        httpx2.RemoteProtocolError,
    ),
    "hangs up in the middle of a chunk": (
        breaking_off(CHUNKED, b"9\r\n{}"),
        httpx2.RemoteProtocolError,
    ),
    "a length that is reset": (
        breaking_off(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", b"{}", reset=True),
        httpx2.TransportError,
    ),
    "no length, and reset": (
        breaking_off(b"HTTP/1.1 200 OK\r\n\r\n", b"{}", reset=True),
        httpx2.TransportError,
    ),
}


@pytest.mark.parametrize("how", RUDE)
async def test_a_rude_server_is_an_error_of_httpx2(how: str, transport: httpx2.AsyncBaseTransport):
    wire, error = RUDE[how]
    async with place(wire) as there, client(transport) as asking:
        with anyio.fail_after(3), pytest.raises(error):
            await asking.get(there.url)


async def test_a_server_that_is_not_there_or_not_who_it_says(
    transport: httpx2.AsyncBaseTransport,
):
    async with place(once()) as there:
        gone = there.url
    async with client(transport) as asking:
        with pytest.raises(httpx2.ConnectError):
            await asking.get(gone)
        with pytest.raises(httpx2.ConnectError):
            await asking.get("http://nowhere.invalid/v1")

        async def no_tls(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(WHOLE)
            await writer.drain()

        async with place(no_tls) as there:
            with pytest.raises(httpx2.ConnectError):
                await asking.get(there.url.replace("http:", "https:"))


@pytest.mark.parametrize("parts", [(), (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}",)])
async def test_a_silent_server_is_not_waited_for(
    parts: tuple[bytes, ...], transport: httpx2.AsyncBaseTransport
):
    async with place(saying(*parts)) as there, client(transport, SHORT) as asking:
        with pytest.raises(httpx2.ReadTimeout):
            await asking.get(there.url)


async def test_a_body_that_nobody_takes_is_not_pushed_for_ever(monkeypatch: pytest.MonkeyPatch):
    """Only of the fast one: it knows no time for one part of a body, so there is one for all."""

    async def wire(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await head(reader)
        await asyncio.Event().wait()

    monkeypatch.setattr(swift, "_SLOWEST", 1_000_000_000)
    brief = {"connect": 1.0, "read": 0.1, "write": 0.1, "pool": 0.1}
    async with place(wire) as there, client(only_swift(), brief) as asking:
        with pytest.raises(httpx2.ReadTimeout):
            await asking.post(there.url, content=bytes(100_000_000))


async def test_an_answer_that_is_not_read_to_its_end_ends_its_connection(
    transport: httpx2.AsyncBaseTransport,
):
    async def wire(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(CHUNKED)
        while not reader.at_eof():
            writer.write(b"5\r\nhello\r\n")
            await writer.drain()
            await asyncio.sleep(0)
        raise ConnectionError

    async with place(wire) as there, client(transport) as asking:
        async with asking.stream("GET", there.url) as answer:
            assert b"hello" in await anext(answer.aiter_bytes())
        await asyncio.wait_for(there.gone.wait(), 10)


async def test_nothing_is_left_of_connections_that_are_gone():
    swift_only = only_swift()
    async with place(breaking_off(CHUNKED, b"2\r\n{}\r\n", b"0\r\n\r\n")) as there:
        async with client(swift_only) as asking:
            for _ in range(5):
                assert (await asking.get(there.url)).json() == {}
        with anyio.fail_after(5):
            while swift_only._watches:  # pyright: ignore[reportPrivateUsage]  what it must not keep
                await anyio.lowlevel.checkpoint()
                gc.collect()


async def test_a_line_cannot_be_put_into_a_header(transport: httpx2.AsyncBaseTransport):
    async with place(saying(WHOLE)) as there, client(transport) as asking:
        with pytest.raises(httpx2.LocalProtocolError):
            await asking.get(there.url, headers={"x-one": "1\r\nx-two: 2"})
        assert there.connections == 0 or (await asking.get(there.url)).status_code == 200


ODD = {
    "the same length twice": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\n{}",
    "more after its end": WHOLE + b"\r\n\r\n\r\nmore",
    "a line of 80 kB": WHOLE.replace(b"OK\r\n", b"OK\r\nx-long: " + b"x" * 80_000 + b"\r\n"),
}


@pytest.mark.parametrize("how", ODD)
async def test_a_server_that_is_not_understood_is_asked_in_the_patient_way_from_then_on(how: str):
    async with place(once(ODD[how])) as there, client(only_swift()) as asking:
        try:
            first = (await asking.get(there.url)).text
        except httpx2.RemoteProtocolError:
            first = "not understood"
        assert first in {"not understood", "{}"}
        for _ in range(2):
            assert (await asking.get(there.url)).text == "{}"


async def test_as_many_headers_as_anybody_sends_are_read(transport: httpx2.AsyncBaseTransport):
    many = b"".join(b"x-%d: y\r\n" % number for number in range(200))
    wire = saying(WHOLE.replace(b"OK\r\n", b"OK\r\n" + many))
    async with place(wire) as there, client(transport) as asking:
        assert len((await asking.get(there.url)).headers) > 200


async def test_what_is_no_name_of_a_header_is_not_sent(transport: httpx2.AsyncBaseTransport):
    async with place(saying(WHOLE)) as there, client(transport) as asking:
        for name in ("x one", "x:", ""):
            with pytest.raises(httpx2.LocalProtocolError):
                await asking.get(there.url, headers={name: "1"})


async def test_a_body_whose_client_is_closed_meanwhile_ends(transport: httpx2.AsyncBaseTransport):
    slow = breaking_off(CHUNKED, b"2\r\n{}\r\n", *[b"1\r\nx\r\n"] * 100)
    async with (
        place(slow) as there,
        client(transport) as asking,
        asking.stream("GET", there.url) as answer,
    ):
        parts = answer.aiter_bytes()
        await anext(parts)
        await transport.aclose()
        with anyio.fail_after(3), pytest.raises((httpx2.TransportError, httpx2.StreamError)):
            async for _ in parts:
                pass


@pytest.mark.parametrize(
    "anyio_backend",
    [("asyncio", {"use_uvloop": True}), ("asyncio", {"use_uvloop": False})],
    ids=["uvloop", "asyncio"],
)
async def test_a_kept_connection_that_was_hung_up_while_all_was_busy_is_not_used(
    transport: httpx2.AsyncBaseTransport, anyio_backend: object
):
    """A question over it would be lost, and nobody could say whether it was answered."""
    hung_up = threading.Event()

    def serve(listening: socket.socket) -> None:
        for _ in range(8):
            there, _ = listening.accept()
            with there:
                while b"\r\n\r\n" not in there.recv(65_536):
                    pass
                there.sendall(WHOLE)
            hung_up.set()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        async with client(transport) as asking:
            for _ in range(8):
                hung_up.clear()
                answer = await asking.post(url, content=b"")
                assert answer.json() == {}
                assert hung_up.wait(5), "the loop is busy until the server has hung up"
        thread.join(5)


async def test_a_proxy_for_everything_is_asked_for_all_that_is_not_on_this_machine(
    monkeypatch: pytest.MonkeyPatch,
):
    asked: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await head(reader)).split(b"\r\n")[0])
        writer.write(WHOLE)

    async with place(proxy) as through, place(once(WHOLE)) as here:
        monkeypatch.setenv("ALL_PROXY", through.url.removesuffix("/v1"))
        async with new_client(Timeouts()) as asking:
            assert (await asking.get("http://lab.example/v1")).json() == {}
            assert (await asking.get(here.url)).json() == {}
    assert asked == [b"GET http://lab.example/v1 HTTP/1.1"]
    assert here.connections == 1
