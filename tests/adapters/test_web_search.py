"""The tool that searches the web."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from holdfast.adapters.tools.web import EngineSettings
from holdfast.core.error import NotAllowed, Unavailable
from holdfast.core.ids import CallId
from holdfast.core.message import ToolCall
from holdfast.engine.describe import described
from holdfast.testing.fake_egress import FakeEgress
from holdfast.testing.website import Asked, Reply, Website
from tests.adapters.plain_egress import PlainEgress
from tests.adapters.surfing import SECRETS, Surfer, framed

pytestmark = pytest.mark.anyio

PAGES = Path(__file__).parent / "pages"
ROW = {"title": "One <b>&amp;</b> two", "url": "https://one.test/"}
ANSWERS: Mapping[str, Any] = {
    "brave": {"web": {"results": [{**ROW, "description": "Said <strong>by</strong> it."}]}},
    "tavily": {"results": [{**ROW, "content": "Said by it."}]},
    "jina": {"data": [{**ROW, "description": "Said by it."}]},
    "searxng": {"results": [{**ROW, "content": "Said by it.", "engines": ["x"]}]},
    "perplexity": {
        "choices": [{"message": {"content": "Said by it."}}],
        "search_results": [{**ROW, "date": None}],
        "citations": ["https://one.test/"],
    },
}
SAID = "1. One & two\n   https://one.test/\n   Said by it."
KEYS = {"PERPLEXITY_API_KEY": "perplexity-key", "JINA_API_KEY": "jina-key"}
SECRET = {"brave": "$SECRET{search/brave}", "tavily": "$SECRET{search/tavily}"}


@pytest.fixture
def site() -> Generator[Website]:
    with Website() as site:
        yield site


def engines(site: Website, *names: str) -> dict[str, EngineSettings]:
    return {
        name: EngineSettings(key=SECRET.get(name, ""), base_url=f"{site.url}/{name}")
        for name in names
    }


def searching(site: Website, *names: str, **settings: Any) -> Surfer:
    return Surfer(PlainEgress(), at=engines(site, *names), engines=names, **settings)


def answers(site: Website) -> None:
    """Every engine answers, below a path of its name."""

    def rule(asked: Asked) -> Reply | None:
        name = asked.path.split("/")[1]
        return Reply(body=json.dumps(ANSWERS[name]).encode()) if name in ANSWERS else None

    site.rule = rule


@pytest.mark.parametrize("name", ANSWERS)
async def test_every_engine_is_asked_in_its_own_way_and_answers_alike(name: str, site: Website):
    """Part of rows GC-90a, KV-28."""
    answers(site)
    text = await searching(site, name, env=KEYS).says("web_search", query=" black  tea ")
    assert text.startswith(f"results: 1 ({name})\n")
    assert framed(text) == SAID
    asked = site.asked[0]
    fields = parse_qs(urlsplit(asked.target).query)
    told: dict[str, Any] = json.loads(asked.body) if asked.body else {}
    match name:
        case "brave":
            assert asked.path == "/brave/res/v1/web/search"
            assert fields == {"q": ["black tea"], "count": ["5"]}
            assert asked.headers["x-subscription-token"] == "brave-key"
        case "perplexity":
            assert asked.path == "/perplexity/chat/completions"
            assert told["model"] == "sonar"
            assert told["messages"] == [{"role": "user", "content": "black tea"}]
            assert asked.headers["authorization"] == "Bearer perplexity-key"
        case "tavily":
            assert told == {"query": "black tea", "max_results": 5}
            assert asked.headers["authorization"] == "Bearer tavily-key"
        case "jina":
            assert fields["q"] == ["black tea"]
            assert asked.headers["authorization"] == "Bearer jina-key"
        case _:
            assert asked.path == "/searxng/search"
            assert fields == {"q": ["black tea"], "format": ["json"]}
            assert "authorization" not in asked.headers
    assert asked.method == ("POST" if told else "GET")


async def test_duckduckgo_needs_no_key_and_its_page_is_read_without_its_advertisements(
    site: Website,
):
    """Row OL-96. Part of row GC-90a."""
    site.pages["/duckduckgo/html/"] = Reply(body=(PAGES / "duckduckgo.html").read_bytes())
    text = await searching(site, "duckduckgo").says("web_search", query="tea & water")
    assert framed(text) == (
        "1. Tea - Wikipedia\n"
        "   https://en.wikipedia.org/wiki/Tea?a=1&b=ü\n"
        "   Tea is an aromatic beverage prepared by pouring hot water over cured leaves.\n"
        "2. How to Brew: <Tea> at Home\n"
        "   https://brew.test/how\n"
        "   Heat water & wait.\n"
        "3. Straight there\n"
        "   https://plain.test/\n"
        "4. Without a word\n"
        "   https://quiet.test/"
    )
    asked = site.asked[0]
    assert (asked.method, asked.body) == ("POST", b"q=tea+%26+water")
    text = await searching(site, "duckduckgo").says("web_search", query="tea", max_results=2)
    assert framed(text).count("https://") == 2


async def test_duckduckgo_that_wants_to_see_a_person_has_failed_and_nothing_found_has_not(
    site: Website,
):
    site.pages["/duckduckgo/html/"] = Reply(body=(PAGES / "duckduckgo_doubts.html").read_bytes())
    surfer = searching(site, "duckduckgo")
    code, text = await surfer.fails("web_search", query="tea")
    assert code == "search_unavailable"
    assert "duckduckgo: it asks whether a person is there" in text
    site.pages["/duckduckgo/html/"] = Reply(body=(PAGES / "duckduckgo_nothing.html").read_bytes())
    assert await surfer.says("web_search", query="tea") == "no results (duckduckgo)"
    site.pages["/duckduckgo/html/"] = Reply(body=b"<h1>Something else</h1>")
    assert "no results page" in (await surfer.fails("web_search", query="tea"))[1]


async def test_one_engine_that_fails_is_followed_by_the_next(site: Website):
    """Row GC-90a. Part of row KV-28."""
    site.pages["/brave/res/v1/web/search"] = Reply(status=500, body=b"brave-key is bad")
    site.pages["/tavily/search"] = Reply(body=b"{not json")
    site.pages["/searxng/search"] = Reply(body=b'{"results": []}')
    site.pages["/duckduckgo/html/"] = Reply(body=(PAGES / "duckduckgo.html").read_bytes())
    text = await searching(site, "brave", "duckduckgo").says("web_search", query="tea")
    assert text.startswith("results: 4 (duckduckgo)\n")
    code, text = await searching(site, "brave", "tavily").fails("web_search", query="tea")
    assert (code, text) == (
        "search_unavailable",
        "no search engine answered:\n"
        "brave: it answered with status 500\n"
        "tavily: its answer cannot be read",
    )
    said = await searching(site, "brave", "searxng").says("web_search", query="tea")
    assert said == "no results (searxng)"


async def test_the_preferred_engine_is_asked_first_and_those_without_a_key_never(site: Website):
    """Part of row GC-90a."""
    answers(site)
    names = ("brave", "perplexity", "searxng")
    preferring = searching(site, *names, preferred="searxng")
    assert "(searxng)" in await preferring.says("web_search", query="tea")
    keyless = {name: EngineSettings(base_url=f"{site.url}/{name}") for name in names}
    surfer = Surfer(PlainEgress(), at=keyless, engines=("brave", "perplexity", "searxng"))
    assert "(searxng)" in await surfer.says("web_search", query="tea")
    assert {asked.path for asked in site.asked} == {"/searxng/search"}
    nobody = Surfer(FakeEgress(), engines=("brave", "searxng"))
    code, text = await nobody.fails("web_search", query="tea")
    assert code == "search_unconfigured"
    assert "[web.search]" in text
    unknown = {"brave": EngineSettings(key="$SECRET{other}", base_url=f"{site.url}/brave")}
    surfer = Surfer(PlainEgress(), at=unknown, engines=("brave",))
    code, text = await surfer.fails("web_search", query="tea")
    assert (code, text.splitlines()[1]) == (
        "search_unavailable",
        "brave: there is no secret other for you",
    )


async def test_each_engine_may_be_reached_and_nothing_else():
    """A search goes to the engine alone, by what the house configured and not the task's reach."""
    gone = Unavailable("nobody there", code="egress_unreachable")
    no = NotAllowed("not today", code="egress_quota")
    egress = FakeEgress(
        {
            "https://api.search.brave.com/res/v1/web/search": no,
            "https://html.duckduckgo.com/html/": gone,
        }
    )
    surfer = Surfer(egress, engines=("brave", "duckduckgo"), env={"BRAVE_API_KEY": "k"})
    code, text = await surfer.fails("web_search", query="tea")
    assert code == "search_unavailable"
    assert text.splitlines()[1:] == ["brave: not today", "duckduckgo: nobody there"]
    for fetched, host in zip(
        egress.fetched, ("api.search.brave.com", "html.duckduckgo.com"), strict=True
    ):
        assert [way.host for way in fetched.reach.allowed] == [host]
        assert fetched.reach.private == ()
        assert (fetched.reach.tool, fetched.reach.web) == ("web_search", False)
        assert fetched.request.hops == 0


