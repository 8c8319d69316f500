"""What servers of the Model Context Protocol get from the house: boxes, ways out, few secrets."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from holdfast.adapters.tools.execute import BoxOptions
from holdfast.adapters.tools.mcp.asked import Sample, Sampling
from holdfast.adapters.tools.mcp.heard import Heard
from holdfast.adapters.tools.mcp.opening import World
from holdfast.adapters.tools.mcp.questions import Questions
from holdfast.adapters.tools.mcp.servers import Household, Servers, open_servers
from holdfast.adapters.tools.output import Spool
from holdfast.adapters.tools.slack.kit import OfSlack
from holdfast.adapters.tools.steering import Steering
from holdfast.core.agent import Style
from holdfast.core.context import Prompt
from holdfast.core.error import Invalid, Unavailable
from holdfast.core.gate.plan import PLAN
from holdfast.core.mcp import ServerSpec
from holdfast.core.message import ModelSaid, PersonSaid
from holdfast.engine.direct import DirectAccount
from holdfast.engine.live import Live
from holdfast.ports.blobs import Blobs
from holdfast.ports.box import Boxes, BoxSpec
from holdfast.ports.clock import Clock
from holdfast.ports.ledger import Ledger, Payer
from holdfast.ports.model import Delta, ModelFailure, Models
from holdfast.ports.tools import Job, Tool
from holdfast.runtime.house import InForce

from .given import Given
from .outside import Outside

Hands = tuple[BoxOptions, Steering, Clock, Live]
Asked = tuple[InForce, Models, Ledger]
Work = tuple[Blobs, Spool, Clock, Live]


@asynccontextmanager
async def servers_for(
    given: Given, force: InForce, world: World, work: Work, ours: tuple[Sequence[Tool], OfSlack]
) -> AsyncGenerator[Servers]:
    """All servers of a house, until it closes. None gets the name of a tool that is ours."""
    (blobs, spool, clock, live), (own, slack) = work, ours
    config, kept = given.config, given.kept

    async def reveal(name: str, server: str) -> str:
        return await kept.secrets.reveal(name, tool=f"mcp:{server}")

    household = Household(
        home=config.home,
        world=world,
        blobs=blobs,
        spool=spool,
        clock=clock,
        progress=lambda task, text: live.tell(task, Delta(note=text)),
        configured=lambda: force.servers,
        vault=kept.house,
        reveal=reveal,
        taken=frozenset({PLAN, *(tool.spec.name for tool in (*own, *slack.every))}),
        agent=config.agent.name,
        changed=force.bell.ring,
    )
    async with open_servers(household) as servers:
        yield servers


def sampler(force: InForce, models: Models, ledger: Ledger, clock: Clock) -> Sample:
    """Asks the agent's model what a server wants to know, held under every budget above the task;
    nothing of the task is shown with it."""

    async def sample(spec: ServerSpec, job: Job, wanted: Sampling) -> tuple[str, str]:
        entries = tuple(
            PersonSaid(text=one.text) if one.by == "user" else ModelSaid(text=one.text)
            for one in wanted.said
        )
        shown = Prompt(
            system=wanted.system,
            entries=entries,
            saw=0,
            tools=False,
            style=Style(max_output=wanted.most),
            stream=False,
        )
        payer = Payer(task=job.task, agent=job.agent, by=job.by, role=f"mcp:{spec.name}")
        try:
            async with DirectAccount(ledger, clock, payer) as account:
                reply = await models.answer(force.agent.model, shown, (), _unheard, account)
        except ModelFailure as failure:
            raise Unavailable(f"no model answered: {failure}", code=failure.code) from None
        return reply.text, reply.model

    return sample


def _unheard(_: Delta) -> None:
    """Nobody watches a server's own questions."""


def world_of_servers(given: Given, boxes: Boxes, out: Outside, hands: Hands, asked: Asked) -> World:
    """Their boxes are those of commands, each with the paths that the server needs besides."""
    config, (options, steering, clock, live) = given.config, hands

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
        questions=Questions(clock, lambda task, text: live.tell(task, Delta(note=text))),
        heard=Heard(clock, out.safe.redact),
        sample=sampler(*asked, clock),
        most=max(1, config.box.at_once // 2),
    )
