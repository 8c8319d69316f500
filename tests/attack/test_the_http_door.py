"""The door is attacked: by nobody, by the wrong one, by pages, by patience, by strange bytes."""

import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from starlette.routing import Route, WebSocketRoute

from holdfast.core.message import Reply
from holdfast.doors.http.a2a.routes import CARDS
from holdfast.doors.http.access import Access
from holdfast.doors.http.patience import Reception
from holdfast.doors.http.serve import serve
from tests.doors.house import TOKEN, Plan, Street, client, street

pytestmark = pytest.mark.anyio
BEARER = {"Authorization": f"Bearer {TOKEN}"}
NOTHING_YET = (b"", None)


RESET = struct.pack("ii", 1, 0)
"""As SO_LINGER: closing hangs up at once, whatever was not read yet."""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


def error(answer: httpx2.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


@asynccontextmanager
async def listening(at: Street, how: Reception | None = None) -> AsyncGenerator[int]:
    """The house behind a real port."""
    async with anyio.create_task_group() as group:

        async def run(*, task_status: Any) -> None:
            await serve(at.app, unix=None, port=0, how=how, task_status=task_status)

        (address,) = await group.start(run)
        yield int(address.rpartition(":")[2])
        group.cancel_scope.cancel()


async def talk(port: int, data: bytes) -> bytes:
    """Send bytes, then listen until the other side hangs up."""
    heard = b""
    with anyio.fail_after(10):
        async with await anyio.connect_tcp("127.0.0.1", port) as line:
            await line.send(data)
            try:
                while True:
                    heard += await line.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return heard


async def test_without_a_principal_no_handler_of_any_route_runs(tmp_path: Path):
    """Every route of the app, whatever door it belongs to, with every method it has.

    Rows GC-64 and OC-72.
    """
    access = Access(tries_per_minute=10_000)
    async with street(tmp_path, plan=Plan(access=access)) as at:
        for wrong in ({}, {"Authorization": "Bearer wrong"}, {"X-API-Key": "hfk_00_wrong"}):
            open_ones = set[str]()
            async with client(at.app, headers=wrong) as nobody:
                for route in at.app.routes:
                    if isinstance(route, WebSocketRoute):
                        assert await shaken(at.app, route.path, wrong) == 401
                        continue
                    assert isinstance(route, Route)
                    path = route.path.replace("{", "").replace("}", "")
                    for method in route.methods or ():
                        answer = await nobody.request(method, path)
                        if answer.status_code != 401:
                            open_ones.add(f"{method} {path}")
            assert open_ones == {
                "GET /healthz",
                "HEAD /healthz",
                "GET /openapi.json",
                "HEAD /openapi.json",
                "POST /api/v1/login",
                *(f"{way} {card}" for way in ("GET", "HEAD") for card in CARDS),
            }
        assert (await at.tcp.get("/api/v1/tasks")).json()["tasks"] == []


async def shaken(app: Any, path: str, headers: dict[str, str]) -> int:
    """The status with which a handshake is refused."""
    said: list[Any] = []
    raw = {"host": "127.0.0.1", **headers}
    scope: dict[str, Any] = {
        "type": "websocket",
        "path": path,
        "query_string": b"",
        "scheme": "ws",
        "headers": [(name.lower().encode(), text.encode()) for name, text in raw.items()],
        "extensions": {"websocket.http.response": {}},
    }

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        said.append(message)

    await app(scope, receive, send)
    assert [one["type"] for one in said] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    return int(said[0]["status"])


@pytest.mark.parametrize(
    "anyio_backend",
    [("asyncio", {"use_uvloop": True}), ("asyncio", {"use_uvloop": False})],
    ids=["uvloop", "asyncio"],
)
async def test_who_hangs_up_before_we_look_up_is_not_taken_for_the_owner(tmp_path: Path):
    """The kernel no longer says who is at the other end of such a line, and still hands over
    what was sent on it: without an address it must not pass for the Unix socket."""
    async with street(tmp_path) as at, listening(at) as port:
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", port)) as line:  # the loop does not run
                line.sendall(b"POST /api/v1/stop HTTP/1.1\r\ncontent-length: 0\r\n\r\n")
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        assert b" 401 " in await talk(
            port, b"GET /api/v1/me HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        )
        assert at.stops == []


async def test_nothing_in_a_request_says_who_somebody_is(tmp_path: Path):
    """Part of row OL-03."""
    forged = {
        "X-Forwarded-User": "root",
        "X-Remote-User": "root",
        "Remote-User": "root",
        "X-User": "root",
        "X-Forwarded-For": "127.0.0.1",
        "From": "root@example.com",
        "Forwarded": "for=127.0.0.1;by=root",
    }
    async with street(tmp_path, [Reply(text="hello")]) as at:
        async with client(at.app, headers=forged) as nobody:
            assert error(await nobody.get("/api/v1/tasks")) == (401, "unauthenticated")
        body = {"prompt": "x"}
        answer = await at.tcp.post("/api/v1/tasks", json=body, headers=forged)
        assert answer.json()["by"] == "token:default"
        for name in ("by", "user", "principal", "owner", "agent_id"):
            answer = await at.tcp.post("/api/v1/tasks", json={**body, name: "root"})
            assert error(answer) == (422, "invalid"), name
            answer = await at.tcp.get(f"/api/v1/tasks?{name}=root")
            assert error(answer) == (422, "invalid"), name


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "169.254.169.254", ""],
)
async def test_a_name_that_was_pointed_here_is_refused(tmp_path: Path, host: str):
    """DNS rebinding: the page's own name is in the Host header, and a browser cannot hide it."""
    async with street(tmp_path) as at:
        for path in ("/api/v1/tasks", "/healthz", "/openapi.json"):
            answer = await at.tcp.get(path, headers={"Host": host})
            assert error(answer) == (403, "wrong_host")


