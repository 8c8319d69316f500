"""Who does the work: instructions, model, tools and limits, as data."""

from __future__ import annotations

from msgspec import Struct, to_builtins

from .budget import Limits
from .ids import digest


class Agent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An agent. Empty `tools` means all; `lanes` is how many of its tasks run at once."""

    name: str = "default"
    instructions: str = ""
    model: str = ""
    tools: tuple[str, ...] = ()
    limits: Limits = Limits()
    lanes: int = 4
    context_chars: int = 400_000

    @property
    def revision(self) -> str:
        """A content hash: two agents with the same revision are the same agent."""
        return digest(to_builtins(self))[:16]
