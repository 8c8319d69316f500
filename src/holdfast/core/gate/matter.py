"""What a rule may look at: one call, who wants it and when; worked out once for all rules."""

from __future__ import annotations

from functools import cached_property
from urllib.parse import urlsplit

from msgspec import Struct

from holdfast.core.ids import Instant
from holdfast.core.message import ToolCall

from . import commands
from .hours import Zone

COMMAND = "exec"
"""The tool whose target is a command line."""


class Asking(Struct, frozen=True, kw_only=True):
    """Who wants the call: the agent, who submitted its task, where it belongs; and when."""

    agent: str = ""
    principal: str = ""
    task: str = ""
    session: str = ""
    at: Instant = 0


class Matter:
    """A call as rules see it."""

    def __init__(
        self,
        call: ToolCall,
        asking: Asking | None = None,
        zone: Zone = (),
        trust: tuple[str, ...] = (),
    ) -> None:
        self.call, self.asking, self.zone = call, asking or Asking(), zone
        self.trust = trust

    @cached_property
    def touched(self) -> tuple[str, ...]:
        return (self.call.target, *self.call.also)

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """The paths that the call names, below the workspace; none for other kinds of call."""
        return self.touched if self.call.names_paths else ()

    @cached_property
    def line(self) -> commands.Line:
        """The command line; for other calls one without commands, that is not plain."""
        if self.call.tool != COMMAND:
            return commands.Line((), plain=False)
        return commands.parsed(self.call.target)

    @cached_property
    def commands(self) -> tuple[commands.Argv, ...]:
        return commands.pieces(self.line)

    @cached_property
    def host(self) -> str:
        """The host that the call speaks to, or empty. An address of odd letters has none."""
        target = self.call.target
        if not target.lower().startswith(("http://", "https://")):
            return ""
        if not target.isprintable() or "\\" in target or " " in target:
            return ""
        try:
            return (urlsplit(target).hostname or "").rstrip(".").lower()
        except ValueError:
            return ""

    @cached_property
    def method(self) -> str:
        return str(self.call.arguments.get("method", "GET")).upper() if self.host else ""

    @cached_property
    def covered(self) -> bool:
        """True for a call that does not stop at what it names: it takes all that is beneath."""
        return self.call.effect != "reads" or self.call.tool == "search"

    @cached_property
    def rough(self) -> tuple[str, ...]:
        """What a rule that asks or denies compares with its target, besides what is touched."""
        if self.call.tool == COMMAND:
            said = commands.rough(self.call.target)
            return (*said, *map(" ".join, self.commands))
        return tuple(f"{path}/" for path in self.touched)
