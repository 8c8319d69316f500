"""Other agents, as tools: what they get from the house is what servers of tools get."""

from __future__ import annotations

from holdfast.adapters.tools.acp.tool import AskAgent
from holdfast.adapters.tools.mcp.opening import World
from holdfast.adapters.tools.output import Fitted, Spool
from holdfast.config import Config
from holdfast.engine.live import Live
from holdfast.ports.model import Delta
from holdfast.ports.tools import Tool


def agents_to_ask(config: Config, world: World, spool: Spool, live: Live) -> list[Tool]:
    """A tool for each agent of the configuration."""
    specs = [one.spec(name) for name, one in config.acp.agents.items()]
    return [
        Fitted(AskAgent(spec, world, lambda task, text: live.tell(task, Delta(note=text))), spool)
        for spec in specs
    ]
