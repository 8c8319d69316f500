"""Nothing gets out but what is allowed, however it is asked for."""

from __future__ import annotations

import base64
import contextlib
import random
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSStream

from holdfast.core.error import Broken, HoldfastError
from holdfast.engine.clock import SystemClock
from holdfast.ports.egress import Allowed, Answer, Pass, Reach, Request
from holdfast.testing.far_side import PUBLIC, Heard, World, made_up_world, plain

pytestmark = pytest.mark.anyio
HOST = "api.example.com"
WAYS = (Allowed(host=HOST, port=80), Allowed(host=HOST))
REACH = Reach(task="task_1", agent="ann", tool="exec", allowed=WAYS)
OPENED = Reach(
    task="task_1",
    agent="ann",
    allowed=(
        Allowed(
            host=HOST,
            methods=("GET", "POST"),
            path="/v1/*",
            headers={"Authorization": "Bearer $SECRET{api/key}"},
        ),
    ),
    intercept=True,
)
KEY = "sk-canary-0123456789"
WIDE = {digit: digit + 0xFEE0 for digit in b"0123456789"}
SPELLINGS = (
    "169.254.169.254",
    "169.254.169.254.",
    "2852039166",
    "0xa9fea9fe",
    "0xa9.0xfe.0xa9.0xfe",
    "0251.0376.0251.0376",
    "169.254.43518",
    "169.16689662",
    "0169.254.169.254",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[::a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "[fd00:ec2::254]",
    "[fe80::a9fe:a9fe%25eth0]",
    "[::1]",
    "127.1",
    "0",
    "0x7f.1",
    "2130706433",
    "0".translate(WIDE),
    "169.254.169.254".translate(WIDE),
    "169\u3002254\u3002169\u3002254",
    "\u2460\u2461\u2466.0.0.1",
    "api.example.com%00.evil.org",
    "api.example.com%2eevil.org",
    "api.example.com@169.254.169.254",
    "169.254.169.254#@api.example.com",
    "metadata.google.internal",
    "localhost",
)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """As the daemon runs."""
    return "asyncio", {"use_uvloop": True}


@dataclass(frozen=True)
class Box:
    """Somebody inside, with a way out."""

    world: World
    port: int
    given: Pass

    @property
    def token(self) -> str:
        return self.given.environment["HTTPS_PROXY"].split("task:")[1].split("@")[0]

    @property
    def proof(self) -> str:
        shown = base64.b64encode(f"task:{self.token}".encode()).decode()
        return f"Proxy-Authorization: Basic {shown}\r\n"

    async def raw(self, data: bytes) -> bytes:
        """Everything that comes back for these bytes."""
        async with await anyio.connect_tcp("127.0.0.1", self.port) as stream:
            await stream.send(data)
            return await everything(stream)

    async def ask(self, head: str, body: bytes = b"") -> bytes:
        line, _, rest = head.replace("\n", "\r\n").partition("\r\n")
        return await self.raw(f"{line}\r\n{self.proof}{rest}\r\n\r\n".encode() + body)

    @asynccontextmanager
    async def tunnel(self, where: str) -> AsyncGenerator[ByteStream]:
        async with await anyio.connect_tcp("127.0.0.1", self.port) as stream:
            head = f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n{self.proof}\r\n"
            await stream.send(head.encode())
            said = await stream.receive()
            assert said.startswith(b"HTTP/1.1 200 "), said
            yield stream

    async def through_tls(
        self, data: bytes, *, where: str = f"{HOST}:443", name: str = HOST
    ) -> bytes:
        trust = ssl.create_default_context()
        authority = self.given.authority or self.world.far.certificate
        trust.load_verify_locations(cadata=authority.decode())
        async with self.tunnel(where) as stream:
            inside = await TLSStream.wrap(
                stream, hostname=name, ssl_context=trust, standard_compatible=False
            )
            await inside.send(data)
            return await everything(inside)


async def everything(stream: ByteStream) -> bytes:
    found = b""
    try:
        with anyio.fail_after(20):
            while True:
                found += await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return found


@asynccontextmanager
async def a_world() -> AsyncGenerator[World]:
    with anyio.fail_after(30):
        async with made_up_world(SystemClock()) as world:
            world.far.at(HOST)
            world.far.secrets["api/key"] = KEY
            yield world


@asynccontextmanager
async def a_box(world: World, reach: Reach = REACH) -> AsyncGenerator[Box]:
    listener = socket.create_server(("127.0.0.1", 0))
    async with world.gateway.serve(listener, reach) as given:
        yield Box(world, listener.getsockname()[1], given)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def code(answer: bytes) -> str:
    for line in answer.split(b"\r\n"):
        if line.lower().startswith(b"x-holdfast-egress: "):
            return line.split(b": ")[1].decode()
    return ""


async def test_an_allowed_host_is_reached_and_written_down_before_and_after():
    async with a_world() as world, a_box(world) as box:
        world.far.serve(lambda _: plain("hello"), port=80)
        answer = await box.ask(f"GET http://{HOST}/a?token=x HTTP/1.1\nHost: {HOST}")
        assert status(answer) == 200
        assert answer.endswith(b"hello")
        (visit,) = world.visits.all.values()
        assert (visit.host, visit.port, visit.path, visit.method) == (HOST, 80, "/a", "GET")
        assert (visit.address, visit.status, visit.code) == (PUBLIC, 200, "")
        assert visit.received > 5
        assert visit.ended_at is not None


async def test_nothing_is_sent_that_could_not_be_written_down_before():
    async with a_world() as world, a_box(world) as box:
        world.far.serve(lambda _: plain(), port=80)
        world.visits.full = True
        answer = await box.ask(f"GET http://{HOST}/ HTTP/1.1\nHost: {HOST}")
        assert status(answer) == 502
        assert world.far.dialled == []


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_no_spelling_of_an_address_or_an_odd_name_is_reached(spelling: str):
    """Part of row GC-89d."""
    reach = Reach(task="t", agent="a", allowed=(*WAYS, Allowed(host="*", port=0)), web=True)
    async with a_world() as world, a_box(world, reach) as box:
        world.far.at("localhost", "127.0.0.1")
        world.far.at("metadata.google.internal", "169.254.169.254")
        shown = spelling.encode("idna").decode() if not spelling.isascii() else spelling
        for wanted in {spelling, shown}:
            head = f"GET http://{wanted}/ HTTP/1.1\nHost: {wanted}"
            assert status(await box.ask(head)) in (400, 403), wanted
            head = f"CONNECT {wanted}:443 HTTP/1.0"
            assert status(await box.ask(head)) in (400, 403), wanted
        for scheme in ("http", "https"):
            with pytest.raises(HoldfastError):
                await world.gateway.fetch(Request(url=f"{scheme}://{spelling}/"), reach)
        assert world.far.dialled == []
        assert len(world.visits.all) >= 4


@pytest.mark.parametrize(
    "address",
    (
        *("127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "::1", "fd00::1", "fe80::1"),
        *("::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "2001:0:1::", "0.0.0.0"),
        *("224.0.0.1", "168.63.129.16", "192.168.1.1%eth0"),
    ),
)
async def test_a_name_that_leads_to_an_inner_address_is_refused(address: str):
    """Part of row GC-89d."""
    async with a_world() as world, a_box(world) as box:
        world.far.names[HOST] = [(PUBLIC, address)]
        answer = await box.ask(f"GET http://{HOST}/ HTTP/1.1\nHost: {HOST}")
        assert (status(answer), code(answer)) == (403, "egress_address")
        answer = await box.ask(f"CONNECT {HOST}:443 HTTP/1.0")
        assert (status(answer), code(answer)) == (403, "egress_address")
        assert world.far.dialled == []


async def test_the_address_that_was_checked_is_the_one_that_is_dialled():
    """Part of row GC-89d."""
    async with a_world() as world, a_box(world) as box:
        world.far.names[HOST] = [(PUBLIC,), ("127.0.0.1",)]
        world.far.serve(lambda _: plain(), port=80)
        head = f"GET http://{HOST}/ HTTP/1.1\nHost: {HOST}"
        assert status(await box.ask(head)) == 200
        assert world.far.asked == [HOST]
        assert world.far.dialled == [(PUBLIC, 80)]
        assert code(await box.ask(head)) == "egress_address"
        assert world.far.dialled == [(PUBLIC, 80)]


SMUGGLED = "GET http://api.example.com/admin HTTP/1.1\r\nHost: api.example.com\r\n\r\n"


@pytest.mark.parametrize(
    ("name", "lines", "body"),
    [
        ("CL.TE", "Content-Length: 6\nTransfer-Encoding: chunked", b"0\r\n\r\nG"),
        ("TE.CL", "Transfer-Encoding: chunked\nContent-Length: 4", b"5c\r\nGPOST / HTTP/1.1\r\n"),
        ("two lengths", "Content-Length: 5\nContent-Length: 6", b"abcdef"),
        ("same lengths", "Content-Length: 5\nContent-Length: 5", b"abcde"),
        ("a list of lengths", "Content-Length: 5, 5", b"abcde"),
        ("signed length", "Content-Length: +5", b"abcde"),
        ("two codings", "Transfer-Encoding: chunked\nTransfer-Encoding: identity", b"0\r\n\r\n"),
        ("other coding", "Transfer-Encoding: xchunked", b"0\r\n\r\n"),
        ("hidden coding", "Transfer-Encoding : chunked", b"0\r\n\r\n"),
        ("tab coding", "Transfer-Encoding:\tchunked, identity", b"0\r\n\r\n"),
        ("folded line", "X-A: b\n Transfer-Encoding: chunked", b"0\r\n\r\n"),
        ("folded by tab", "X-A: b\n\tc: d", b""),
        ("no colon", "X-A b", b""),
        ("two hosts", "Host: evil.example", b""),
        ("chunk length", "Transfer-Encoding: chunked", b"0x5\r\nabcde\r\n0\r\n\r\n"),
        ("chunk end", "Transfer-Encoding: chunked", b"5\r\nabcdeXX0\r\n\r\n"),
    ],
)
async def test_a_request_that_could_be_read_in_two_ways_is_refused(
    name: str, lines: str, body: bytes
):
    async with a_world() as world, a_box(world) as box:
        world.far.serve(lambda _: plain(), port=80)
        head = f"POST http://{HOST}/ HTTP/1.1\nHost: {HOST}\n{lines}"
        answer = await box.ask(head, body)
        assert (status(answer), code(answer)) == (400, "egress_malformed"), name
        assert world.far.heard == []


@pytest.mark.parametrize(
    "data",
    [
        "GET http://{h}/ HTTP/1.1\nHost: {h}\n{p}\n\r\n\r\n",
        "GET http://{h}/ HTTP/1.1\r\nHost: {h}\nX: y\r\n{p}\r\n",
        "GET http://{h}/ HTTP/1.1\r\nHost: {h}\rX: y\r\n{p}\r\n",
        "GET http://{h}/\0 HTTP/1.1\r\nHost: {h}\r\n{p}\r\n",
        "GET http://{h}/ HTTP/1.1\r\nHost: {h}\r\nX: \0\r\n{p}\r\n",
        "\r\nGET http://{h}/ HTTP/1.1\r\nHost: {h}\r\n{p}\r\n",
        "GET  http://{h}/ HTTP/1.1\r\nHost: {h}\r\n{p}\r\n",
        "GET http://{h}/ HTTP/2.0\r\nHost: {h}\r\n{p}\r\n",
        "GET http://{h}/\r\n\r\n",
        "GET /path HTTP/1.1\r\nHost: {h}\r\n{p}\r\n",
        "GET https://{h}/ HTTP/1.1\r\nHost: {h}\r\n{p}\r\n",
        "GET ftp://{h}/ HTTP/1.1\r\nHost: {h}\r\n{p}\r\n",
        "GET http:/{h}/ HTTP/1.1\r\nHost: {h}\r\n{p}\r\n",
        "GET http://{h}:0/ HTTP/1.1\r\nHost: {h}\r\n{p}\r\n",
        "GET http://{h}:080/ HTTP/1.1\r\nHost: {h}\r\n{p}\r\n",
        "GET http://{h}\\@evil/ HTTP/1.1\r\nHost: {h}\r\n{p}\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n",
    ],
)
async def test_what_is_not_plain_http_is_refused(data: str):
    async with a_world() as world, a_box(world) as box:
        world.far.serve(lambda _: plain(), port=80)
        answer = await box.raw(data.format(h=HOST, p=box.proof).encode("latin-1"))
        assert status(answer) in (400, 403), answer
        assert world.far.heard == []


async def test_a_second_request_behind_the_first_goes_nowhere():
    async with a_world() as world, a_box(world) as box:
        world.far.serve(lambda _: plain(), port=80)
        head = f"GET http://{HOST}/one HTTP/1.1\nHost: {HOST}\nConnection: keep-alive"
        answer = await box.ask(head, SMUGGLED.encode())
        assert status(answer) == 200
        assert [one.target for one in world.far.heard] == ["/one"]
        assert b"admin" not in world.far.heard[0].raw


async def test_what_is_passed_on_is_written_anew():
    async with a_world() as world, a_box(world) as box:
        world.far.serve(lambda _: plain(), port=80)
        head = (
            f"POST http://{HOST}/a HTTP/1.1\nHost: {HOST}\nTransfer-Encoding: Chunked\n"
            "Connection: X-Hop, close\nX-Hop: 1\nTE: trailers\nKeep-Alive: 5\nX-Kept: yes"
        )
        body = b"5;ext=evil\r\nhello\r\n0\r\nX-Trailer: evil\r\n\r\n"
        assert status(await box.ask(head, body)) == 200
        (heard,) = world.far.heard
        assert heard.body == b"hello"
        assert heard.headers["x-kept"] == "yes"
        assert not {"x-hop", "te", "keep-alive", "proxy-authorization"} & heard.headers.keys()
        assert b"evil" not in heard.raw
        assert box.token.encode() not in heard.raw


async def test_a_host_header_that_names_somebody_else_is_refused():
    async with a_world() as world, a_box(world) as box:
        world.far.serve(lambda _: plain(), port=80)
        for said in ("evil.example", f"{HOST}:81", f"{HOST}.", ""):
            answer = await box.ask(f"GET http://{HOST}/ HTTP/1.1\nHost: {said}")
            if said.rstrip(".") != HOST and said:
                assert code(answer) == "egress_host_header"
        assert all(one.headers["host"] == HOST for one in world.far.heard)


async def test_only_the_ports_that_are_allowed_are_reached():
    async with a_world() as world, a_box(world) as box:
        for port in (22, 25, 8080):
            assert code(await box.ask(f"CONNECT {HOST}:{port} HTTP/1.0")) == "egress_port"
        reach = Reach(task="t", agent="a", web=True)
        world.far.at("other.example")
        with pytest.raises(HoldfastError) as refused:
            await world.gateway.fetch(Request(url="http://other.example:22/"), reach)
        assert refused.value.code == "egress_port"
        assert world.far.dialled == []


async def test_a_head_that_never_ends_or_is_endless_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("holdfast.adapters.egress.inbound._HEAD_SECONDS", 0.2)
    async with a_world() as world, a_box(world) as box:
        answer = await box.raw(b"GET http://api.example.com/ HTTP/1.1\r\nHost:")
        assert status(answer) == 408
        large = "\n".join(f"X-{n}: {'y' * 1000}" for n in range(80))
        answer = await box.ask(f"GET http://{HOST}/ HTTP/1.1\nHost: {HOST}\n{large}")
        assert status(answer) == 431
        many = "\n".join(f"X-{n}: y" for n in range(200))
        answer = await box.ask(f"GET http://{HOST}/ HTTP/1.1\nHost: {HOST}\n{many}")
        assert status(answer) == 431


async def test_those_that_hang_do_not_keep_others_out():
    async with a_world() as world, a_box(world) as slow, a_box(world) as other:
        world.far.serve(lambda _: plain(), port=80)
        hanging = [await anyio.connect_tcp("127.0.0.1", slow.port) for _ in range(90)]
        assert status(await other.ask(f"GET http://{HOST}/ HTTP/1.1\nHost: {HOST}")) == 200
        for stream in hanging:
            await stream.aclose()
        assert status(await slow.ask(f"GET http://{HOST}/ HTTP/1.1\nHost: {HOST}")) == 200


@pytest.mark.parametrize("reach", [REACH, OPENED], ids=["closed", "opened"])
async def test_whoever_hangs_up_anywhere_harms_nobody(reach: Reach):
    chance = random.Random(7)
    trust = ssl.create_default_context()

    async def hang_up(box: Box) -> None:
        port = chance.choice((80, 443))
        method = "CONNECT" if port == 443 else "POST"
        where = f"{HOST}:443" if port == 443 else f"http://{HOST}/v1/up"
        head = f"{method} {where} HTTP/1.1\r\nHost: {HOST}:{port}\r\n{box.proof}"
        head += "\r\n" if port == 443 else "Content-Length: 900000\r\n\r\n" + "x" * 200_000
        async with await anyio.connect_tcp("127.0.0.1", box.port) as stream:
            if chance.random() < 0.5:  # Torn off, not closed.
                raw = stream.extra(SocketAttribute.raw_socket)
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await stream.send(head[: chance.randrange(1, len(head) + 1)].encode())
            if port == 443 and chance.random() < 0.7:
                with anyio.move_on_after(chance.random() / 50):
                    await TLSStream.wrap(stream, hostname=HOST, ssl_context=trust)

    async with a_world() as world, a_box(world, reach) as box:
        trust.load_verify_locations(cadata=(box.given.authority or world.far.certificate).decode())
        world.far.serve(lambda _: plain("x" * 500_000), tls=HOST)
        world.far.serve(lambda _: plain("x" * 500_000), port=80)
        for _ in range(10):
            async with anyio.create_task_group() as group:
                for _ in range(12):
                    group.start_soon(tolerant, hang_up, box)
        head = f"GET /v1/me HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
        assert (await box.through_tls(head.encode())).endswith(b"x" * 1000)


async def tolerant(work: Callable[[Box], Awaitable[None]], box: Box) -> None:
    with contextlib.suppress(
        anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError, OSError
    ):
        await work(box)


async def test_the_protocol_is_not_changed():
    async with a_world() as world, a_box(world) as box:
        world.far.serve(lambda _: plain(status="101 Switching Protocols"), port=80)
        head = f"GET http://{HOST}/ws HTTP/1.1\nHost: {HOST}\nConnection: Upgrade\n"
        answer = await box.ask(head + "Upgrade: websocket\nSec-WebSocket-Key: eA==")
        assert (status(answer), code(answer)) == (403, "egress_upgrade")
        assert world.far.heard == []
        answer = await box.ask(f"GET http://{HOST}/ HTTP/1.1\nHost: {HOST}")
        assert (status(answer), code(answer)) == (502, "egress_broken")


async def test_the_token_of_one_box_opens_nothing_for_another():
    async with a_world() as world, a_box(world) as ann, a_box(world) as bob:
        world.far.serve(lambda _: plain(), port=80)
        head = f"GET http://{HOST}/ HTTP/1.1\r\nHost: {HOST}\r\n"
        for proof in (bob.proof, "", "Proxy-Authorization: Basic !!\r\n"):
            answer = await ann.raw(f"{head}{proof}\r\n".encode())
            assert status(answer) == 407
            assert b"proxy-authenticate: basic" in answer.lower()
        assert world.far.dialled == []
        assert await world.codes() == ["egress_token", "egress_token"]


async def test_a_tunnel_carries_tls_for_its_host_and_nothing_else():
    async with a_world() as world, a_box(world) as box:
        world.far.serve(lambda _: plain("secure"), tls=HOST)
        request = f"GET /x HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
        assert (await box.through_tls(request)).endswith(b"secure")
        with pytest.raises((ssl.SSLError, anyio.BrokenResourceError, anyio.EndOfStream)):
            await box.through_tls(request, name="evil.example")
        async with box.tunnel(f"{HOST}:443") as stream:
            await stream.send(b"SSH-2.0-OpenSSH_9.9\r\n")
            assert await everything(stream) == b""
        async with box.tunnel(f"{HOST}:443") as stream:
            await stream.send(_hello(b""))
            assert await everything(stream) == b""
        async with box.tunnel(f"{HOST}:443") as stream:
            await stream.send(_hello(_sni(HOST) + b"\xfe\x0d\0\x01\0"))
            assert await everything(stream) == b""
        async with box.tunnel(f"{HOST}:443") as stream:
            await stream.send(_hello(_sni(HOST) + _sni("evil.example")))
            assert await everything(stream) == b""
        codes = ["", "egress_sni", "egress_hello", "egress_sni", "egress_hello", "egress_hello"]
        assert await world.codes() == codes
        assert len(world.far.heard) == 1


async def test_an_encrypted_name_passes_only_where_every_name_would():
    anywhere = Reach(task="t", agent="a", web=True, methods=())
    some = Reach(task="t", agent="a", web=True, allowed=WAYS)
    for reach, said in ((anywhere, ""), (some, "egress_hello")):
        async with a_world() as world, a_box(world, reach) as box:
            world.far.talk(_swallow)
            async with box.tunnel(f"{HOST}:443") as stream:
                await stream.send(_hello(_sni(HOST) + b"\xfe\x0d\0\x01\0"))
                assert await everything(stream) == (b"" if said else b"ok")
            assert await world.codes() == [said]


async def _swallow(stream: ByteStream) -> None:
    await stream.receive()
    await stream.send(b"ok")


def _hello(extensions: bytes) -> bytes:
    inner = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\x13\x01" + b"\x01\0"
    inner += len(extensions).to_bytes(2, "big") + extensions
    message = b"\x01" + len(inner).to_bytes(3, "big") + inner
    return b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message


def _sni(name: str) -> bytes:
    entry = b"\0" + len(name).to_bytes(2, "big") + name.encode()
    block = len(entry).to_bytes(2, "big") + entry
    return b"\0\0" + len(block).to_bytes(2, "big") + block


async def test_rules_that_cannot_be_checked_inside_of_tls_let_nothing_pass():
    closed = Reach(task="t", agent="a", allowed=OPENED.allowed)
    async with a_world() as world, a_box(world, closed) as box:
        answer = await box.ask(f"CONNECT {HOST}:443 HTTP/1.0")
        assert (status(answer), code(answer)) == (403, "egress_closed")
        assert box.given.authority == b""


async def test_a_secret_is_put_in_on_the_way_out_and_never_seen_inside():
    async with a_world() as world, a_box(world, OPENED) as box:
        world.far.serve(_echo, tls=HOST)
        head = f"GET /v1/me HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer mine\r\n"
        answer = await box.through_tls(f"{head}Range: bytes=0-3\r\n\r\n".encode())
        assert status(answer) == 200
        (heard,) = world.far.heard
        assert heard.headers["authorization"] == f"Bearer {KEY}"
        assert "range" not in heard.headers
        assert KEY.encode() not in answer
        assert base64.b64encode(KEY.encode()) not in answer
        (visit,) = world.visits.all.values()
        assert visit.secrets == ("api/key",)
        assert KEY not in repr(visit)


async def _echo(heard: Heard) -> bytes:
    told = heard.headers["authorization"].removeprefix("Bearer ")
    twice = base64.b64encode(told.encode()).decode()
    return plain(f"you are {told} or {twice}", f"X-Echo: {told}")


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/v2/me", "egress_path"),
        ("GET", "/v1/../admin", "egress_path"),
        ("GET", "/v1/%2e%2e/admin", "egress_path"),
        ("GET", "/v1/..%2fadmin", "egress_path"),
        ("GET", "/v1/%252e%252e/admin", "egress_path"),
        ("GET", "/v1/..;x=1/admin", "egress_path"),
        ("GET", "/v1/..%5cadmin", "egress_path"),
        ("DELETE", "/v1/me", "egress_method"),
        ("get", "/v1/me", "egress_method"),
        ("TRACE", "/v1/me", "egress_method"),
        ("CONNECT", "evil.example:443", "egress_malformed"),
        ("GET", "https://evil.example/v1/", "egress_malformed"),
        ("OPTIONS", "*", "egress_malformed"),
    ],
)
async def test_inside_of_tls_only_what_is_allowed_gets_the_secret(
    method: str, target: str, expected: str
):
    async with a_world() as world, a_box(world, OPENED) as box:
        world.far.serve(_echo, tls=HOST)
        head = f"{method} {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
        assert code(await box.through_tls(head.encode())) == expected
        assert world.far.heard == []
        assert await world.codes() == [expected]


async def test_inside_of_tls_another_host_is_refused():
    async with a_world() as world, a_box(world, OPENED) as box:
        head = "GET /v1/me HTTP/1.1\r\nHost: evil.example\r\n\r\n"
        assert code(await box.through_tls(head.encode())) == "egress_host_header"
        with pytest.raises((ssl.SSLError, anyio.BrokenResourceError, anyio.EndOfStream)):
            await box.through_tls(head.encode(), name="evil.example")
        assert await world.codes() == ["egress_host_header", "egress_sni"]
        assert world.far.dialled == []


async def test_who_does_not_trust_its_own_authority_is_told_of():
    async with a_world() as world, a_box(world, OPENED) as box:
        async with box.tunnel(f"{HOST}:443") as stream:
            with pytest.raises(ssl.SSLCertVerificationError):
                await TLSStream.wrap(
                    stream, hostname=HOST, ssl_context=ssl.create_default_context()
                )
        with anyio.fail_after(30):
            while not world.visits.all:
                await anyio.sleep(0.001)
        assert await world.codes() == ["egress_untrusted"]
        assert world.far.dialled == []


async def test_a_secret_never_leaves_in_the_open():
    headers = {"X-Key": "$SECRET{api/key}"}
    reach = Reach(task="t", agent="a", allowed=(Allowed(host=HOST, port=80, headers=headers),))
    async with a_world() as world, a_box(world, reach) as box:
        head = f"GET http://{HOST}/ HTTP/1.1\nHost: {HOST}"
        assert code(await box.ask(head)) == "egress_plain"
        assert world.far.dialled == []


async def test_a_secret_that_is_not_granted_stops_the_request():
    async with a_world() as world, a_box(world, OPENED) as box:
        del world.far.secrets["api/key"]
        head = f"GET /v1/me HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
        assert code(await box.through_tls(head.encode())) == "secret_not_granted"
        assert world.far.dialled == []
        assert await world.codes() == ["secret_not_granted"]


async def test_what_is_broken_outside_says_nothing_about_it_inside():
    async with a_world() as world, a_box(world, OPENED) as box:
        world.far.secrets["api/key"] = Broken("/home/me/vault is damaged", code="vault_damaged")
        head = f"GET /v1/me HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
        for _ in range(2):
            answer = await box.through_tls(head.encode())
            assert (status(answer), code(answer)) == (502, "vault_damaged")
            assert b"/home" not in answer
        assert await world.codes() == ["vault_damaged"] * 2


async def test_an_answer_that_is_compressed_against_our_wish_is_not_passed_on():
    async with a_world() as world, a_box(world, OPENED) as box:
        world.far.serve(lambda _: plain("x", "Content-Encoding: gzip"), tls=HOST)
        head = f"GET /v1/me HTTP/1.1\r\nHost: {HOST}\r\nAccept-Encoding: gzip\r\n\r\n"
        assert code(await box.through_tls(head.encode())) == "egress_encoded"
        assert world.far.heard[0].headers["accept-encoding"] == "identity"


async def test_the_other_side_must_prove_who_it_is():
    async with a_world() as world, a_box(world, OPENED) as box:
        world.far.serve(_echo, tls="evil.example")
        head = f"GET /v1/me HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
        assert code(await box.through_tls(head.encode())) == "egress_tls"
        assert world.far.heard == []


async def test_requests_and_bytes_have_an_end_and_what_is_beyond_does_not_fill_the_disk():
    few = Reach(task="t", agent="a", allowed=WAYS, requests=3)
    async with a_world() as world, a_box(world, few) as box:
        world.far.serve(lambda _: plain(), port=80)
        head = f"GET http://{HOST}/ HTTP/1.1\nHost: {HOST}"
        answers = [await box.ask(head) for _ in range(10)]
        assert [status(one) for one in answers] == [200] * 3 + [429] * 7
        assert await world.codes() == ["", "", "", "egress_quota"]
    little = Reach(task="t", agent="a", allowed=WAYS, bytes=20_000)
    async with a_world() as world, a_box(world, little) as box:
        world.far.serve(lambda _: plain("x" * 1_000_000), port=80)
        answer = await box.ask(head)
        assert len(answer) < 30_000
        assert code(await box.ask(head)) == "egress_bytes"
        assert await world.codes() == ["egress_bytes", "egress_bytes"]


async def test_a_new_way_out_does_not_begin_the_count_anew():
    reach = Reach(task="t", agent="a", allowed=WAYS, requests=2)
    async with a_world() as world:
        world.far.serve(lambda _: plain(), port=80)
        head = f"GET http://{HOST}/ HTTP/1.1\nHost: {HOST}"
        for expected in (200, 200, 429):
            async with a_box(world, reach) as box:
                assert status(await box.ask(head)) == expected


@pytest.mark.parametrize(
    "place",
    (
        *("http://127.0.0.1/", "http://169.254.169.254/latest", "//[::1]/", "http://0x7f.1/"),
        *("http://inner.example/", "file:///etc/passwd", "http://api.example.com@127.0.0.1/"),
        *("gopher://x/", "http://[::1", "http://[v1.x]/", "http://a b/"),
    ),
)
async def test_a_redirect_is_judged_like_the_first_request(place: str):
    """Part of row GC-89d. Row KV-28."""
    async with a_world() as world:
        world.far.at("inner.example", "10.0.0.1")
        moved = plain("", f"Location: {place}", status="302 Found")
        world.far.serve(lambda _: moved, port=80)
        with pytest.raises(HoldfastError) as refused:
            await fetched(world, f"http://{HOST}/")
        assert refused.value.code in ("egress_literal", "egress_address", "egress_malformed")
        assert world.far.dialled == [(PUBLIC, 80)]
        assert (await world.codes())[0] == ""
        assert (await world.codes())[1] == refused.value.code


async def fetched(world: World, url: str, reach: Reach | None = None, **more: object) -> Answer:
    reach = reach or Reach(task="t", agent="a", tool="http", web=True)
    return await world.gateway.fetch(Request(url=url, **more), reach)  # pyright: ignore[reportArgumentType]


async def test_a_redirect_to_somebody_else_takes_no_key_and_no_body_along():
    """Part of row KV-28."""
    async with a_world() as world:
        world.far.at("other.example", "93.184.216.35")
        away = plain("", "Location: http://other.example/x", status="307 Temporary Redirect")
        world.far.serve(lambda _: away, port=80)
        world.far.serve(lambda _: plain("there"), address="93.184.216.35", port=80)
        headers = {"Authorization": "Bearer x", "X-Api-Key": "y", "Cookie": "z", "Accept": "*/*"}
        answer = await fetched(world, f"http://{HOST}/", headers=headers)
        assert (answer.body, answer.url) == (b"there", "http://other.example/x")
        assert answer.hops == (f"http://{HOST}/",)
        first, second = world.far.heard
        assert first.headers["x-api-key"] == "y"
        assert second.headers["accept"] == "*/*"
        assert not {"authorization", "x-api-key", "cookie"} & second.headers.keys()
        reach = Reach(task="t", agent="a", web=True, methods=())
        with pytest.raises(HoldfastError) as refused:
            await fetched(world, f"http://{HOST}/", reach, method="POST", body=b"secret")
        assert refused.value.code == "egress_redirect"


async def test_redirects_in_a_circle_end():
    async with a_world() as world:
        world.far.serve(lambda _: plain("", "Location: /", status="302 Found"), port=80)
        with pytest.raises(HoldfastError) as refused:
            await fetched(world, f"http://{HOST}/", hops=3)
        assert refused.value.code == "egress_redirects"
        assert len(world.far.heard) == 4
        assert (await fetched(world, f"http://{HOST}/", hops=0)).status == 302


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "http://", "https://user:pw@api.example.com/"]
)
async def test_only_plain_web_addresses_are_fetched(url: str):
    """Part of row GC-89d."""
    async with a_world() as world:
        with pytest.raises(HoldfastError) as refused:
            await fetched(world, url)
        assert refused.value.code == "egress_malformed"
        assert await world.codes() == ["egress_malformed"]


