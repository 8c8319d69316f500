"""The parts of the way out by themselves, given whatever there may be."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Sequence
from itertools import pairwise
from urllib.parse import quote

import anyio
import pytest
from anyio.abc import ByteStream, SocketStream
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.adapters.egress.authority import Authority
from holdfast.adapters.egress.hello import read_hello
from holdfast.adapters.egress.inbound import Inbound
from holdfast.adapters.egress.line import Line
from holdfast.adapters.egress.proxy import Room
from holdfast.adapters.egress.veil import Veil
from holdfast.core.error import HoldfastError, NotAllowed
from holdfast.engine.clock import SystemClock
from holdfast.ports.egress import Allowed, Reach, Request
from holdfast.testing.far_side import Heard, made_up_world, plain

HOST = "api.example.com"
SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=4, max_size=12)
TRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    marks = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(marks)]


@TRIED
@given(SECRETS, st.binary(max_size=30), st.binary(max_size=30), st.lists(st.integers(0, 200)))
def test_a_value_never_shows_however_the_body_is_cut(
    secret: str, before: bytes, after: bytes, places: list[int]
):
    raw = secret.encode()
    forms = (raw, base64.b64encode(raw), quote(secret, safe="").encode())
    body = before + after.join(forms) + before
    veil = Veil([secret])
    shown = b"".join([*map(veil.body, cut(body, places)), veil.rest()])
    assert len(shown) == len(body)
    assert not any(form in shown for form in forms if set(form) != {ord("*")})


@TRIED
@given(st.lists(st.binary(min_size=1, max_size=20), max_size=8))
def test_a_body_without_the_value_passes_as_it_is(pieces: list[bytes]):
    veil = Veil(["a-secret-that-is-nowhere-in-it"])
    assert b"".join([*map(veil.body, pieces), veil.rest()]) == b"".join(pieces)


@pytest.mark.parametrize("before", [b"", b"x", b"xy"])
def test_what_was_put_in_is_not_read_back_in_hexadecimal_or_shifted(before: bytes):
    value = b"a-secret-of-some-length-42"
    for written in (value.hex().encode(), base64.b64encode(before + value)):
        body = b"you said " + written + b"."
        shown = Veil([value.decode()]).body(body)
        assert len(shown) == len(body)
        assert written[4:-4] not in shown


def test_nothing_is_held_back_but_what_may_be_the_beginning():
    veil = Veil(["sk-123456"])
    assert veil.body(b"data: hello sk") == b"data: hello "
    assert veil.body(b"y high\n\n") == b"sky high\n\n"


def replayed(*pieces: bytes) -> Line:
    return Line(Replay(pieces), "nobody")


class Replay(ByteStream):
    """Says what it was given, and then nothing more."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]
        self.sent = bytearray()

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if not self._pieces:
            raise anyio.EndOfStream
        return self._pieces.pop(0)

    async def send(self, item: bytes) -> None:
        self.sent += item

    async def send_eof(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


def real_hello(name: str = HOST) -> bytes:
    out = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


REAL = real_hello()


@TRIED
@given(st.lists(st.integers(0, 2000), max_size=10), st.integers(1, 300))
def test_a_real_hello_is_understood_however_it_comes(places: list[int], size: int):
    inner = REAL[5:]
    records = b"".join(
        b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part
        for part in (inner[at : at + size] for at in range(0, len(inner), size))
    )
    for data in (REAL, records):
        line = replayed(*cut(data, places))
        hello = anyio.run(read_hello, line)
        assert (hello.name, hello.veiled, hello.raw) == (HOST, False, data)
        assert anyio.run(line.receive) == data


@TRIED
@given(st.binary(max_size=300), st.integers(0, len(REAL)), st.integers(0, 255))
def test_what_is_no_hello_is_refused_and_nothing_else(noise: bytes, place: int, value: int):
    changed = bytearray(REAL)
    changed[place % len(REAL)] = value
    for data in (noise, b"\x16\x03\x01" + noise, REAL[:place], bytes(changed), REAL + noise):
        try:
            hello = anyio.run(read_hello, replayed(data))
        except NotAllowed as error:
            assert error.code == "egress_hello"
        else:
            assert hello.raw == data


HEADS = st.lists(
    st.sampled_from(
        (
            *(b"GET ", b"POST ", b"http://a/", b" HTTP/1.1", b"\r\n", b"\n", b"\r", b"Host: a\r\n"),
            *(b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"\r\n\r\n", b" ", b":"),
            *(b"3\r\nabc\r\n", b"0\r\n\r\n", b"abc", b"\0", b"\xff", b"Expect: 100-continue\r\n"),
            *(b"Connection: close, x\r\n", b"x: y\r\n", b"\t"),
        )
    ),
    max_size=14,
).map(b"".join)


@TRIED
@given(HEADS, st.lists(st.integers(0, 300), max_size=4))
def test_whatever_comes_is_a_request_or_refused(data: bytes, places: list[int]):
    async def read() -> None:
        stream = Replay(cut(data, places))
        inbound = Inbound(Line(stream, "nobody"))
        try:
            if await inbound.read():
                async for _ in inbound.body():
                    pass
        except HoldfastError as error:
            await inbound.refuse(error)
            assert b" 400 " in stream.sent or b" 502 " in stream.sent, stream.sent

    anyio.run(read)


def test_room_is_shared_alike():
    room = Room(256)
    for boxes, share in ((0, 64), (1, 64), (4, 64), (16, 16), (200, 4)):
        room.boxes = boxes
        assert room.share == share


def test_an_authority_signs_for_one_name_and_another_does_not_believe_it():
    ours, theirs = (Authority(SystemClock().now()) for _ in range(2))
    assert shaken(ours.context(HOST), ours.certificate, HOST) == ""
    assert shaken(ours.context(HOST), theirs.certificate, HOST) != ""
    assert "mismatch" in shaken(ours.context(HOST), ours.certificate, "b.example")
    assert ours.context(HOST) is ours.context(HOST)


def shaken(server: ssl.SSLContext, believed: bytes, name: str) -> str:
    """What a client says of the server: nothing, if it is content."""
    ins, outs = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context(cadata=believed.decode())
    ends = (
        client.wrap_bio(ins, outs, server_hostname=name),
        server.wrap_bio(outs, ins, server_side=True),
    )
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
    return ""


@pytest.mark.anyio
async def test_an_answer_passes_piece_by_piece_as_it_comes():
    with anyio.fail_after(20):
        async with made_up_world(SystemClock()) as world:
            world.far.at(HOST)
            more = anyio.Event()

            async def talk(stream: ByteStream) -> None:
                await stream.receive()
                await stream.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
                await stream.send(b"data: one\n\n")
                await more.wait()
                await stream.send(b"data: two\n\n")

            world.far.talk(talk, port=80)
            reach = Reach(task="t", agent="a", allowed=(Allowed(host=HOST, port=80),))
            listener = socket.create_server(("127.0.0.1", 0))
            async with world.gateway.serve(listener, reach) as given:
                where = given.environment["HTTP_PROXY"]
                token, _, port = where.removeprefix("http://").replace("@", ":").rpartition(":")
                proof = base64.b64encode(token.rpartition(":")[0].encode()).decode()
                async with await anyio.connect_tcp("127.0.0.1", int(port)) as stream:
                    head = f"GET http://{HOST}/ HTTP/1.1\r\nHost: {HOST}\r\n"
                    shown = f"Proxy-Authorization: Basic {proof}\r\n\r\n"
                    await stream.send((head + shown).encode())
                    found = await until(stream, b"data: one")
                    assert b"data: two" not in found
                    more.set()
                    await until(stream, b"data: two")


async def until(stream: SocketStream, wanted: bytes) -> bytes:
    found = b""
    while wanted not in found:
        found += await stream.receive()
    return found


@pytest.mark.anyio
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    ],
)
async def test_an_answer_that_is_none_is_the_other_sides_failure(answer: bytes):
    with anyio.fail_after(20):
        async with made_up_world(SystemClock()) as world:
            world.far.at(HOST)
            world.far.serve(lambda _: answer, port=80)
            with pytest.raises(HoldfastError) as failed:
                reach = Reach(task="t", agent="a", web=True)
                await world.gateway.fetch(Request(url=f"http://{HOST}/"), reach)
            assert failed.value.code in ("egress_broken", "egress_cut")
            assert await world.codes() == [failed.value.code]


