"""The ways out that tests use keep every promise of fetching."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Generator
from urllib.parse import urlsplit

import anyio
import pytest

from holdfast.core.error import Unavailable
from holdfast.ports.egress import Allowed, Answer, Reach, Request
from holdfast.testing.egress_contract import CLAUSES, PAGES, Clause, Ground
from holdfast.testing.fake_egress import FakeEgress
from holdfast.testing.website import Website
from tests.adapters.plain_egress import PlainEgress

pytestmark = pytest.mark.anyio


def reach(*ports: int) -> Reach:
    allowed = tuple(Allowed(host="127.0.0.1", port=p, methods=("GET", "POST")) for p in ports)
    return Reach(task="task_1", agent="default", allowed=allowed, private=("127.0.0.1",))


def told(request: Request) -> Answer | None:
    """What the site would say, without a site."""
    page = PAGES.get(request.url.removeprefix("http://127.0.0.1:8000"))
    if page is None:
        return None
    if page.hold:
        raise Unavailable("it said nothing", code="egress_timeout")
    packed = "Content-Encoding" in page.headers
    body = page.body if isinstance(page.body, bytes) else b"".join(page.body())
    body = gzip.decompress(body) if packed else body
    return Answer(status=page.status, headers=page.headers, body=body, url="")


@pytest.fixture(params=["fake", "plain"])
def ground(request: pytest.FixtureRequest) -> Generator[Ground]:
    if request.param == "fake":
        site, nowhere = "http://127.0.0.1:8000", "http://127.0.0.1:8001"
        yield Ground(
            egress=FakeEgress(rule=told), site=site, nowhere=nowhere, reach=reach(8000, 8001)
        )
        return
    with Website(PAGES) as site, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        yield Ground(
            egress=PlainEgress(),
            site=site.url,
            nowhere=f"http://127.0.0.1:{port}",
            reach=reach(site.port, port),
        )


@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
async def test_a_way_out_keeps_its_promise(clause: Clause, ground: Ground):
    await clause(ground)


async def test_the_fake_one_answers_in_a_box_too_and_refuses_what_is_not_allowed():
    page = Answer(status=200, headers={}, body=b"words", url="")
    egress = FakeEgress({"http://127.0.0.1:8000/a": page})
    with anyio.fail_after(10), socket.create_server(("127.0.0.1", 0)) as listener:
        async with egress.serve(listener, reach(8000)) as way:
            port = urlsplit(way.environment["HTTP_PROXY"]).port or 0
            said = {
                url: await asked(port, f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n")
                for url in ("http://127.0.0.1:8000/a", "http://127.0.0.1:8001/", "http://x.test/")
            }
    assert [text.split()[1] for text in said.values()] == ["200", "403", "403"]
    assert [text.split()[-1] for text in said.values()] == ["words", "egress_host", "egress_host"]
    assert [each.request.url for each in egress.fetched] == ["http://127.0.0.1:8000/a"]


async def asked(port: int, words: str) -> str:
    said = b""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(words.encode())
        async for piece in stream:
            said += piece
    return said.decode()
