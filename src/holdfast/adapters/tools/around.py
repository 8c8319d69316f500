"""A tool around another one: the ground of all that change something about any tool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.core.message import Change, Outcome
from holdfast.core.task import Wait
from holdfast.ports.model import ToolSpec
from holdfast.ports.tools import Job, Tool, Traits


class Around:
    """Says and does what the tool in it does, but for what whoever builds on it says anew."""

    def __init__(self, tool: Tool) -> None:
        self._tool = tool

    @property
    def spec(self) -> ToolSpec:
        return self._tool.spec

    @property
    def traits(self) -> Traits:
        return self._tool.traits

    def problem(self, arguments: Mapping[str, Any]) -> str:
        return self._tool.problem(arguments)

    async def before(self, arguments: Mapping[str, Any], job: Job) -> Sequence[Change]:
        return await self._tool.before(arguments, job)

    async def run(self, arguments: Mapping[str, Any], job: Job) -> Outcome | Wait:
        return await self._tool.run(arguments, job)

    async def check(
        self, arguments: Mapping[str, Any], before: Sequence[Change], job: Job
    ) -> Outcome | None:
        return await self._tool.check(arguments, before, job)
