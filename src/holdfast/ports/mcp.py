"""Servers of the Model Context Protocol: strangers whose tools may be used once a person agreed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from msgspec import Struct

from holdfast.core.mcp import ServerSpec
from holdfast.core.message import EffectClass

__all__ = ["Inspection", "ServerSpec", "ServerState", "ServerTool", "ToolServers"]


class ServerTool(Struct, frozen=True, kw_only=True):
    """A tool of a server: as it calls it, as agents do, what a second run would do (our word), and
    what the server says of it."""

    name: str
    tool: str
    effect: EffectClass
    description: str = ""
    offered: bool = True


class ServerState(Struct, frozen=True, kw_only=True):
    """How a server is. Only the tools of one that is `trusted` are offered.

    `untrusted`: nobody has agreed to what it offers yet; `quarantined`: it is not what was agreed
    to any more, `changes` says how, line by line.
    """

    name: str
    kind: Literal["command", "url"]
    where: str
    state: Literal["trusted", "untrusted", "quarantined"]
    source: Literal["configuration", "added"]
    tools: int = 0
    agents: tuple[str, ...] = ("*",)
    running: int = 0
    problem: str = ""
    changes: tuple[str, ...] = ()


class Inspection(Struct, frozen=True, kw_only=True):
    """What a server said of itself just now. `digest` names exactly this, for agreeing to it."""

    name: str
    title: str
    version: str
    protocol: str
    milliseconds: int
    tools: tuple[ServerTool, ...]
    digest: str
    trusted: bool
    changes: tuple[str, ...] = ()


class ToolServers(Protocol):
    """All servers. Raises `NotFound` for a name that there is not."""

    def all(self) -> Sequence[ServerState]: ...

    def tools(self, name: str) -> Sequence[ServerTool]:
        """What was agreed to."""
        ...

    async def inspect(self, name: str) -> Inspection:
        """Connect and look. One that is not what was agreed to is quarantined by that.

        Raises `Unavailable` when it does not come up or breaks the protocol or its bounds.
        """
        ...

    async def trust(self, name: str, digest: str) -> ServerState:
        """Agree to what was last seen of it. Raises `Refused` if that has another digest."""
        ...

    async def add(self, spec: ServerSpec) -> ServerState:
        """Durable on return. Raises `Invalid`, and `Refused` for a name that is taken."""
        ...

    async def remove(self, name: str) -> None:
        """Forget it and what was agreed to. Raises `Refused` for one of the configuration."""
        ...