@pytest.mark.anyio
async def test_what_the_house_sends_is_what_was_asked_for():
    """Part of row OL-95."""

    def said(heard: Heard) -> bytes:
        return plain(f"{heard.method} {heard.target} {heard.body.decode()}", "X-A: 1", "X-A: 2")

    with anyio.fail_after(20):
        async with made_up_world(SystemClock()) as world:
            world.far.at(HOST)
            world.far.serve(said, port=80)
            request = Request(
                url=f"http://{HOST}:80/\u00e4 b?q=\u00fc#part",
                method="put",
                headers={"X-Mine": "1", "Host": "evil", "Content-Length": "9", "Connection": "x"},
                body=b"abc",
            )
            reach = Reach(task="t", agent="a", web=True, methods=())
            answer = await world.gateway.fetch(request, reach)
            assert answer.body == b"PUT /%C3%A4%20b?q=%C3%BC abc"
            assert answer.headers["x-a"] == "1, 2"
            (heard,) = world.far.heard
            assert heard.headers["host"] == HOST
            assert heard.headers["x-mine"] == "1"
            assert heard.headers["content-length"] == "3"


@pytest.mark.anyio
async def test_a_key_by_header_reaches_its_host_and_nobody_else():
    """Row OL-26."""
    headers = {"X-Subscription-Token": "$SECRET{search/brave}"}
    allowed = (Allowed(host=HOST, path="/res/*", headers=headers),)
    with anyio.fail_after(20):
        async with made_up_world(SystemClock()) as world:
            world.far.at(HOST)
            world.far.secrets["search/brave"] = "brave-canary-1"
            world.far.serve(
                lambda heard: plain(heard.headers.get("x-subscription-token", "none")), tls=HOST
            )
            reach = Reach(task="t", agent="a", allowed=allowed, web=True)
            keyed = await world.gateway.fetch(Request(url=f"https://{HOST}/res/v1"), reach)
            other = await world.gateway.fetch(Request(url=f"https://{HOST}/else"), reach)
            assert (keyed.body, other.body) == (b"*" * len("brave-canary-1"), b"none")
            keys = [one.headers.get("x-subscription-token") for one in world.far.heard]
            assert keys == ["brave-canary-1", None]