async def test_an_inner_address_is_fetched_when_exactly_it_is_named():
    """Part of row GC-89d."""
    async with a_world() as world:
        world.far.serve(lambda _: plain("inner"), address="127.0.0.1", port=8080)
        reach = Reach(task="t", agent="a", web=True, private=("127.0.0.1",))
        answer = await fetched(world, "http://127.0.0.1:8080/", reach)
        assert answer.body == b"inner"
        for odd in ("http://127.1:8080/", "http://[::ffff:127.0.0.1]:8080/", "http://127.0.0.2/"):
            with pytest.raises(HoldfastError) as refused:
                await fetched(world, odd, reach)
            assert refused.value.code == "egress_literal"


async def test_inner_addresses_are_denied_and_audited():
    """Row GC-89d."""
    async with a_world() as world:
        world.far.at("rebound.example", "10.0.0.1")
        world.far.serve(lambda _: plain("", "Location: http://10.0.0.1/", status="302 F"), port=80)
        for url, said in (
            ("http://169.254.169.254/", "egress_literal"),
            ("http://[::1]/", "egress_literal"),
            ("http://rebound.example/", "egress_address"),
            ("http://localhost/", "egress_unresolved"),
            (f"http://{HOST}/", "egress_literal"),
            ("file:///etc/passwd", "egress_malformed"),
        ):
            with pytest.raises(HoldfastError) as refused:
                await fetched(world, url)
            assert refused.value.code == said
            *_, last = world.visits.all.values()
            assert (last.code, last.task, last.agent, last.tool) == (said, "t", "a", "http")
        assert world.far.dialled == [(PUBLIC, 80)]
        with pytest.raises(HoldfastError) as refused:
            only = Reach(task="t", agent="a", allowed=(Allowed(host="else.example"),))
            await fetched(world, f"http://{HOST}/", only)
        assert refused.value.code == "egress_host"


