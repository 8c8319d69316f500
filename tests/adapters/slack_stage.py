"""Slack's tools and logins at work with Slack on this machine, by the real way out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from holdfast.adapters.egress.gateway import Gateway
from holdfast.adapters.tools.output import Spool
from holdfast.adapters.tools.slack.calling import Calls
from holdfast.adapters.tools.slack.kit import OfSlack, slack_tools
from holdfast.adapters.tools.slack.shelf import PLACE
from holdfast.adapters.tools.slack.workspaces import Means, Workspace, Workspaces
from holdfast.adapters.vaults.memory import MemoryVault
from holdfast.core.ids import CallId, TaskId
from holdfast.core.message import Failed, Outcome, Returned
from holdfast.core.reach import Reach
from holdfast.ports.tools import Job
from holdfast.testing.fake_clock import FakeClock
from holdfast.testing.fake_slack import CLIENT, SECRET, FakeSlack
from holdfast.testing.fake_visits import FakeVisits


class Stage:
    """A house's side of Slack, with a clock and a vault that a test can look at."""

    def __init__(
        self,
        slack: FakeSlack,
        folder: Path,
        *,
        agents: tuple[str, ...] = ("*",),
        vault: MemoryVault | None = None,
        clock: FakeClock | None = None,
    ) -> None:
        self.slack, self.clock, self.vault = slack, clock or FakeClock(), vault or MemoryVault()
        self.visits, self.slept = FakeVisits(), list[float]()
        egress = Gateway(secret=self._secret, log=self.visits, clock=self.clock)
        means = Means(
            vault=self.vault,
            egress=egress,
            clock=self.clock,
            reach=lambda: Reach(task="look_1", agent="default", tool="slack"),
            api=slack.api,
        )
        self.workspaces = Workspaces(means)
        calls = Calls(self.workspaces, egress, _reach, agents, sleep=self._sleep)
        self.offered = OfSlack(
            self.workspaces, slack_tools(calls, Spool(folder, lambda text: text))
        )
        task = self.clock.new_id("task")
        self.job = Job(task=TaskId(task), call=CallId("c1_1"), workspace=Path("/nowhere"))

    async def log_in(self, alias: str = "default", **more: Any) -> Workspace:
        told = {"client_id": CLIENT, "client_secret": SECRET, **more}
        begun = await self.workspaces.begin(alias, told)
        return await self.workspaces.finish(begun.attempt, self.slack.agree(begun.authorize))

    async def run(self, name: str, **arguments: Any) -> Outcome:
        tool = self.offered.get(name)
        assert tool is not None, f"there is no {name}"
        with anyio.fail_after(30):
            out = await tool.run(arguments, self.job)
        assert not hasattr(out, "task"), out
        return out  # pyright: ignore[reportReturnType]

    async def says(self, name: str, **arguments: Any) -> str:
        out = await self.run(name, **arguments)
        assert isinstance(out, Returned), out
        return out.text

    async def fails(self, name: str, **arguments: Any) -> tuple[str, str]:
        out = await self.run(name, **arguments)
        assert isinstance(out, Failed), out
        return out.code, out.text

    async def check(self, name: str, **arguments: Any) -> Outcome | None:
        tool = self.offered.get(name)
        assert tool is not None
        return await tool.check(arguments, (), self.job)

    async def _secret(self, name: str, reach: Reach) -> str:
        return await self.workspaces.token(name.removeprefix(PLACE), reach)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def _reach(job: Job, tool: str) -> Reach:
    return Reach(task=job.task, agent=job.agent, tool=tool)


@asynccontextmanager
async def logged_in(folder: Path, *, seconds: int = 43_200) -> AsyncGenerator[Stage]:
    """A stage with one workspace connected."""
    with FakeSlack(seconds=seconds) as slack:
        stage = Stage(slack, folder)
        await stage.log_in()
        yield stage
