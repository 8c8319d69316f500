"""Search engines: how each is asked, and how its answer is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from holdfast.core.foreign import NotJson, decoded
from holdfast.ports.egress import Request

from .duckduckgo import read_page
from .found import Found, Unreadable
from .tokens import plain

_MOST = 2 << 20
T = TypeVar("T")


class Query(Struct, frozen=True, kw_only=True):
    """What is searched for, where the engine is, and the key for it."""

    words: str
    results: int
    base: str
    key: str = ""


class Engine(Struct, frozen=True, kw_only=True):
    """One search engine. `key_env` is where its key usually is; empty: it needs none.

    `base` is where it usually is; empty: there is one for everybody who runs it.
    """

    base: str
    key_env: str
    ask: Callable[[Query], Request]
    read: Callable[[bytes], Iterable[Found]]


def _get(query: Query, path: str, fields: dict[str, Any], headers: dict[str, str]) -> Request:
    url = f"{query.base}{path}?{urlencode(fields)}"
    return Request(url=url, headers={"Accept": "application/json", **headers}, most=_MOST, hops=0)


def _post(query: Query, path: str, body: object) -> Request:
    return Request(
        url=f"{query.base}{path}",
        method="POST",
        headers={
            "Accept": "application/json",
            "Content-Type": "application/json",
            "Authorization": f"Bearer {query.key}",
        },
        body=msgspec.json.encode(body),
        most=_MOST,
        hops=0,
    )


class _Row(Struct, frozen=True):
    """A result; engines call its text this or that."""

    title: str | None = None
    url: str | None = None
    description: str | None = None
    content: str | None = None
    snippet: str | None = None

    def found(self) -> Found:
        said = self.description or self.content or self.snippet or ""
        return Found(title=plain(self.title or ""), url=self.url or "", snippet=plain(said))


class _Rows(Struct, frozen=True):
    results: tuple[_Row, ...] = ()


class _BraveAnswer(Struct, frozen=True):
    web: _Rows = _Rows()


class _JinaAnswer(Struct, frozen=True):
    data: tuple[_Row, ...] = ()


class _Message(Struct, frozen=True):
    content: str = ""


class _Choice(Struct, frozen=True):
    message: _Message = _Message()


class _PerplexityAnswer(Struct, frozen=True):
    choices: tuple[_Choice, ...] = ()
    search_results: tuple[_Row, ...] = ()
    citations: tuple[str, ...] = ()


def _understood(body: bytes, kind: type[T]) -> T:
    try:
        return decoded(body, kind)
    except NotJson as error:
        raise Unreadable("its answer cannot be read") from error


def _ask_brave(query: Query) -> Request:
    fields = {"q": query.words, "count": query.results}
    return _get(query, "/res/v1/web/search", fields, {"X-Subscription-Token": query.key})


def _read_brave(body: bytes) -> Iterable[Found]:
    return [row.found() for row in _understood(body, _BraveAnswer).web.results]


def _ask_perplexity(query: Query) -> Request:
    words = [{"role": "user", "content": query.words}]
    return _post(query, "/chat/completions", {"model": "sonar", "messages": words})


def _read_perplexity(body: bytes) -> Iterable[Found]:
    """Its own answer stands with the first of its sources: it says nothing of each by itself."""
    answer = _understood(body, _PerplexityAnswer)
    rows = answer.search_results or tuple(_Row(title=url, url=url) for url in answer.citations)
    found = [row.found() for row in rows]
    said = plain(answer.choices[0].message.content) if answer.choices else ""
    if found and said and not found[0].snippet:
        found[0] = Found(title=found[0].title, url=found[0].url, snippet=said)
    return found


def _ask_tavily(query: Query) -> Request:
    return _post(query, "/search", {"query": query.words, "max_results": query.results})


def _ask_searxng(query: Query) -> Request:
    return _get(query, "/search", {"q": query.words, "format": "json"}, {})


def _read_results(body: bytes) -> Iterable[Found]:
    return [row.found() for row in _understood(body, _Rows).results]


def _ask_jina(query: Query) -> Request:
    headers = {"Authorization": f"Bearer {query.key}", "X-Respond-With": "no-content"}
    return _get(query, "/", {"q": query.words, "num": query.results}, headers)


def _read_jina(body: bytes) -> Iterable[Found]:
    return [row.found() for row in _understood(body, _JinaAnswer).data]


def _ask_duckduckgo(query: Query) -> Request:
    return Request(
        url=f"{query.base}/html/",
        method="POST",
        headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"},
        body=urlencode({"q": query.words}).encode(),
        most=_MOST,
        hops=0,
    )


ENGINES: dict[str, Engine] = {
    "brave": Engine(
        base="https://api.search.brave.com",
        key_env="BRAVE_API_KEY",
        ask=_ask_brave,
        read=_read_brave,
    ),
    "perplexity": Engine(
        base="https://api.perplexity.ai",
        key_env="PERPLEXITY_API_KEY",
        ask=_ask_perplexity,
        read=_read_perplexity,
    ),
    "tavily": Engine(
        base="https://api.tavily.com",
        key_env="TAVILY_API_KEY",
        ask=_ask_tavily,
        read=_read_results,
    ),
    "jina": Engine(
        base="https://s.jina.ai", key_env="JINA_API_KEY", ask=_ask_jina, read=_read_jina
    ),
    "searxng": Engine(base="", key_env="", ask=_ask_searxng, read=_read_results),
    "duckduckgo": Engine(
        base="https://html.duckduckgo.com",
        key_env="",
        ask=_ask_duckduckgo,
        read=read_page,
    ),
}
"""In the order in which they are asked."""
