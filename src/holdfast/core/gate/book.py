"""Many rules, found by what they are about: a call meets only those that can match it.

Every rule is filed under one thing that it insists on (a program, a host, a folder, a label, a
tool, an agent); those that insist on nothing are always looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .matter import Matter
from .policy import Rule, Say, literal

Key = tuple[str, str]

_SIGNS = frozenset("*?[")
_FEW = 16
_KEPT = 64


class Book:
    """The rules of one layer, in their order."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules
        self._filed: dict[Key, list[int]] = {}
        self._always: list[int] = []
        for place, rule in enumerate(rules):
            keys = _keys(rule)
            for key in keys:
                self._filed.setdefault(key, []).append(place)
            if not keys:
                self._always.append(place)
        self._kinds = frozenset(kind for kind, _ in self._filed)

    def matching(self, matter: Matter) -> list[Rule]:
        places = set(self._always)
        for key in _probes(matter, self._kinds):
            places.update(self._filed.get(key, ()))
        return [rule for place in sorted(places) if (rule := self.rules[place]).matches(matter)]


_BOOKS: dict[int, tuple[Sequence[Rule], Book]] = {}


def matching(rules: Sequence[Rule], matter: Matter) -> list[Rule]:
    """The rules that match, in their order. A long layer is made into a book once."""
    if len(rules) <= _FEW:
        return [rule for rule in rules if rule.matches(matter)]
    kept = _BOOKS.get(id(rules))
    if kept is None:
        # The layer is kept beside its book, so that no other can have its place in memory.
        kept = _BOOKS[id(rules)] = (rules, Book(rules))
        if len(_BOOKS) > _KEPT:
            del _BOOKS[next(iter(_BOOKS))]
    return kept[1].matching(matter)


def _keys(rule: Rule) -> list[Key]:
    """What the rule insists on, one key for each of the ways to satisfy it; none: nothing."""
    tools = rule.tools or (rule.tool,)
    choices: tuple[tuple[str, Iterable[str | None]], ...] = (
        ("program", (_plain(words[0]) for words in rule.command)),
        ("host", map(_domain, rule.hosts)),
        ("path", (literal(pattern) or None for pattern in rule.paths)),
        ("label", map(_plain, rule.labels)),
        ("agent", map(_plain, rule.agents)),
        ("tool", map(_plain, tools)),
    )
    for kind, values in choices:
        found = list(values)
        named = [(kind, value) for value in found if value is not None]
        if named and len(named) == len(found):
            return [*named, *_above(rule)] if kind == "path" else named
    return []


def _above(rule: Rule) -> Iterator[Key]:
    """The folders that hold what a rule about paths is about."""
    if rule.say is Say.ALLOW:
        return
    for pattern in rule.paths:
        yield ("above", ".")
        yield from (("above", folder) for folder in _folders(literal(pattern)))


def _plain(pattern: str) -> str | None:
    return pattern if _SIGNS.isdisjoint(pattern) else None


def _domain(pattern: str) -> str | None:
    return _plain(pattern.lower().removeprefix("*."))


def _probes(matter: Matter, kinds: frozenset[str]) -> Iterator[Key]:
    call = matter.call
    yield ("tool", call.tool)
    yield ("agent", matter.asking.agent)
    yield from (("label", label) for label in call.labels)
    if "program" in kinds:  # or the line need not be taken apart
        for argv in matter.commands:
            yield ("program", argv[0])
            yield ("program", argv[0].rpartition("/")[2])
    parts = matter.host.split(".")
    yield from (("host", ".".join(parts[start:])) for start in range(len(parts)))
    for path in matter.paths:
        yield from (("path", folder) for folder in _folders(path))
        if matter.covered:
            yield ("above", path)


def _folders(path: str) -> Iterator[str]:
    """`path` and every folder above it, up to the workspace."""
    while path:
        yield path
        path = path.rpartition("/")[0]
