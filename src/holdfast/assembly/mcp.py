"""What servers of the Model Context Protocol get from the house: boxes, ways out, few secrets."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from holdfast.adapters.tools.execute import BoxOptions
from holdfast.adapters.tools.mcp.servers import (
    Household,
    Servers,
    open_servers,
)
from holdfast.adapters.tools.mcp.sessions import World
from holdfast.adapters.tools.output import Spool
from holdfast.adapters.tools.steering import Steering
from holdfast.config import Config
from holdfast.core.error import Invalid
from holdfast.core.gate.plan import PLAN
from holdfast.engine.live import Live
from holdfast.ports.blobs import Blobs
from holdfast.ports.box import Boxes, BoxSpec
from holdfast.ports.clock import Clock
from holdfast.ports.mcp import ServerSpec
from holdfast.ports.model import Delta
from holdfast.ports.tools import Job, Tool
from holdfast.runtime.house import InForce

from .outside import Outside

Work = tuple[Blobs, Spool, Clock, Live]


@asynccontextmanager
async def servers_for(
    config: Config, force: InForce, world: World, work: Work, own: Sequence[Tool]
) -> AsyncGenerator[Servers]:
    """All servers of a house, until it closes. None gets the name of a tool that is our `own`."""
    blobs, spool, clock, live = work
    household = Household(
        home=config.home,
        world=world,
        blobs=blobs,
        spool=spool,
        clock=clock,
        progress=lambda task, text: live.tell(task, Delta(note=text)),
        configured=lambda: force.servers,
        taken=frozenset({PLAN, *(tool.spec.name for tool in own)}),
        agent=config.agent.name,
    )
    async with open_servers(household) as servers:
        yield servers


def world_of_servers(
    config: Config, boxes: Boxes, out: Outside, options: BoxOptions, steering: Steering
) -> World:
    """Their boxes are those of commands, each with the paths that the server needs besides."""

    home = config.home

    async def reveal(name: str, job: Job, tool: str) -> str:
        return await out.safe.use(name, agent=job.agent, task=job.task, tool=tool)

    def box(spec: ServerSpec, job: Job) -> BoxSpec:
        """Raises `Invalid` for one that would show what is in the home."""
        for path in map(Path, spec.read_only):
            real = path.resolve()
            if home.is_relative_to(real) or real.is_relative_to(home):
                what = f"mcp.servers.{spec.name}.read_only: {path} would show the home {home}"
                raise Invalid(what, code="home_in_box")
        workspace = home / "mcp" / spec.name if spec.shared else job.workspace
        return BoxSpec(
            workspace=workspace,
            agent="mcp" if spec.shared else job.agent,
            read_only=(*options.read_only, *map(Path, spec.read_only)),
            hidden=(workspace / ".holdfast", *options.hidden),
            environment=options.environment,
            limits=options.limits,
            requires=options.requires,
        )

    return World(
        boxes=boxes,
        egress=out.egress,
        reach=out.of_tool,
        reveal=reveal,
        box=box,
        kept=steering.kept,
        most=max(1, config.box.at_once // 2),
    )
