"""The ways out: the gateway, the tools that use it, boxes that may, and the agents' browsers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from msgspec.structs import replace

from holdfast.adapters.boxes.connected import connected
from holdfast.adapters.egress.gateway import Gateway
from holdfast.adapters.tools.browser.browsers import Browsers, World, open_browsers
from holdfast.adapters.tools.browser.options import BrowserOptions
from holdfast.adapters.tools.web import EngineSettings, WebSettings, web_tools
from holdfast.adapters.vaults.keeper import Keeper
from holdfast.config import Config
from holdfast.core.reach import Reach, Ways
from holdfast.ports.box import Box, Boxes
from holdfast.ports.clock import Clock
from holdfast.ports.egress import Egress, Pass, Visits
from holdfast.ports.secrets import Terms
from holdfast.ports.tools import Job, Tool

Now = Callable[[], Ways]
"""What may be reached by the configuration that is in force now."""


def gateway(safe: Keeper, visits: Visits, clock: Clock) -> Gateway:
    """Secrets for headers are used as the agent that makes the request, and counted so."""

    async def secret(name: str, reach: Reach) -> str:
        return await safe.use(name, agent=reach.agent, task=reach.task, tool=reach.tool)

    return Gateway(secret=secret, log=visits, clock=clock)


def box_way(
    egress: Egress, now: Now
) -> Callable[[Box, str], AbstractAsyncContextManager[Pass] | None]:
    """How the box of a task gets a network: not at all, if there is nothing that it may reach."""

    def way(box: Box, owner: str) -> AbstractAsyncContextManager[Pass] | None:
        reach = now().reach(task=owner, agent=box.spec.agent, tool="exec", box=True)
        return connected(box, egress, reach) if reach.allowed else None

    return way


def tools_of_the_web(
    config: Config, egress: Egress, now: Now, safe: Keeper, environment: Mapping[str, str]
) -> list[Tool]:
    def reach(job: Job, tool: str) -> Reach:
        return now().reach(task=job.task, agent=job.agent, tool=tool)

    web = config.web
    settings = WebSettings(
        engines=web.engines,
        preferred=web.preferred,
        seconds=web.seconds,
        search={name: EngineSettings(**dict(one)) for name, one in web.search.items()},
        env=environment,
    )
    return web_tools(egress, reach, settings, partial(safe.reveal, tool="web_search"))


@asynccontextmanager
async def browsers_for(
    config: Config, boxes: Boxes, egress: Egress, now: Now, safe: Keeper
) -> AsyncGenerator[Browsers]:
    """All browsers of a house, until it closes. Each reaches what its agent may with `browser`."""

    @asynccontextmanager
    async def attach(box: Box, job: Job) -> AsyncGenerator[Pass | None]:
        reach = now().reach(task=job.task, agent=job.agent, tool="browser")
        # What a browser does within TLS cannot be seen: it may do all or nothing at a host.
        reach = replace(reach, methods=())
        if not (reach.allowed or reach.web):
            yield None
            return
        async with connected(box, egress, reach) as passed:
            yield passed

    async def keep(name: str, value: str, job: Job) -> None:
        await safe.put(name, value, Terms(grants=(job.agent,)))

    world = World(
        boxes=boxes,
        attach=attach,
        keep=keep,
        reveal=partial(safe.reveal, tool="browser"),
        redact=safe.redact,
        shelf=config.home / "browsers",
        requires=config.box.requires,
    )
    options = BrowserOptions(**config.browser.model_dump())
    async with open_browsers(options, world) as browsers:
        yield browsers
