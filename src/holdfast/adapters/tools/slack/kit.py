"""Slack's tools, put together: there while a person has connected a workspace, and only then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdfast.adapters.tools.output import Fitted, Spool
from holdfast.ports.tools import Tool

from .calling import Calls
from .posting import posting_tools
from .reading import reading_tools
from .workspaces import Workspaces


def slack_tools(calls: Calls, spool: Spool) -> Sequence[Tool]:
    """All of them."""
    own = (*reading_tools(calls), *posting_tools(calls))
    return [Fitted(tool, spool) for tool in own]


class OfSlack:
    """Implements `ports.Tools`."""

    def __init__(self, workspaces: Workspaces, tools: Sequence[Tool]) -> None:
        self.workspaces = workspaces
        self._tools: Mapping[str, Tool] = {tool.spec.name: tool for tool in tools}

    @property
    def every(self) -> Sequence[Tool]:
        """Also while they are not there: nobody else's tool gets such a name."""
        return tuple(self._tools.values())

    def get(self, name: str) -> Tool | None:
        return self._tools.get(name) if self.workspaces.usable() else None

    def all(self) -> Sequence[Tool]:
        return self.every if self.workspaces.usable() else ()
