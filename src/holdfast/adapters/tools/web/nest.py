"""Where in a page one is: which elements are open, and what that means for the text in them."""

from __future__ import annotations

import re
from collections import Counter
from typing import Literal

from msgspec import Struct

from .tokens import Start

Sense = Literal[
    "", "hidden", "main", "article", "furniture", "quote", "pre", "list", "cell", "title"
]

_BLOCKS = """address article aside blockquote body center dd details div dl dt fieldset
figcaption figure footer form header hgroup html main nav p section summary"""
BLOCKS = frozenset(_BLOCKS.split())
HEADINGS = {f"h{level}": "#" * level for level in range(1, 7)}
_VOID_ONES = "area base br col embed hr img input link meta param source track wbr"
_VOID = frozenset(_VOID_ONES.split())
_TRACKED = BLOCKS | {"ul", "ol", "menu", "li", "table", "tr", "td", "th", "pre"} | HEADINGS.keys()
_UNSEEN_ONES = "template svg math canvas audio video object select datalist button dialog map"
_UNSEEN = frozenset(_UNSEEN_ONES.split())
_ENDS_A_PARAGRAPH = (BLOCKS - {"body", "html"}) | {"ul", "ol", "table", "pre", "hr"}
_STYLE = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden"
    r"|(?:font-size|opacity)\s*:\s*0+(?:\.0*)?(?![.\d]*[1-9])",
    re.IGNORECASE,
)
_LONGEST_STYLE = 2_000
_SENSES: dict[str, Sense] = {
    "main": "main",
    "article": "article",
    "nav": "furniture",
    "footer": "furniture",
    "aside": "furniture",
    "blockquote": "quote",
    "pre": "pre",
    "ul": "list",
    "ol": "list",
    "menu": "list",
    "td": "cell",
    "th": "cell",
    "title": "title",
}
_ROLES: dict[str, Sense] = {
    "main": "main",
    "article": "article",
    "navigation": "furniture",
    "banner": "furniture",
    "contentinfo": "furniture",
    "complementary": "furniture",
}


class _Open(Struct, frozen=True):
    name: str
    sense: Sense


class Nest:
    """The open elements that matter. An end closes all that was opened since its start, and an
    end without a start nothing; each element is looked at twice, however odd the page."""

    def __init__(self) -> None:
        self._stack: list[_Open] = []
        self._names = Counter[str]()
        self._senses = Counter[Sense]()

    def inside(self, sense: Sense) -> int:
        return self._senses[sense]

    def open(self, token: Start) -> None:
        if token.name in _ENDS_A_PARAGRAPH and self._stack and self._stack[-1].name == "p":
            self._pop()
        if token.name in _VOID:
            return
        sense = self._sense(token)
        if sense or token.name in _TRACKED or self.inside("hidden"):
            self._stack.append(_Open(token.name, sense))
            self._names[token.name] += 1
            self._senses[sense] += 1

    def close(self, name: str) -> None:
        if not self._names[name]:
            return
        while self._pop() != name:
            pass

    def _pop(self) -> str:
        gone = self._stack.pop()
        self._names[gone.name] -= 1
        self._senses[gone.sense] -= 1
        return gone.name

    def _sense(self, token: Start) -> Sense:
        if _hides(token):
            return "hidden"
        if token.name == "header":
            return "" if self.inside("main") or self.inside("article") else "furniture"
        return _ROLES.get(token.get("role")) or _SENSES.get(token.name, "")


def _hides(token: Start) -> bool:
    """Whether nobody sees this element."""
    if token.name in {"html", "body", "head", "title"}:
        return False
    return (
        token.name in _UNSEEN
        or "hidden" in token.attributes
        or token.get("aria-hidden") == "true"
        or bool(_STYLE.search(token.get("style")[:_LONGEST_STYLE]))
    )