async def test_a_name_of_the_configuration_is_ours(tmp_path: Path):
    access = Access(names=frozenset({"agents.lan", "192.168.1.20", "fe80::1"}))
    async with street(tmp_path, plan=Plan(access=access)) as at:
        for host in ("agents.lan", "AGENTS.lan:7799", "192.168.1.20:1", "[fe80::1]:7799"):
            answer = await at.tcp.get("/api/v1/tasks", headers={"Host": host})
            assert answer.status_code == 200, host
        for host in ("x.agents.lan", "192.168.1.21", "[fe80::2]"):
            answer = await at.tcp.get("/api/v1/tasks", headers={"Host": host})
            assert error(answer) == (403, "wrong_host"), host


async def test_only_pages_of_the_list_may_ask_and_only_they_get_cors(tmp_path: Path):
    """Row GC-81."""
    access = Access(origins=frozenset({"https://app.example"}))
    async with street(tmp_path, plan=Plan(access=access)) as at:
        good = {"Origin": "https://app.example"}
        answer = await at.tcp.get("/api/v1/tasks", headers=good)
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert "origin" in answer.headers["vary"].lower()
        assert "access-control-allow-credentials" not in answer.headers
        asked = {"Access-Control-Request-Method": "POST"}
        async with client(at.app) as nobody:
            preflight = await nobody.options("/api/v1/tasks", headers={**good, **asked})
            assert preflight.status_code == 204
            assert "POST" in preflight.headers["access-control-allow-methods"]
            assert preflight.headers["access-control-max-age"] == "3600"
            for origin in ("https://evil.example", "null", "http://app.example"):
                bad = {"Origin": origin}
                answer = await nobody.options("/api/v1/tasks", headers={**bad, **asked})
                assert error(answer) == (403, "foreign_origin")
                assert "access-control-allow-origin" not in answer.headers
                answer = await at.tcp.get("/api/v1/tasks", headers=bad)
                assert error(answer) == (403, "foreign_origin")
                assert "access-control-allow-origin" not in answer.headers
    async with street(tmp_path) as at:
        answer = await at.tcp.get("/api/v1/tasks", headers=good)
        assert error(answer) == (403, "foreign_origin"), "off by default"


async def test_no_key_travels_in_an_address(tmp_path: Path):
    async with street(tmp_path) as at:
        for query in (f"token={TOKEN}", "access_token=x", "api_key=x", "limit=hfk_ab_cd"):
            answer = await at.tcp.get(f"/api/v1/tasks?{query}")
            assert error(answer) == (422, "key_in_url"), query
            assert TOKEN not in answer.text


async def test_a_browser_gets_a_session_that_other_pages_cannot_use(tmp_path: Path):
    async with street(tmp_path, [Reply(text="hello")]) as at, client(at.app) as browser:
        wrong = await browser.post("/api/v1/login", json={"key": "hfk_ab_wrong"})
        assert error(wrong) == (401, "unauthenticated")
        answer = await browser.post("/api/v1/login", json={"key": TOKEN})
        cookie, csrf = answer.headers["set-cookie"], answer.json()["csrf"]
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
        assert "Secure" not in cookie, "there is no TLS here"
        assert TOKEN not in cookie
        assert (await browser.get("/api/v1/me")).json()["csrf"] == csrf
        body = {"prompt": "x"}
        assert error(await browser.post("/api/v1/tasks", json=body)) == (403, "csrf")
        for given in ("", "x", csrf[:-1]):
            answer = await browser.post("/api/v1/tasks", json=body, headers={"X-CSRF-Token": given})
            assert error(answer) == (403, "csrf")
        right = {"X-CSRF-Token": csrf}
        answer = await browser.post("/api/v1/tasks", json=body, headers=right)
        assert (answer.status_code, answer.json()["by"]) == (202, "token:default")
        assert (await browser.post("/api/v1/logout", headers=right)).status_code == 200
        async with client(at.app, headers={"Cookie": cookie.partition(";")[0]}) as thief:
            assert error(await thief.get("/api/v1/tasks")) == (401, "unauthenticated")


