"""Tools by their names: ours and a stranger's alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from holdfast.core.error import Invalid
from holdfast.ports.tools import Tool, Tools


class Together:
    """Tools that come and go, from several places; the first that has a name gives it."""

    def __init__(self, *places: Tools) -> None:
        self._places = places

    def get(self, name: str) -> Tool | None:
        found = (place.get(name) for place in self._places)
        return next((tool for tool in found if tool is not None), None)

    def all(self) -> Sequence[Tool]:
        every = {tool.spec.name: tool for place in self._places[::-1] for tool in place.all()}
        return tuple(every.values())


class Registry:
    """All tools there are, by name. Raises `Invalid` when two share one.

    `also` are tools that come and go; none of them takes a name that is taken.
    """

    def __init__(self, tools: Iterable[Tool], also: Tools | None = None) -> None:
        self._tools: dict[str, Tool] = {}
        self._also = also
        for tool in tools:
            if tool.spec.name in self._tools:
                raise Invalid(f"there are two tools called {tool.spec.name}")
            self._tools[tool.spec.name] = tool

    def get(self, name: str) -> Tool | None:
        found = self._tools.get(name)
        return self._also.get(name) if found is None and self._also is not None else found

    def all(self) -> Sequence[Tool]:
        more = self._also.all() if self._also is not None else ()
        mine = self._tools
        return (*mine.values(), *(tool for tool in more if tool.spec.name not in mine))
