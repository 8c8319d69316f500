"""Text that came with a request, from a pipe or as files: where it begins, and what can be done.

It is never read as a request: only what stands before it is.
"""

from __future__ import annotations

import re

from . import offline_steps as steps
from .offline_abilities import QUOTED, Begin
from .offline_steps import Attached

_PIPED = "the attached text"
_BEGIN = re.compile(
    r"^---(?:\n\n?|\Z)"
    r"|(?<=\n\n)--- file (?P<file>[^\n]+) ---(?:\n\n|\Z)"
    r"|(?<=\n\n)See also the file (?P<named>[^\n]+) \([\d,]+ bytes\)\.(?=\n\n|\Z)",
    re.MULTILINE,
)
_THIS = (
    r"(?:this|that|it|these|(?:(?:the|this|that|these|those|my)\s+)?"
    r"(?:(?:attached|following|given|piped|above|whole)\s+)*"
    r"(?:text|texts|input|stdin|file|files|document|attachment|content|contents|code|lines))"
)
_IN_THIS = rf"(?:\s+(?:in|of|from|within|inside)\s+{_THIS})?"
_THING = r"(?:lines?|words?|char(?:acter)?s?|letters?|bytes?)"
_THINGS = rf"(?P<what>{_THING}(?:(?:,|,?\s+and)\s+(?:the\s+)?{_THING})*)"
_COUNTED = (
    r"(?:(?:count\s+)?(?:what\s+is\s+)?(?:the\s+)?number\s+of|count|how\s+many)\s+"
    r"(?:all\s+)?(?:the\s+)?"
)
_UNITS = {
    "li": "lines", "wo": "words", "ch": "characters", "le": "characters", "by": "bytes",
}  # fmt: skip
_COUNT = (
    rf"{_COUNTED}{_THINGS}(?:\s+of\s+(?:code|text))?(?:\s+(?:are|is)(?:\s+there)?)?{_IN_THIS}",
    rf"{_COUNTED}{_THINGS}\s+do(?:es)?\s+(?:(?:i|we)|{_THIS})\s+(?:have|contain)",
)
_OCCURS = (
    r"(?:count|how\s+many|how\s+often)\s+(?:the\s+)?(?:(?:occurrences|matches|times)\s+(?:of\s+)?)?"
    rf"(?:does\s+|do\s+|is\s+)?(?P<text>{QUOTED})\s*(?:appears?|occurs?|used|mentioned|found)?"
    rf"{_IN_THIS}",
)
_SUMMARISE = (
    rf"(?:summari[sz]e|sum\s+up|tl;?dr)(?:\s+{_THIS})?",
    r"(?:(?:give|show)\s+me\s+)?(?:(?:a|the)\s+)?(?:short\s+|brief\s+)?(?:summary|overview)"
    rf"(?:\s+of\s+{_THIS})?",
    rf"what(?:'s|\s+is)\s+{_THIS}\s+about",
)
_TEXT = rf"(?P<text>{QUOTED}|.+?)"
_SEARCH = (
    rf"(?:search|look)\s+(?:in\s+|through\s+)?{_THIS}\s+for\s+{_TEXT}",
    rf"(?:(?:search|grep)(?:\s+for)?|look\s+for)\s+{_TEXT}{_IN_THIS}",
    r"(?:find|show|list|print|which|what)\s+(?:me\s+)?(?:the\s+|all\s+)*lines?\s+(?:that\s+)?"
    rf"(?:with|contain(?:ing)?|mention(?:ing)?)\s+{_TEXT}{_IN_THIS}",
    rf"find\s+(?:the\s+)?(?:text|word|string|phrase)\s+{_TEXT}{_IN_THIS}",
)
_ELSEWHERE = re.compile(r"\s(?:in|inside|within|of|from|under|below)\s+(?:the\s+|my\s+)?\S+$")


def parted(text: str) -> tuple[str, tuple[Attached, ...]]:
    """The request, and what is attached to it: all from the first line that is `---` on.

    A file comes under its own heading. The body of "write to a.md:" may have such lines too.
    """
    first = _BEGIN.search(text)
    if not first:
        return text, ()
    request = text[: first.start()]
    head, _, body = request.partition("\n")
    if head.rstrip().endswith(":") and body != "\n":
        return text, ()
    found: list[Attached] = []
    while first:
        name = first["file"] or first["named"] or _PIPED
        following = _next(text, first.end())
        content = text[first.end() : following.start() if following else len(text)]
        if following:
            content = content.removesuffix("\n\n")
        found.append(Attached(name=name, text=None if first["named"] else content))
        first = following
    return request.rstrip(), tuple(found)


def over(attached: tuple[Attached, ...], asked: str) -> Begin | None:
    """What counts, summarises or searches the attached text; None for any other request."""
    if found := _matched(_COUNT, asked):
        things = re.findall(_THING, found["what"].lower())
        whats = tuple(dict.fromkeys(_UNITS[thing[:2]] for thing in things))
        return lambda _: steps.count_attached(attached, whats)
    if found := _matched(_OCCURS, asked):
        counted = found["text"][1:-1]
        return lambda _: steps.count_text_attached(attached, counted)
    if _matched(_SUMMARISE, asked):
        return lambda _: steps.summarise_attached(attached)
    if found := _matched(_SEARCH, asked):
        wanted = found["text"].strip()
        quoted = re.fullmatch(QUOTED, wanted)
        if quoted or not _ELSEWHERE.search(wanted):
            text = wanted[1:-1] if quoted else wanted
            return lambda _: steps.search_attached(attached, text)
    return None


def _next(text: str, start: int) -> re.Match[str] | None:
    """The next heading of a file. A later `---` is only text."""
    return next((one for one in _BEGIN.finditer(text, start) if one.lastgroup), None)


def _matched(wordings: tuple[str, ...], asked: str) -> re.Match[str] | None:
    matches = (re.fullmatch(wording, asked, re.IGNORECASE | re.DOTALL) for wording in wordings)
    return next((found for found in matches if found), None)