async def test_a_session_is_worth_what_its_key_is_and_ends_with_it(tmp_path: Path):
    async with street(tmp_path) as at, client(at.app) as browser:
        ci = await at.keyed("tasks.read")
        key = ci.headers["authorization"].removeprefix("Bearer ")
        told = await browser.post("/api/v1/login", json={"key": key})
        right = {"X-CSRF-Token": told.json()["csrf"]}
        assert (await browser.get("/api/v1/tasks")).status_code == 200
        answer = await browser.post("/api/v1/tasks", json={"prompt": "x"}, headers=right)
        assert error(answer) == (403, "no_scope")
        await at.local.post("/api/v1/keys/ci/revoke")
        assert error(await browser.get("/api/v1/tasks")) == (401, "unauthenticated")
        await ci.aclose()


async def test_a_proxy_is_believed_only_if_the_configuration_names_it(tmp_path: Path):
    """Wrong keys are counted for who sent them, not for the proxy that all come through."""
    from ipaddress import ip_network

    access = Access(proxies=(ip_network("127.0.0.0/8"),), tries_per_minute=1)
    for trusted in (access, Access(tries_per_minute=1)):
        async with street(tmp_path, plan=Plan(access=trusted)) as at:
            codes: list[int] = []
            for one in ("1.1.1.1", "2.2.2.2", "3.3.3.3, 2.2.2.2"):
                headers = {"X-Forwarded-For": one, "Authorization": "Bearer no"}
                async with client(at.app, headers=headers) as guesser:
                    codes.append((await guesser.get("/api/v1/tasks")).status_code)
            assert codes == ([401, 401, 429] if trusted is access else [401, 429, 429])


async def test_a_body_that_is_too_large_is_not_read(tmp_path: Path):
    """Row GC-82."""
    async with street(tmp_path) as at, listening(at) as port:
        head = b"POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\n"
        head %= TOKEN.encode()
        length = b"Content-Length: 11000000\r\n"
        heard = await talk(port, head + length + b"Expect: 100-continue\r\n\r\n")
        assert heard.startswith(b"HTTP/1.1 413 "), "who asks before speaking is told at once"
        heard = await talk(port, head + length + b"\r\n" + b"x" * 11_000_000)
        assert heard.startswith(b"HTTP/1.1 413 "), "and nobody is hung up on while speaking"
        assert b'"code":"too_large"' in heard
        chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
        heard = await talk(port, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 11)
        assert heard.startswith(b"HTTP/1.1 413 ")


SLOW = {
    "nothing": b"",
    "half a head": b"GET /healthz HTTP/1.1\r\nHost: loc",
    "empty lines": b"\r\n\r\n\r\n",
    "half a body": b"POST /api/v1/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{",
    "half a chunk": b"POST /api/v1/login HTTP/1.1\r\nHost: localhost\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
}


@pytest.mark.parametrize("sent", SLOW.values(), ids=SLOW.keys())
async def test_who_takes_for_ever_is_told_and_left(tmp_path: Path, sent: bytes):
    """Slow-loris: a connection that never finishes its request does not stay."""
    how = Reception(head=0.05, body=0.05)
    async with street(tmp_path) as at, listening(at, how) as port:
        with anyio.fail_after(10):
            async with await anyio.connect_tcp("127.0.0.1", port) as line:
                if sent:
                    await line.send(sent)
                heard = await line.receive()
                assert heard.startswith(b"HTTP/1.1 408 ")
                with pytest.raises(anyio.EndOfStream):
                    await line.receive()


async def test_more_connections_than_there_is_room_for_are_hung_up_on(tmp_path: Path):
    how = Reception(connections=8)
    async with street(tmp_path) as at, listening(at, how) as port:
        lines = [await anyio.connect_tcp("127.0.0.1", port) for _ in range(8)]
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as ninth:
            with pytest.raises(httpx2.TransportError):
                await ninth.get("/healthz")
            for line in lines:
                await line.aclose()
            with anyio.fail_after(10):
                while True:
                    try:
                        assert (await ninth.get("/healthz")).status_code == 200
                        break
                    except httpx2.TransportError:
                        await anyio.sleep(0.01)


