"""Where the words of a call come from: which of them nobody vouches for.

A call that reaches beyond its box says which of its arguments decide where it goes and what it does
there: its *aims*. Each of them is vouched for when a person (or the operator, in the instructions)
has said it. While everything that a task knows comes from people, what the model makes of it is
theirs too. As soon as it has read something from outside, whatever no person has said may be the
idea of whoever wrote that: such an aim is labelled with the source, and rules look at the labels.

How the value was put, in which file or page, does not matter: it is looked for in what people said,
never in what strangers said. So a value that is merely turned around is still nobody's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlsplit

from msgspec import Struct

from holdfast.core.message import ToolCall

UNTRUSTED, COPIED = "untrusted", "copied"
PERSON = "person"
"""The source of an answer that a person gave to a question."""

_WEB = ("http://", "https://")
# Nothing, and the methods of the web that only ask.
_ASKING = frozenset({"", "get", "head"})


class Heard(Struct, frozen=True, kw_only=True):
    """What a task knows: what people said, and what came from outside, each with its source."""

    said: tuple[str, ...] = ()
    outside: tuple[tuple[str, str], ...] = ()
    sources: frozenset[str] = frozenset()

    @property
    def influences(self) -> frozenset[str]:
        """Every source from outside that could be behind what the model proposes."""
        return self.sources | {source for source, _ in self.outside}


def labels(call: ToolCall, heard: Heard) -> tuple[str, ...]:
    """What rules can know of the aims of `call`, sorted.

    `copied:SOURCE` for an aim that stands in what this source said, word for word;
    `untrusted:SOURCE`, of every source there is, for one that nobody has said at all.
    """
    influences = heard.influences
    if not influences or not call.aims:
        return ()
    found, said = set[str](), tuple(_plain(heard.said))
    for value in _aims(call.aims, call.arguments):
        if value.casefold() in _ASKING or any(_stands_in(value, text) for text in said):
            continue
        behind = {source for source, text in heard.outside if value in text}
        if behind:
            found |= {f"{COPIED}:{source}" for source in behind}
        else:
            found |= {f"{UNTRUSTED}:{source}" for source in influences}
    return tuple(sorted(found))


def source_of(kind: str, target: str) -> str:
    """A source by its kind and, for the web, by the host that was asked."""
    if kind == "web" and (host := _host(target)):
        return f"web:{host}"
    return kind


def _aims(names: tuple[str, ...], arguments: Mapping[str, Any]) -> Iterator[str]:
    """The leaves of these arguments in plain text; `*` stands for all there are."""
    for name in arguments if "*" in names else names:
        yield from _leaves(arguments.get(name))


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, below in cast("Mapping[str, Any]", value).items():
            yield str(name)
            yield from _leaves(below)
    elif isinstance(value, list | tuple):
        for below in cast("Sequence[Any]", value):
            yield from _leaves(below)
    elif value is not None and not isinstance(value, bool):
        yield str(value).strip()


def _stands_in(value: str, text: str) -> bool:
    """Whether `text` says `value`, as words of its own. A host that was named vouches for its front
    page and for nothing below it."""
    return any(_as_words(form, text) for form in _forms(value))


def _as_words(value: str, text: str) -> bool:
    wanted = " ".join(value.casefold().split())
    at = text.find(wanted)
    while at >= 0:
        before, after = text[max(0, at - 2) : at], text[at + len(wanted) :][:2]
        if not _goes_on(before[::-1]) and not _goes_on(after):
            return True
        at = text.find(wanted, at + 1)
    return False


_JOINS = re.compile(r"\w|[./@:?&=#%+~-]\w|[/@?&=#%]")


def _goes_on(rest: str) -> bool:
    """Whether a word, an address or a path goes on here, so that what was found is a part of it."""
    return bool(_JOINS.match(rest))


def _forms(value: str) -> Iterator[str]:
    yield value
    parts = urlsplit(value) if value.startswith(_WEB) else None
    if parts is None:
        return
    yield value.rstrip("/")
    bare = value.partition("://")[2]
    yield bare.rstrip("/")
    if parts.path in {"", "/"} and not parts.query and not parts.fragment:
        yield parts.netloc.removeprefix("www.")


def _plain(texts: tuple[str, ...]) -> Iterator[str]:
    for text in texts:
        yield " ".join(text.casefold().split())


def _host(target: str) -> str:
    try:
        return urlsplit(target).hostname or ""
    except ValueError:
        return ""
