"""The one way out of a browser's box: a proxy that wants a word, and an authority of its own."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from holdfast.adapters.boxes.connected import connected
from holdfast.ports.box import Box
from holdfast.ports.egress import Answer, Pass, Reach, Request
from holdfast.ports.tools import Job
from tests.adapters.browser_stage import CHROMIUM, on_stage

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not CHROMIUM, reason="there is no chromium"),
]

PROXY = """
import base64, http.server, socket, ssl
WORD = "Basic " + base64.b64encode(b"task_1:p w/d").decode()
def extensions(hello):
    at = 9 + 2 + 32
    at += 1 + hello[at]
    at += 2 + int.from_bytes(hello[at:at + 2], "big")
    at += 1 + hello[at] + 2
    while at < len(hello):
        yield int.from_bytes(hello[at:at + 2], "big")
        at += 4 + int.from_bytes(hello[at + 2:at + 4], "big")
class Proxy(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args): pass
    def allowed(self):
        if self.headers.get("Proxy-Authorization") == WORD: return True
        self.send_response(407)
        self.send_header("Proxy-Authenticate", 'Basic realm="way out"')
        self.send_header("Content-Length", "0")
        self.end_headers()
    def answer(self, scheme):
        page = f"<title>{scheme}</title>{self.headers['Host']}{self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)
    def do_GET(self):
        if self.allowed(): self.answer("proxied")
    def do_CONNECT(self):
        if not self.allowed(): return
        self.send_response(200)
        self.end_headers()
        hello = self.connection.recv(1 << 16, socket.MSG_PEEK)
        while hello and len(hello) < 5 + int.from_bytes(hello[3:5], "big"):
            hello = self.connection.recv(1 << 16, socket.MSG_PEEK)
        if not hello: return
        veiled = 0xFE0D in extensions(hello)
        secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        secure.load_cert_chain("leaf.pem")
        try: self.connection = secure.wrap_socket(self.connection, server_side=True)
        except (ssl.SSLError, OSError): return
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
        self.raw_requestline = self.rfile.readline(65536)
        if self.parse_request(): self.answer("veiled" if veiled else "opened")
        self.wfile.flush()
        self.close_connection = True
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
print(server.server_port, flush=True)
server.serve_forever()
"""


class WayOut:
    """A proxy inside the box; `word` is what the browser is told to say."""

    def __init__(self, word: str = "task_1:p%20w%2Fd") -> None:
        self.word = word
        self.authority, self.leaf = certificates("bank.example")

    @asynccontextmanager
    async def attach(self, box: Box, job: Job) -> AsyncGenerator[Pass | None]:
        await box.put("leaf.pem", self.leaf)
        async with box.start(["/usr/bin/python3", "-c", PROXY]) as running:
            port = (await running.receive()).decode().strip()
            address = f"http://{self.word}@127.0.0.1:{port}"
            yield Pass(environment={"HTTPS_PROXY": address}, authority=self.authority)


async def test_everything_goes_through_the_proxy_which_gets_its_word(tmp_path: Path):
    async with on_stage(tmp_path, attach=WayOut().attach) as stage:
        for address in ("http://shop.example/a?b=c", "http://127.0.0.1:8123/", "http://[::1]/"):
            page = await stage.tells("open", url=address)
            assert (page["title"], page["status"]) == ("proxied", 200)
            assert f"http://{page['content'].split('http://')[1]}" == address
        page = "data:text/html,<script>fetch('http://shop.example/x').catch(()=>0)</script>"
        await stage.says("open", url=page)
        await stage.says("open", url="http://shop.example/")
        script = "(await fetch('/from-script')).text()"
        assert "/from-script" in await stage.says("evaluate", script=script)


async def test_the_authority_of_the_box_is_trusted_and_whom_it_talks_to_is_said(tmp_path: Path):
    way_out = WayOut()
    async with on_stage(tmp_path, attach=way_out.attach) as stage:
        page = await stage.tells("open", url="https://bank.example/account")
        assert (page["title"], page["content"]) == ("opened", "bank.example/account")
    other = WayOut()
    other.leaf = way_out.leaf
    async with on_stage(tmp_path, attach=other.attach) as stage:
        code, text = await stage.fails("open", url="https://bank.example/account")
        assert (code, "ERR_CERT_AUTHORITY_INVALID" in text) == ("page_failed", True)


async def test_a_wrong_word_is_told_and_not_tried_for_ever(tmp_path: Path):
    async with on_stage(tmp_path, attach=WayOut("task_1:wrong").attach) as stage:
        outcome = await stage.run("open", url="http://shop.example/")
        assert "proxied" not in json.dumps(str(outcome))
        assert (await stage.tells("open", url="about:blank"))["url"] == "about:blank"


class OnePage:
    """An `Egress` that has the same answer for everything."""

    def __init__(self) -> None:
        self.reached: list[Reach] = []

    @asynccontextmanager
    async def serve(
        self, listener: socket.socket, reach: Reach, *, port: int = 0
    ) -> AsyncGenerator[Pass]:
        self.reached.append(reach)
        port = port or listener.getsockname()[1]
        async with await asyncio.start_server(self._answered, sock=listener):
            yield Pass(environment={"HTTPS_PROXY": f"http://task:word@127.0.0.1:{port}"})

    async def fetch(self, request: Request, reach: Reach) -> Answer:
        raise NotImplementedError

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._said(reader, writer)
        finally:
            writer.close()

    async def _said(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        page = b"<title>One page</title>" + head.split()[1]
        size = str(len(page)).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n")
        writer.write(b"Content-Length: " + size + b"\r\n\r\n" + page)
        await writer.drain()


async def test_the_house_listens_inside_the_box_and_serves_who_is_in_there(tmp_path: Path):
    egress = OnePage()

    def attach(box: Box, job: Job) -> AbstractAsyncContextManager[Pass]:
        return connected(box, egress, Reach(task=job.task, agent=job.agent, tool="browser"))

    async with on_stage(tmp_path, attach=attach) as stage:
        page = await stage.tells("open", url="http://shop.example/")
        assert (page["title"], page["content"]) == ("One page", "http://shop.example/")
    assert egress.reached == [Reach(task="task_1", agent="default", tool="browser")]


async def test_without_a_way_out_nothing_is_reached(tmp_path: Path):
    async with on_stage(tmp_path) as stage:
        code, text = await stage.fails("open", url="http://example.com/")
        assert (code, "the browser has no way out" in text) == ("page_failed", True)


async def test_a_browser_comes_up_only_behind_the_walls_that_are_required(tmp_path: Path):
    async with on_stage(tmp_path, requires=("kernel boundary",)) as stage:
        code, text = await stage.fails("open", url="about:blank")
        assert "kernel boundary" in text, code


def certificates(host: str) -> tuple[bytes, bytes]:
    """An authority's certificate, and a key with the chain that it gives for `host`."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("the box", host)
    ]
    made = list[bytes]()
    start = datetime(2020, 1, 1, tzinfo=UTC)
    for which, (key, name) in enumerate(zip(keys, names, strict=True)):
        builder = x509.CertificateBuilder(
            issuer_name=names[0],
            subject_name=name,
            public_key=key.public_key(),
            serial_number=which + 1,
            not_valid_before=start,
            not_valid_after=start + timedelta(days=365 * 50),
        ).add_extension(x509.BasicConstraints(ca=which == 0, path_length=None), critical=True)
        if which:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False
            )
        signed = builder.sign(keys[0], hashes.SHA256())
        made.append(signed.public_bytes(serialization.Encoding.PEM))
    key = keys[1].private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return made[0], key + made[1] + made[0]
