"""What people said, and whether they said this."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, cast
from urllib.parse import urlsplit

_WEB = ("http://", "https://")
_NUMBER = re.compile(r"\d{1,12}(?:\.\d{1,6})?")
_ORDINAL = re.compile(r"\d{1,6}", re.ASCII)
_JOINS = re.compile(r"\w|[./@:?&=#%+~-]\w|[/@?&=#%]")
_PROSE = re.compile(
    r"body|comment|content|data|description|headers?|label|location|memo|message|notes?|place"
    r"|prompt|purpose|query|reason|subject|summary|text|title|topic|venue",
    re.IGNORECASE,
)
_MEASURE = re.compile(
    r"(?:^|_)(?:amount|balance|cost|count|date|day|days|duration|end|fee|from|hour|hours|k|limit|max|min"
    r"|minute|minutes|month|n|page|percent|price|quantity|rate|since|size|start|sum|time|total|until"
    r"|week|year)(?:$|_)",
    re.IGNORECASE,
)
_PAGE = re.compile(r"(?:https?:/?/?|ftp://|www\.)[^\s<>\"']+", re.IGNORECASE)
_DOT = "[.\u3002\uff0e\uff61]"
_NAMED = re.compile(
    rf"(?<![\w@./-])(?:[\w-]+{_DOT})+(xn--[a-z0-9-]+|[^\W\d_]{{2,24}})(?![\w@-])(?:[/:?#][^\s<>\"']*)?",
    re.IGNORECASE,
)
_NUMBERED = re.compile(
    r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]\w)(?:[/:?#][^\s<>\"']*)?"
    r"|\[?(?<!\w)[0-9a-f]{0,4}:(?:[0-9a-f]{0,4}:)+[0-9a-f]{0,4}(?!\w)\]?(?:[/:?#][^\s<>\"']*)?",
    re.IGNORECASE,
)
_PLACE = re.compile(
    r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*"  # mail
    r"|\b[a-z]{2}\d{2}(?:[ -]?[a-z0-9]){10,30}\b"  # an account (IBAN and alike)
    r"|\+\d[\d ()-]{6,}\d",  # a telephone
    re.IGNORECASE,
)
# Endings of files that people name in passing, and that no address has.
_FILES = frozenset(
    [
        "csv",
        "doc",
        "docx",
        "gif",
        "html",
        "jpeg",
        "jpg",
        "json",
        "log",
        "pdf",
        "png",
        "ppt",
        "pptx",
        "toml",
        "txt",
        "xls",
        "xlsx",
        "xml",
        "yaml",
        "yml",
    ]
)


class Said:
    """The words of people; and what `strangers` wrote, sentence for sentence, value for value."""

    def __init__(self, texts: tuple[str, ...], strangers: tuple[str, ...] = ()) -> None:
        self._texts, self._strangers = texts, strangers

    @cached_property
    def _plain(self) -> tuple[str, ...]:
        return tuple(map(_plain, self._texts))

    @cached_property
    def _plain_strangers(self) -> tuple[str, ...]:
        return tuple(map(_plain, self._strangers))

    def is_talked_of(self, value: str) -> bool:
        """Whether a stranger has `value` in a text about more than that."""
        alone = _plain(value)
        return any(_as_words(value, text) for text in self._plain_strangers if text != alone)

    def says(self, value: str) -> bool:
        """Whether somebody said `value`, as words of its own. A host that was named vouches for its
        front page and for nothing below it; what follows a host counts letter for letter."""
        if not any(_as_words(form, text) for form in _forms(value) for text in self._plain):
            return False
        beyond = _beyond_host(value)
        return any(beyond in text for text in self._texts)

    def says_of(self, name: str, value: str) -> bool:
        """Whether somebody said `value` for an argument of this name. A bare number that is no
        measure means something only beside what it numbers: June 13 is not file 13."""
        if not _ORDINAL.fullmatch(value) or is_measure(name):
            return self.says(value)
        words = "|".join(re.findall(r"[a-z]{2,}", name.casefold()) or ["id"])
        beside = (
            rf"(?:(?<![^\W_])(?:{words}|id|no|nr|number)s?(?![^\W_])"
            r"[\W_]{0,3}(?:\w+\W{1,3}){0,2}|#)"
        )
        there = (text for text in self._plain if value in text)
        return any(re.search(rf"{beside}{value}(?![\w]|[.,]\w)", text) for text in there)

    def strange(self, text: str) -> Iterator[str]:
        """The addresses in `text` that nobody has said."""
        return (one for one in addresses(text) if not self.says(one))


def is_prose(name: str) -> bool:
    """Whether an argument of this name is something to read, not somewhere to go."""
    return bool(_PROSE.fullmatch(name))


def is_measure(name: str) -> bool:
    """Whether an argument of this name says how much or when, not who or which."""
    return bool(_MEASURE.search(name))


def addresses(text: str, *, web: bool = False) -> Iterator[str]:
    """What in `text` leads somewhere: pages and, unless only those of the `web` are wanted,
    mailboxes, accounts and telephones."""
    for found in _PAGE.finditer(text):
        yield found[0].rstrip(".,;:!?)]}")
    bare = _PAGE.sub(" ", text)
    for found in _NAMED.finditer(bare):
        if found[1].casefold() not in _FILES:
            yield found[0]
    yield from (
        found[0] for found in _NUMBERED.finditer(bare) if "::" in found[0] or _long(found[0])
    )
    if not web:
        yield from (found[0] for found in _PLACE.finditer(text))


def _long(address: str) -> bool:
    """Whether it is more than a time of day."""
    return "." in address or address.count(":") >= 4


def leaves(value: Any) -> Iterator[str]:
    """All that stands in a value, as plain text; nothing says nothing."""
    if isinstance(value, Mapping):
        for name, below in cast("Mapping[str, Any]", value).items():
            yield str(name)
            yield from leaves(below)
    elif isinstance(value, list | tuple):
        for below in cast("list[Any]", value):
            yield from leaves(below)
    elif value is not None:
        yield str(value).strip()


def _plain(text: str) -> str:
    """In small letters, not folded further: two hosts that only fold alike are two hosts."""
    return " ".join(text.lower().split())


def _beyond_host(value: str) -> str:
    """Path and query of a web address, where letters are told apart by their case."""
    bare = value.partition("://")[2] if value.lower().startswith(_WEB) else ""
    return bare.rstrip("/").partition("/")[2]


def _as_words(value: str, text: str) -> bool:
    wanted = _plain(value)
    at = text.find(wanted)
    while at >= 0:
        before, after = text[max(0, at - 2) : at], text[at + len(wanted) :][:2]
        if not _goes_on(before[::-1]) and not _goes_on(after):
            return True
        at = text.find(wanted, at + 1)
    return False


def _goes_on(rest: str) -> bool:
    """Whether a word, an address or a path goes on here, so that what was found is a part of it."""
    return bool(_JOINS.match(rest))


def _forms(value: str) -> Iterator[str]:
    yield value
    if _NUMBER.fullmatch(value):
        yield from (f"{float(value):{form}}" for form in (".2f", ",.2f", "g", ",g"))
    parts = urlsplit(value) if value.startswith(_WEB) else None
    if parts is None:
        return
    yield value.rstrip("/")
    bare = value.partition("://")[2]
    yield bare.rstrip("/")
    if parts.path in {"", "/"} and not parts.query and not parts.fragment:
        yield parts.netloc.removeprefix("www.")
