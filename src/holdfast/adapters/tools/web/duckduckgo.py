"""Reads DuckDuckGo's page of results: it is made for people, and there is no other."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

from .charset import decoded
from .found import Found, Unreadable
from .tokens import End, Start, tokens

_TITLES = frozenset({"result__a", "result-link"})
_SNIPPETS = frozenset({"result__snippet", "result-snippet"})
_DOUBTS = frozenset({"anomaly-modal", "anomaly-modal__modal", "challenge-form"})
_NOTHING = frozenset({"no-results", "result--no-result", "no-results-message"})


def read_page(body: bytes) -> Iterator[Found]:
    """The results without advertisements. Raises `Unreadable` for a page that is something else."""
    return iter(_Reader().read(decoded(body, "text/html; charset=utf-8")))


class _Reader:
    """Titles are links; the snippet that follows one belongs to it."""

    def __init__(self) -> None:
        self._found: list[Found] = []
        self._seen_classes: set[str] = set()
        self._url = ""
        self._parts: list[str] = []
        self._within = ""
        self._kind = ""

    def read(self, page: str) -> list[Found]:
        for token in tokens(page):
            match token:
                case str() if self._within:
                    self._parts.append(token)
                case Start():
                    self._start(token)
                case End(name) if name == self._within:
                    self._end()
                case _:
                    pass
        if not self._found and not self._seen_classes & _NOTHING:
            asks = self._seen_classes & _DOUBTS
            raise Unreadable("it asks whether a person is there" if asks else "no results page")
        return self._found

    def _start(self, token: Start) -> None:
        classes = set(token.get("class").split())
        self._seen_classes |= classes & (_DOUBTS | _NOTHING)
        if classes & _TITLES:
            self._begin("title", token)
            self._url = target(token.get("href"))
        elif classes & _SNIPPETS and self._found:
            self._begin("snippet", token)

    def _begin(self, kind: str, token: Start) -> None:
        self._kind, self._within, self._parts = kind, token.name, []

    def _end(self) -> None:
        text = " ".join("".join(self._parts).split())
        self._within = ""
        if self._kind == "title":
            if self._url:
                self._found.append(Found(title=text, url=self._url, snippet=""))
        elif not self._found[-1].snippet:
            last = self._found.pop()
            self._found.append(Found(title=last.title, url=last.url, snippet=text))


def target(href: str) -> str:
    """Where a result leads, without the detour; empty for an advertisement."""
    try:
        parts = urlsplit(href)
        host = parts.hostname or "duckduckgo.com"
        if not f".{host}".endswith(".duckduckgo.com"):
            return href
        return next(iter(parse_qs(parts.query).get("uddg", [])), "")
    except ValueError:
        return ""
