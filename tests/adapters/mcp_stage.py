"""Servers of tools on a stage: plain boxes, real conversations, and one task that calls tools."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from holdfast.adapters.blobs.memory import MemoryBlobs
from holdfast.adapters.tools.mcp.asked import Sampling
from holdfast.adapters.tools.mcp.heard import Heard
from holdfast.adapters.tools.mcp.opening import World
from holdfast.adapters.tools.mcp.questions import Questions
from holdfast.adapters.tools.mcp.servers import Household, Servers, open_servers
from holdfast.adapters.tools.output import Spool
from holdfast.adapters.tools.steering import Steering
from holdfast.adapters.vaults.memory import MemoryVault
from holdfast.core.ids import CallId, TaskId
from holdfast.core.mcp import ServerSpec
from holdfast.core.message import Failed, Outcome, Returned
from holdfast.core.reach import Reach
from holdfast.ports.box import Boxes, BoxSpec
from holdfast.ports.egress import Egress
from holdfast.ports.tools import Job, Tool
from holdfast.testing import tool_server
from holdfast.testing.fake_clock import FakeClock
from holdfast.testing.fake_egress import FakeEgress
from holdfast.testing.plain_boxes import PlainBoxes

SECRET = "canary-in-a-remark"
SCRIPT = str(tool_server.__file__)


def scripted(mode: str = "honest", words: str = "", **more: Any) -> ServerSpec:
    """The test server, run by this Python."""
    command = (sys.executable, "-I", SCRIPT, mode, words)
    return ServerSpec(name="lab", command=command, **more)


class Stage:
    """One house's servers, and a task that uses them. `told` is what watchers heard."""

    def __init__(self, place: Path, boxes: Boxes, egress: Egress) -> None:
        self.home, self.workspace = place / "home", place / "workspace"
        for folder in (self.home, self.workspace):
            folder.mkdir(mode=0o700, exist_ok=True)
        self.boxes, self.egress = boxes, egress
        self.steering = Steering()
        self.configured: tuple[ServerSpec, ...] = ()
        self.told: list[str] = []
        self.rung: list[int] = []
        self.blobs = MemoryBlobs()
        self.secrets: dict[str, str] = {}
        self.vault = MemoryVault()
        self.questions = Questions(FakeClock(), lambda task, text: self.told.append(text))
        self.heard = Heard(FakeClock(), lambda text: text.replace(SECRET, "[***]"))
        self.sampled: list[Sampling] = []
        self.servers: Servers
        self.job = Job(task=TaskId("task_1"), call=CallId("c1_1"), workspace=self.workspace)

    def household(self) -> Household:
        async def reveal(name: str, job: Job, tool: str) -> str:
            return self.secrets[name]

        def box(spec: ServerSpec, job: Job) -> BoxSpec:
            workspace = self.home / "mcp" / spec.name if spec.shared else job.workspace
            return BoxSpec(workspace=workspace)

        async def reveal_login(name: str, server: str) -> str:
            return self.secrets[name]

        async def sample(spec: ServerSpec, job: Job, wanted: Sampling) -> tuple[str, str]:
            self.sampled.append(wanted)
            return "four", "scripted/model"

        world = World(
            boxes=self.boxes,
            egress=self.egress,
            reach=lambda job, tool: Reach(task=job.task, agent=job.agent, tool=tool, web=True),
            reveal=reveal,
            box=box,
            kept=self.steering.kept,
            questions=self.questions,
            heard=self.heard,
            sample=sample,
        )
        return Household(
            home=self.home,
            world=world,
            blobs=self.blobs,
            spool=Spool(self.home / "outputs", str),
            clock=FakeClock(),
            progress=lambda task, text: self.told.append(text),
            configured=lambda: self.configured,
            vault=self.vault,
            reveal=reveal_login,
            taken=frozenset({"read"}),
            agent="default",
            changed=lambda: self.rung.append(len(self.rung)),
        )

    async def trust(self, name: str = "lab") -> None:
        seen = await self.servers.inspect(name)
        await self.servers.trust(name, seen.digest)

    def tool(self, name: str) -> Tool:
        found = self.servers.get(name)
        assert found is not None, [tool.spec.name for tool in self.servers.usable()]
        return found

    async def run(self, name: str, /, *, task: str = "task_1", **arguments: Any) -> Outcome:
        job = replace(self.job, task=TaskId(task))
        outcome = await self.tool(name).run(arguments, job)
        assert not hasattr(outcome, "on")
        return outcome  # pyright: ignore[reportReturnType]

    async def says(self, name: str, /, **arguments: Any) -> str:
        outcome = await self.run(name, **arguments)
        assert isinstance(outcome, Returned), outcome
        return outcome.text

    async def fails(self, name: str, /, **arguments: Any) -> tuple[str, str]:
        outcome = await self.run(name, **arguments)
        assert isinstance(outcome, Failed), outcome
        return outcome.code, outcome.text


@asynccontextmanager
async def staged(
    place: Path,
    *specs: ServerSpec,
    boxes: Boxes | None = None,
    egress: Egress | None = None,
    trusted: bool = True,
) -> AsyncGenerator[Stage]:
    """A house with these servers configured, each looked at and agreed to if `trusted`."""
    stage = Stage(place, boxes or PlainBoxes(), egress or FakeEgress())
    stage.configured = specs
    async with open_servers(stage.household()) as stage.servers:
        for spec in specs if trusted else ():
            await stage.trust(spec.name)
        yield stage


@asynccontextmanager
async def again(stage: Stage) -> AsyncGenerator[Stage]:
    """The same home, after a restart."""
    async with open_servers(stage.household()) as stage.servers:
        yield stage


def inner(text: str) -> str:
    """What is between the marks of a stranger's words."""
    return text.split("---\n", 1)[1].rsplit("\n--- end of outside", 1)[0]
