"""The ways out: the gateway, the tools that use it, boxes that may, and the agents' browsers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
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
from holdfast.core.ids import Instant, TaskId
from holdfast.core.reach import Reach, Ways
from holdfast.doors.http.a2a.pushing import told
from holdfast.ports.box import Box, Boxes
from holdfast.ports.clock import Clock
from holdfast.ports.egress import Egress, Pass, Visits
from holdfast.ports.secrets import Terms
from holdfast.ports.tools import Job, Tool
from holdfast.ports.vault import Vault
from holdfast.runtime.pushes import TOOL, Pushes

Now = Callable[[], Ways]
"""What may be reached by the configuration that is in force now."""


Bearer = Callable[[str, Reach], Awaitable[str]]
"""The token that counts now of the login of that name, for who is on the way."""

_MINUTE = 60_000


def gateway(lent: Lent, visits: Visits, clock: Clock) -> Gateway:
    """Secrets for headers are used as the agent that makes the request, and counted so."""
    return Gateway(secret=lent.secret, log=visits, clock=clock)


class Lent:
    """Secrets for headers. One question to a server of tools, or to an agent elsewhere, is several
    requests: what a task puts in for one counts as one use a minute. `bearers` give the tokens of
    logins, by how the names of those begin."""

    def __init__(self, safe: Keeper, clock: Clock) -> None:
        self._safe, self._clock = safe, clock
        self._lent: dict[tuple[str, str, str], tuple[str, Instant]] = {}
        self.bearers: dict[str, Bearer] = {}

    async def secret(self, name: str, reach: Reach) -> str:
        for begins, bearer in self.bearers.items():
            if name.startswith(begins):
                return await bearer(name.removeprefix(begins), reach)
        now, key = self._clock.now(), (name, reach.task, reach.tool)
        value, until = self._lent.get(key, ("", 0))
        if now < until:
            return value
        value = await self._safe.use(name, agent=reach.agent, task=reach.task, tool=reach.tool)
        if reach.tool.startswith(("mcp:", "peer:")):
            self._lent = {one: lent for one, lent in self._lent.items() if now < lent[1]}
            self._lent[key] = value, now + _MINUTE
        return value


class Outside:
    """What of the house may go out, by whom, with which secrets."""

    def __init__(self, egress: Egress, now: Now, safe: Keeper) -> None:
        self.egress, self.now, self.safe = egress, now, safe

    def of_box(self, box: Box, owner: str) -> AbstractAsyncContextManager[Pass] | None:
        """How a task's box gets a network: not at all, if there is nothing that it may reach.

        The box of a server belongs to `TASK mcp NAME`, and goes where the tool `mcp:NAME` may; that
        of another agent to `TASK acp NAME CALL`.
        """
        task, *who = owner.split(" ")
        tool = ":".join(who[:2]) if who[:1] in (["mcp"], ["acp"]) else "exec"
        reach = self.now().reach(task=task, agent=box.spec.agent, tool=tool, box=True)
        return connected(box, self.egress, reach) if reach.allowed else None

    def of_tool(self, job: Job, tool: str) -> Reach:
        return self.now().reach(task=job.task, agent=job.agent, tool=tool)


def tools_of_the_web(config: Config, out: Outside, environment: Mapping[str, str]) -> list[Tool]:
    web = config.web
    settings = WebSettings(
        engines=web.engines,
        preferred=web.preferred,
        seconds=web.seconds,
        search={name: EngineSettings(**one.model_dump()) for name, one in web.search.items()},
        env=environment,
    )
    secret = partial(out.safe.reveal, tool="web_search")
    return web_tools(out.egress, out.of_tool, settings, secret)


def pushes_for(vault: Vault, egress: Egress, out: Outside) -> Pushes:
    """What others are told about their tasks goes wherever they said, by POST, and to a private
    address only where the configuration lets the tool `push`. No call of a task warrants it."""

    def reach(task: TaskId, agent: str) -> Reach:
        usual = out.now().reach(task=task, agent=agent, tool=TOOL)
        return replace(usual, web=True, methods=("POST",))

    return Pushes(vault, egress, reach, told)


@asynccontextmanager
async def browsers_for(config: Config, boxes: Boxes, out: Outside) -> AsyncGenerator[Browsers]:
    """All browsers of a house, until it closes. Each reaches what its agent may with `browser`."""

    @asynccontextmanager
    async def attach(box: Box, job: Job) -> AsyncGenerator[Pass | None]:
        # What a browser does within TLS cannot be seen: it may do all or nothing at a host.
        reach = replace(out.of_tool(job, "browser"), methods=())
        if not (reach.allowed or reach.web):
            yield None
            return
        async with connected(box, out.egress, reach) as passed:
            yield passed

    async def keep(name: str, value: str, job: Job) -> None:
        await out.safe.put(name, value, Terms(grants=(job.agent,)), by=job.task)

    world = World(
        boxes=boxes,
        attach=attach,
        keep=keep,
        reveal=partial(out.safe.reveal, tool="browser"),
        redact=out.safe.redact,
        shelf=config.home / "browsers",
        requires=config.box.requires,
    )
    options = BrowserOptions(**config.browser.model_dump())
    async with open_browsers(options, world) as browsers:
        yield browsers
