"""HTML in pieces: text, starts and ends of elements. Never more than one look at each byte.

The standard library's parser takes the square of the time on a page that is made for it (80 kB of
`<a x`: 48 seconds), and raises on `<![`; a parser in C would read strangers' bytes unprotected.
What is left open at the end of the page is dropped, as browsers do.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping

from msgspec import Struct

_OPEN = re.compile(r"<(?:(/?)([a-zA-Z][^\s/>]*+)|!--|[!?/])")
_ATTRIBUTE = re.compile(
    r"""[\s/]*+(?:(>)|(=?[^\s/>=]++|=)(?:\s*+=\s*+("[^"]*+"|'[^']*+'|[^\s>"'][^\s>]*+|(?=>)))?)"""
)
_LONG_NUMBER = re.compile(r"&#(?:[xX][0-9a-fA-F]{7,}+|[0-9]{8,}+);?")
_RAW = frozenset({"script", "style", "xmp", "iframe", "noembed", "noframes"})
_ONLY_TEXT = frozenset({"title", "textarea"})
_LONGEST_NAME = 40
_MOST_ATTRIBUTES = 40


class Start(Struct, frozen=True):
    """An element begins. Names are in lower case; a value may be empty."""

    name: str
    attributes: Mapping[str, str]

    def get(self, name: str) -> str:
        return self.attributes.get(name, "")


class End(Struct, frozen=True):
    """An element ends, or so it says: nothing promises that it had begun."""

    name: str


Token = str | Start | End


def tokens(page: str) -> Iterator[Token]:
    """The pieces in order. Scripts, styles and comments are left out."""
    at = 0
    while found := _OPEN.search(page, at):
        if found.start() > at:
            yield unescaped(page[at : found.start()])
        if found[2] is None:
            at = _past_the_comment(page, found)
        elif found[1]:
            at, _ = _attributes(page, found.end())
            yield End(_name(found))
        else:
            at, attributes = _attributes(page, found.end())
            name = _name(found)
            if at:
                yield Start(name, attributes)
            if at and name in _RAW | _ONLY_TEXT:
                end = _content_end(page, name, at)
                if name in _ONLY_TEXT:
                    yield unescaped(page[at:end])
                at = end
        if not at:
            return
    if at < len(page):
        yield unescaped(page[at:])


def unescaped(text: str) -> str:
    """`text` with the characters that it names."""
    return html.unescape(_LONG_NUMBER.sub("\ufffd", text)) if "&" in text else text


def plain(text: str) -> str:
    """The words of a piece of HTML, on one line."""
    return " ".join("".join(each for each in tokens(text) if isinstance(each, str)).split())


def _name(found: re.Match[str]) -> str:
    return found[2][:_LONGEST_NAME].lower()


def _past_the_comment(page: str, found: re.Match[str]) -> int:
    """Behind what is no element, or 0 if the page ends in it."""
    close = "-->" if found[0] == "<!--" else ">"
    end = page.find(close, found.end() - 2 * (close == "-->"))
    return end + len(close) if end >= 0 else 0


def _attributes(page: str, at: int) -> tuple[int, Mapping[str, str]]:
    """What stands in a tag, and where it ends: 0 if it does not."""
    said: dict[str, str] = {}
    while found := _ATTRIBUTE.match(page, at):
        at = found.end()
        if found[1]:
            return at, said
        if len(said) < _MOST_ATTRIBUTES:
            value = found[3] or ""
            said.setdefault(found[2].lower(), unescaped(value.strip("\"'")))
    return 0, said


def _content_end(page: str, name: str, at: int) -> int:
    """Where the end tag of an element begins in which tags are only text."""
    found = re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE | re.ASCII).search(page, at)
    return found.start() if found else len(page)