async def test_a_box_reaches_no_address_even_one_that_the_house_may():
    reach = Reach(task="t", agent="a", allowed=(Allowed(host="*", port=0),), private=("10.0.0.9",))
    async with a_world() as world, a_box(world, reach) as box:
        world.far.serve(lambda _: plain("inner"), address="10.0.0.9", port=80)
        for head in ("GET http://10.0.0.9/ HTTP/1.0", "CONNECT 10.0.0.9:443 HTTP/1.0"):
            assert code(await box.ask(head)) == "egress_literal"
        assert world.far.dialled == []
        assert (await fetched(world, "http://10.0.0.9/", reach)).body == b"inner"


async def test_an_inner_host_may_get_its_key_without_tls():
    way = Allowed(host="wiki.lan", port=8080, headers={"X-Key": "$SECRET{api/key}"})
    reach = Reach(task="t", agent="a", allowed=(way,), private=("wiki.lan",))
    async with a_world() as world, a_box(world, reach) as box:
        world.far.at("wiki.lan", "10.0.0.7")
        world.far.serve(lambda heard: plain(heard.headers["x-key"]), address="10.0.0.7", port=8080)
        answer = await box.ask("GET http://wiki.lan:8080/ HTTP/1.1\nHost: wiki.lan:8080")
        assert answer.endswith(b"*" * len(KEY))
        assert world.far.heard[0].headers["x-key"] == KEY


async def test_a_bomb_is_cut_off_where_it_was_said():
    import gzip

    packed = gzip.compress(bytes(50_000_000))

    def bomb(_: Heard) -> bytes:
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"
        return head.encode() + packed

    async with a_world() as world:
        world.far.serve(bomb, port=80)
        answer = await fetched(world, f"http://{HOST}/", most=10_000)
        assert (len(answer.body), answer.cut) == (10_000, True)
        world.far.serve(lambda _: plain("x" * 100_000), port=80)
        answer = await fetched(world, f"http://{HOST}/", most=10_000)
        assert (len(answer.body), answer.cut) == (10_000, True)


async def test_who_never_answers_is_given_up():
    async with a_world() as world:

        async def silent(stream: ByteStream) -> None:
            await anyio.sleep_forever()

        world.far.talk(silent, port=80)
        with pytest.raises(HoldfastError) as refused:
            await fetched(world, f"http://{HOST}/", seconds=0.2)
        assert refused.value.code == "egress_timeout"
        assert await world.codes() == ["egress_cut"]