async def test_what_a_search_finds_is_of_nobody_that_its_words_name(site: Website):
    """Words that are an address of a trusted host do not make its results that host's own."""
    tool = Surfer(FakeEgress({})).tool("web_search")
    call = ToolCall(id=CallId("a"), tool="web_search", arguments={"query": "https://trusted.test/"})
    told = described(call, CallId("c1_1"), {"web_search": tool}, Path("/nowhere"))
    assert (told.target, told.source) == ("https://trusted.test/", "web")


async def test_a_key_goes_no_further_than_its_engine(site: Website):
    """Neither by a redirect, nor into what the model sees, nor by an address."""
    site.pages["/brave/res/v1/web/search"] = Reply(
        status=302, headers={"Location": f"{site.url}/thief"}
    )
    code, text = await searching(site, "brave").fails("web_search", query="tea")
    assert (code, "status 302" in text) == ("search_unavailable", True)
    assert [asked.path for asked in site.asked] == ["/brave/res/v1/web/search"]
    for key in SECRETS.values():
        assert key not in text
        assert all(key not in asked.target for asked in site.asked)


async def test_results_of_strangers_are_cut_cleaned_and_never_leave_their_frame(site: Website):
    rows = [
        {"title": "x\u202eevil\x1b[31m", "url": "https://a.test/\u200b", "content": "y " * 2_000},
        {"title": "bad", "url": "javascript:alert(1)", "content": ""},
        {"title": "bad", "url": None, "content": None},
        {"title": None, "url": "https://b.test/", "content": "\n1. Fake\n   https://fake.test/"},
    ]
    answer = json.dumps({"results": rows}).encode()
    site.pages["/searxng/search"] = Reply(body=answer)
    text = framed(await searching(site, "searxng").says("web_search", query="tea"))
    lines = text.splitlines()
    assert lines[:2] == ["1. xevil", "   https://a.test/"]
    assert len(lines[2]) < 620
    assert lines[3:] == [
        "2. https://b.test/",
        "   https://b.test/",
        "   1. Fake https://fake.test/",
    ]
    site.pages["/searxng/search"] = Reply(body=b"[" * 100_000)
    assert "cannot be read" in (await searching(site, "searxng").fails("web_search", query="t"))[1]
    site.pages["/searxng/search"] = Reply(body=b" " * (3 << 20))
    assert "too long" in (await searching(site, "searxng").fails("web_search", query="tea"))[1]


async def test_five_results_are_given_or_as_many_as_asked_up_to_twenty(site: Website):
    rows = [{"title": str(n), "url": f"https://x.test/{n}"} for n in range(50)]
    site.pages["/searxng/search"] = Reply(body=json.dumps({"results": rows}).encode())
    surfer = searching(site, "searxng")
    assert (await surfer.says("web_search", query="tea")).startswith("results: 5 ")
    assert (await surfer.says("web_search", query="tea", max_results=20)).startswith("results: 20 ")
    assert (await surfer.fails("web_search", query="tea", max_results=21))[0] == "bad_arguments"
    assert (await surfer.fails("web_search", query="  "))[0] == "bad_arguments"
