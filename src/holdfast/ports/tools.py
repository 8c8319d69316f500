"""What an agent can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from holdfast.core.ids import CallId, TaskId
from holdfast.core.message import Change, EffectClass, Outcome
from holdfast.core.task import Wait

from .model import ToolSpec


class Traits(Struct, frozen=True, kw_only=True):
    """A tool's word about itself.

    `effect`: what a second run would do. `checkable`: `check` can tell what an interrupted run
    did. `stable`: the same arguments give the same result until something is changed. `target`:
    the argument that policy looks at; for a tool that works on files, `paths` are the arguments
    that name them, and policy looks at all of these. `secrets`: the arguments in which
    `$SECRET{name}` is filled in, dotted for nested ones; what is below a named one counts too.
    `source`: where its answers come from (`file`, `web`, `mcp:NAME`, …; `web:HOST` for the host
    in `target`), empty for the house itself. `aims`: the arguments that decide what it does beyond
    the box, `*` for all. `agents`: shell patterns of those who may use it.
    """

    effect: EffectClass
    checkable: bool = False
    stable: bool = False
    target: str = ""
    paths: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    source: str = ""
    aims: tuple[str, ...] = ()
    agents: tuple[str, ...] = ("*",)


class Job(Struct, frozen=True, kw_only=True):
    """For whom a tool works: the task, the call, its folder, its agent, and who started it.

    `secrets`: the names of those whose values are in the arguments of this run.
    """

    task: TaskId
    call: CallId
    workspace: Path
    agent: str = "default"
    by: str = ""
    unattended: bool = False
    secrets: tuple[str, ...] = ()


class Tool(Protocol):
    """One thing an agent can do. Registered alike whether ours or a stranger's."""

    @property
    def spec(self) -> ToolSpec: ...

    @property
    def traits(self) -> Traits: ...

    def problem(self, arguments: Mapping[str, Any]) -> str:
        """Why these arguments cannot be run, as a sentence for the model; empty if they can."""
        ...

    async def before(self, arguments: Mapping[str, Any], job: Job) -> Sequence[Change]:
        """What the run may change, kept as blobs. Called before the call is started."""
        ...

    async def run(self, arguments: Mapping[str, Any], job: Job) -> Outcome | Wait:
        """Do it. May be cancelled at any time; leaves nothing running and nothing half-written."""
        ...

    async def check(
        self, arguments: Mapping[str, Any], before: Sequence[Change], job: Job
    ) -> Outcome | None:
        """What an interrupted run did: its outcome, or None if it did not happen."""
        ...


class Tools(Protocol):
    """All tools there are."""

    def get(self, name: str) -> Tool | None: ...

    def all(self) -> Sequence[Tool]: ...
