"""Where the words of a call come from: which of them nobody vouches for.

A call that reaches beyond its box says which of its arguments decide where it goes and what it does
there: its *aims*. Each of them is vouched for when a person (or the operator, in the instructions)
has said it. As soon as a task has read something from outside, whatever no person has said may be
the idea of whoever wrote that: such an aim is labelled with the source, and rules look at the
labels. Before that, what the model makes of it is its person's, but for whom it reaches: an
address, a name or a number that nobody has said is `unsaid`. A plan that was made before anything
from outside was heard (`plan`) vouches for more, in the calls that it has.

How the value was put, in which file or page, does not matter: it is looked for in what people said,
never in what strangers said. So a value that is merely turned around is still nobody's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.message import ToolCall

from .plan import PLAN, Plan
from .vouching import Said, addresses, is_prose, leaves

UNTRUSTED, COPIED, UNSAID = "untrusted", "copied", "unsaid"
PERSON = "person"
"""The source of an answer that a person gave to a question."""

APART = "apart"
"""The source of what was read apart of another source: `apart:web:HOST`."""

HOST = "web:HOST"
"""As a tool's source: whoever is in its target. Any other tool of the web has `web`."""

ALL, ADDRESSES = "*", "@"
"""As aims: every argument, and only the addresses of the web in any of them."""

# Nothing, and the methods of the web that only ask.
_ASKING = frozenset({"", "get", "head"})


_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,60}")

_YES_OR_NO = frozenset({"True", "False"})


class Heard(Struct, frozen=True, kw_only=True):
    """What a task knows: what people said, what came from outside, each with its source, and the
    plan it made before. `strangers` is what came from outside again: the values of answers that
    have fields, one by one, and the texts of others. `vouched`: what a person took over, letter
    for letter."""

    said: tuple[str, ...] = ()
    outside: tuple[tuple[str, str], ...] = ()
    strangers: tuple[str, ...] = ()
    sources: frozenset[str] = frozenset()
    vouched: frozenset[str] = frozenset()
    plan: Plan = Plan()

    @property
    def influences(self) -> frozenset[str]:
        """Every source from outside that could be behind what the model proposes."""
        return self.sources | {source for source, _ in self.outside}


def labelled(calls: Iterable[ToolCall], heard: Heard) -> Iterator[ToolCall]:
    """These calls of one turn with their labels; each takes its place in the plan."""
    for call in calls:
        yield replace(call, labels=labels(call, heard)) if call.aims else call
        heard = replace(heard, plan=heard.plan.after(call, Said(heard.said, heard.strangers)))


def labels(call: ToolCall, heard: Heard) -> tuple[str, ...]:
    """What rules can know of the aims of `call`, sorted.

    `copied:SOURCE` for an aim that stands in what this source said, word for word;
    `untrusted:SOURCE`, of every source there is, for one that nobody has said at all; while nobody
    from outside was heard, `unsaid:WHERE`, with the place to which it goes.
    """
    found = set[str]()
    # What was read apart is numbers and choices: they are its own, but no words that could order.
    worded = {one for one, _ in heard.outside if not one.startswith(APART)} | heard.sources
    if call.tool == PLAN and not heard.influences:
        return ()  # a plan that nobody outside had a word in vouches, and is not vouched for
    for value in nobodys(call, heard):
        behind = {source for source, text in heard.outside if value in text}
        if behind:
            found |= {f"{COPIED}:{source}" for source in behind}
        else:
            found |= {f"{UNTRUSTED}:{source}" for source in worded} or {f"{UNSAID}:{call.source}"}
    return tuple(sorted(found))


def nobodys(call: ToolCall, heard: Heard) -> tuple[str, ...]:
    """The aims of `call` that no person has said, planned or taken over."""
    return tuple(value for value in _open(call, heard) if value not in heard.vouched)


def source_of(kind: str, target: str) -> str:
    """A source by its kind; of a tool that asks the host in its target, by that host; of what was
    read apart, by whose it is (`SOURCE#NAME`). A kind that ends in `:` goes on with the target, as
    `slack:` with the channel."""
    if kind == APART:
        return f"{APART}:{target.partition('#')[0]}"
    if kind == HOST:
        return f"web:{host}" if (host := _host(target)) else "web"
    if kind.endswith(":"):
        return f"{kind}{target}" if _PLAIN.fullmatch(target) else kind[:-1]
    return kind


def _open(call: ToolCall, heard: Heard) -> Iterator[str]:
    """The aims of `call` that neither a person nor the plan vouches for."""
    said, given = Said(heard.said, heard.strangers), call.arguments
    asks = "method" in call.aims and str(given.get("method", "")).casefold() in _ASKING
    if asks and not heard.influences:
        return
    if (place := heard.plan.place_of(call, said)) is not None:
        yield from _of_kind(call, place.open)
        return
    names = given if {ALL, ADDRESSES} & set(call.aims) else call.aims
    for name in names:
        for value in leaves(given.get(name)):
            if value.casefold() in _ASKING or said.says_of(name, value):
                continue
            if value in _YES_OR_NO and not heard.influences:
                continue
            prose = is_prose(name) and not heard.influences
            yield from _of_kind(call, said.strange(value) if prose else (value,))


def _of_kind(call: ToolCall, values: Iterable[str]) -> Iterator[str]:
    """All of them, or, of a call that only asks, the addresses it would ask."""
    for value in values:
        yield from addresses(value, web=True) if ADDRESSES in call.aims else (value,)


def _host(target: str) -> str:
    try:
        return urlsplit(target).hostname or ""
    except ValueError:
        return ""
