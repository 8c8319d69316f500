"""The tool that makes one request."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from holdfast.core.error import NotAllowed
from holdfast.core.gate.judge import layers_for
from holdfast.core.gate.policy import Allow, Deny, Leave, Rules
from holdfast.core.ids import CallId
from holdfast.core.message import EffectClass, ToolCall
from holdfast.ports.egress import Answer
from holdfast.testing.fake_egress import FakeEgress
from holdfast.testing.website import Reply, Website
from tests.adapters.surfing import Surfer, framed, head, visiting
from tests.core.given import judge

pytestmark = pytest.mark.anyio

PAGES = {
    "/json": Reply(headers={"Content-Type": "application/json"}, body=b'{"a": 1}'),
    "/moved": Reply(status=301, headers={"Location": "/json"}),
    "/out": Reply(status=302, headers={"Location": "http://169.254.169.254/latest/meta-data"}),
    "/missing": Reply(status=404, body=b"no such thing"),
    "/picture": Reply(headers={"Content-Type": "image/png"}, body=b"\x89PNG\r\n\x1a\n" + bytes(90)),
    "/long": Reply(headers={"Content-Type": "text/plain"}, body=b"x" * (3 << 20)),
    "/silent": Reply(hold=True),
}


@pytest.fixture
def site() -> Generator[Website]:
    with Website(PAGES) as site:
        yield site


async def test_a_request_arrives_as_it_was_asked_for_and_its_answer_is_seen(site: Website):
    """Row OC-47. Part of row OL-95."""
    site.pages["/made"] = Reply(status=201, headers={"X-Made": "7"}, body=b"made \xe2\x82\xac")
    text = await visiting(site).says(
        "http",
        url=f"{site.url}/made?q=1",
        method="PUT",
        headers={"X-Word": "yes", "Content-Type": "text/plain"},
        body="grüße",
    )
    assert head(text) == {"status": 201, "url": f"{site.url}/made?q=1", "bytes": 8, "cut": False}
    assert "x-made: 7" in framed(text)
    assert framed(text).endswith("\n\nmade €")
    asked = site.asked[0]
    assert (asked.method, asked.target, asked.body.decode()) == ("PUT", "/made?q=1", "grüße")
    assert (asked.headers["x-word"], asked.headers["content-type"]) == ("yes", "text/plain")


async def test_a_redirect_is_told_and_a_bad_status_is_an_answer(site: Website):
    """Part of rows OC-47, OL-95."""
    surfer = visiting(site)
    moved = head(await surfer.says("http", url=f"{site.url}/moved"))
    assert (moved["status"], moved["url"]) == (200, f"{site.url}/json")
    assert head(await surfer.says("http", url=f"{site.url}/missing"))["status"] == 404
    assert head(await surfer.says("http", url=f"{site.url}/json", method="HEAD"))["bytes"] == 0


async def test_an_answer_is_kept_up_to_a_mebibyte_or_as_asked_and_never_more(site: Website):
    """Part of rows OC-47, OL-95."""
    surfer = visiting(site)
    first = head(await surfer.says("http", url=f"{site.url}/long"))
    assert (first["bytes"], first["cut"]) == (1 << 20, True)
    more = head(await surfer.says("http", url=f"{site.url}/long", most=4 << 20))
    assert (more["bytes"], more["cut"]) == (3 << 20, False)
    assert (await surfer.fails("http", url=f"{site.url}/long", most=6 << 20))[0] == "bad_arguments"
    assert (await surfer.fails("http", url=f"{site.url}/long", timeout=121))[0] == "bad_arguments"


async def test_what_is_no_text_is_named_and_not_shown(site: Website):
    shown = framed(await visiting(site).says("http", url=f"{site.url}/picture"))
    assert shown.endswith("[98 bytes that are no text]")
    assert "PNG\r" not in shown


async def test_what_may_not_be_reached_says_so_with_its_code(site: Website):
    """Row OL-95. Part of rows OC-47, KV-28, GC-89d."""
    surfer = visiting(site)
    assert (await surfer.fails("http", url="http://169.254.169.254/"))[0] == "egress_literal"
    assert (await surfer.fails("http", url=f"{site.url}/out"))[0] == "egress_literal"
    assert (await surfer.fails("web_fetch", url=f"{site.url}/out"))[0] == "egress_literal"
    assert [each.path for each in site.asked] == ["/out", "/out"]
    silent = await surfer.fails("http", url=f"{site.url}/silent", timeout=0.2)
    assert silent == ("egress_timeout", "it said nothing")
    no = NotAllowed("that is enough", code="egress_quota", hint="ask for more")
    refusing = Surfer(FakeEgress({"https://x.test/": no}))
    assert await refusing.fails("http", url="https://x.test/") == (
        "egress_quota",
        "that is enough; ask for more",
    )


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://x.test/", "http://"),
        ("HTTP://x.test/", "lower case"),
        ("file:///etc/passwd", "http://"),
        ("http:///x", "host"),
        ("http://x.test:99999/", "no address"),
        ("http://Evil.test/", "lower case"),
        ("http://evil.test./", "dot"),
        ("http://ev%69l.test/", "plain host"),
        ("http://good.test@evil.test/", "user"),
        ("http://good.test\\@evil.test/", "backslashes"),
        ("http://good.test/\r\nHost: evil", "spaces"),
        ("http://evil。test/", "ASCII"),
        ("http://x.test/?k=$SECRET{mine}", "secret"),
        ("http://x.test/" + "a" * 9_000, "longer"),
    ],
)
async def test_an_address_has_one_spelling_so_that_a_rule_about_it_holds(url: str, why: str):
    """Part of row GC-89d."""
    egress = FakeEgress()
    for tool in ("http", "web_fetch"):
        code, text = await Surfer(egress).fails(tool, url=url)
        assert code == "bad_arguments"
        assert why in text
    assert egress.fetched == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.test"},
        {"Content-Length": "0"},
        {"transfer-encoding": "chunked"},
        {"Proxy-Authorization": "x"},
        {"X": "a\r\nHost: evil"},
        {"X\r\nY": "a"},
        {"X Y": "a"},
        {"": "a"},
    ],
)
async def test_headers_that_say_where_a_request_goes_or_ends_are_not_for_tools(
    headers: dict[str, str],
):
    egress = FakeEgress()
    code, _ = await Surfer(egress).fails("http", url="https://x.test/", headers=headers)
    assert (code, egress.fetched) == ("bad_arguments", [])


async def test_policy_judges_a_request_by_its_address_and_reading_a_page_is_reading():
    """Part of row OC-47."""
    surfer = Surfer(FakeEgress())
    http, fetch = surfer.tool("http").traits, surfer.tool("web_fetch").traits
    assert (http.effect, http.target, http.secrets) == (
        EffectClass.WRITES,
        "url",
        ("headers", "body"),
    )
    assert (fetch.effect, fetch.target, fetch.secrets) == (EffectClass.READS, "url", ())
    assert surfer.tool("web_search").traits.effect is EffectClass.READS
    allow = ("http:https://api.good.test/*",)
    assert isinstance(verdict("http", "https://api.good.test/v1", allow=allow), Allow)
    assert isinstance(verdict("http", "https://api.good.test.evil.test/", allow=allow), Deny)
    assert isinstance(verdict("web_fetch", "https://x.test/", effect="reads"), Allow)


async def test_secrets_are_put_in_by_the_house_and_may_be_named_in_headers_and_body():
    """What arrives here has been resolved; a name that was not is sent as it is written."""
    egress = FakeEgress({"https://x.test/": Answer(status=200, headers={}, body=b"", url="")})
    text = {"Authorization": "Bearer $SECRET{api/key}"}
    assert surfer_problem(egress, url="https://x.test/", headers=text) == ""
    await Surfer(egress).says("http", url="https://x.test/", headers=text)
    assert egress.fetched[0].request.headers["Authorization"] == text["Authorization"]


def surfer_problem(egress: FakeEgress, **arguments: Any) -> str:
    return Surfer(egress).tool("http").problem(arguments)


def verdict(tool: str, url: str, *, allow: tuple[str, ...] = (), effect: str = "writes") -> object:
    call = ToolCall(
        id=CallId("c"), tool=tool, arguments={"url": url}, target=url, effect=EffectClass(effect)
    )
    layers = layers_for(Leave(preset="ask", allow=allow), (), Rules())
    return judge(call, layers, unattended=True, until=0)
