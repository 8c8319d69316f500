"""Tools by their names: ours and a stranger's alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from holdfast.core.error import Invalid
from holdfast.ports.tools import Tool


class Registry:
    """All tools there are, by name. Raises `Invalid` when two share one."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            if tool.spec.name in self._tools:
                raise Invalid(f"there are two tools called {tool.spec.name}")
            self._tools[tool.spec.name] = tool

    def get(self, name: str) -> Tool | None:
        return self._tools.get(name)

    def all(self) -> Sequence[Tool]:
        return tuple(self._tools.values())