SMUGGLED = {
    "both lengths": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 4\r\nContent-Length: 5\r\n\r\n{} x",
    "two equal lengths, as one": b"Content-Length: 2, 2\r\n\r\n{}",
    "a length with a sign": b"Content-Length: +2\r\n\r\n{}",
    "a negative length": b"Content-Length: -1\r\n\r\n{}",
    "a coding that is none": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked, and not at the end": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"Content-Length : 2\r\n\r\n{}",
    "a folded header": b"X-A: b\r\n Content-Length: 2\r\n\r\n{}",
    "a bare carriage return": b"X-A: b\rContent-Length: 2\r\n\r\n{}",
    "a chunk with no number": b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("rest", SMUGGLED.values(), ids=SMUGGLED.keys())
async def test_a_request_that_two_servers_could_read_differently_is_none(
    tmp_path: Path, rest: bytes
):
    """What follows it on the same line never becomes a request of its own."""
    smuggled = b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    smuggled += b"Authorization: Bearer %b\r\n\r\n" % TOKEN.encode()
    head = b"POST /api/v1/login HTTP/1.1\r\nHost: localhost\r\n"
    async with street(tmp_path) as at, listening(at, Reception(head=0.5, body=0.5)) as port:
        heard = await talk(port, head + rest + smuggled)
        statuses = [one[:3] for one in heard.split(b"HTTP/1.1 ")[1:]]
        assert len(statuses) <= 1, heard
        assert statuses in ([b"400"], [b"408"], [b"422"]), heard


async def test_strange_bytes_are_refused_in_words_or_silence(tmp_path: Path):
    async with street(tmp_path) as at, listening(at, Reception(head=0.2)) as port:
        for data in (
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"GET\r\n\r\n",
            b"\x00" * 4096,
            b"A" * 70_000,
        ):
            heard = await talk(port, data)
            assert not heard or heard.startswith((b"HTTP/1.1 400", b"HTTP/1.1 408")), data[:20]
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as sane:
            assert (await sane.get("/healthz")).status_code == 200


async def test_a_repeated_key_is_one_request_and_nobody_elses(tmp_path: Path):
    async with street(tmp_path, [Reply(text="hello")] * 4) as at:
        key = {"Idempotency-Key": "k1"}
        body = {"prompt": "x"}
        first = await at.tcp.post("/api/v1/tasks", json=body, headers=key)
        again = await at.tcp.post("/api/v1/tasks", json=body, headers=key)
        assert first.json()["id"] == again.json()["id"]
        other = await at.tcp.post("/api/v1/tasks", json={"prompt": "y"}, headers=key)
        assert error(other)[0] == 409
        async with await at.keyed("tasks.write") as ci:
            stranger = await ci.post("/api/v1/tasks", json=body, headers=key)
            assert stranger.json()["id"] != first.json()["id"]
        server = {"command": ["server"]}
        await at.tcp.post("/api/v1/mcp/lab", json=server, headers=key)
        answer = await at.tcp.post("/api/v1/mcp/lab", json=server, headers=key)
        assert answer.status_code == 200
        assert answer.headers["idempotency-replayed"] == "true"
        changed = await at.tcp.post("/api/v1/mcp/lab", json={"command": ["x"]}, headers=key)
        assert error(changed) == (422, "key_reused")
        failed = await at.tcp.post("/api/v1/mcp/none/remove", headers=key)
        assert failed.status_code == 404
        assert (
            "idempotency-replayed"
            not in (await at.tcp.post("/api/v1/mcp/none/remove", headers=key)).headers
        ), "what failed is tried again"


async def test_every_answer_has_an_id_and_headers_that_keep_browsers_from_guessing(tmp_path: Path):
    async with street(tmp_path) as at, client(at.app) as nobody:
        for one, path in ((at.tcp, "/api/v1/status"), (nobody, "/api/v1/status"), (at.tcp, "/no")):
            answer = await one.get(path, headers={"X-Request-Id": "mine-1"})
            assert answer.headers["x-request-id"] == "mine-1"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["cache-control"] == "no-store"
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        odd = await at.tcp.get("/healthz", headers={"X-Request-Id": "a b\x7f"})
        assert odd.headers["x-request-id"] != "a b\x7f"


async def test_head_and_options_are_as_http_has_them(tmp_path: Path):
    async with street(tmp_path, [Reply(text="hello")]) as at:
        row = await at.done()
        for path in ("/api/v1/tasks", "/healthz", f"/api/v1/tasks/{row['id']}/events?follow=true"):
            with anyio.fail_after(5):
                head, get = await at.tcp.head(path), await at.tcp.get(path.partition("?")[0])
            assert (head.status_code, head.content) == (200, b"") or "?" in path
            assert get.status_code == 200
        answer = await at.tcp.options("/api/v1/tasks")
        assert (answer.status_code, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")
        wrong = await at.tcp.put("/api/v1/tasks")
        assert error(wrong) == (405, "method_not_allowed")
        assert wrong.headers["allow"] == "GET, HEAD, OPTIONS, POST"
