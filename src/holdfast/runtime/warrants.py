"""Nothing acts without a warrant: a call of the task that, by the journal, is under way.

Whoever holds a tool, the boxes, the way out or the secrets of a house holds them through here, so
a path that forgot the gate ends in a refusal and not in an act. The warrant is no object that one
could make: it is the state of the call, and only the recorder moves that.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from msgspec import Struct

from holdfast.core.error import NotAllowed
from holdfast.core.gate.policy import Deny
from holdfast.core.ids import TaskId
from holdfast.core.message import Change, Outcome
from holdfast.core.reference import named
from holdfast.core.task import CallState, OpenCall, Task, Wait
from holdfast.ports.box import Box, Boxes, BoxSpec, Capabilities, Lodger
from holdfast.ports.egress import Answer, Egress, Pass, Reach, Request
from holdfast.ports.model import ToolSpec
from holdfast.ports.secrets import Secrets
from holdfast.ports.tools import Job, Tool, Tools, Traits

Stand = Callable[[TaskId], Task]
"""How a task stands by the journal; an empty one if it is not at work here."""

LOOK = "look_"
"""How the house calls it when a person has it look at a server of tools: no task, and no call."""

_ACTING = frozenset({CallState.STARTED, CallState.DOUBTED})
_KNOWN = 4_096


class Warrants:
    """Says whether something may be done for a task now. Raises `NotAllowed`, code `no_warrant`."""

    def __init__(self, stand: Stand) -> None:
        self._stand = stand
        self._conversations: OrderedDict[tuple[str, str], None] = OrderedDict()

    def call(self, job: Job, tool: str, *states: CallState) -> OpenCall:
        """The call that `job` is for, if it is a call of this tool in one of these states."""
        opened = self._stand(job.task).calls.get(job.call)
        if opened is None or opened.state not in states or opened.call.tool != tool:
            raise _unwarranted(f"{tool} was to run for call {job.call} of {job.task}")
        if isinstance(opened.verdict, Deny):
            raise _unwarranted(f"{tool} was to run although it was denied")
        return opened

    def task(self, owner: str, what: str) -> None:
        """`owner` (a task, and perhaps what of it) has a call under way, or is a look."""
        task, _, more = owner.partition(" ")
        if task.startswith(LOOK) and more.startswith("mcp "):
            return
        calls = self._stand(TaskId(task)).calls.values()
        if not any(one.state in _ACTING and not isinstance(one.verdict, Deny) for one in calls):
            raise _unwarranted(f"{what} was wanted for {task}")

    def secret(self, name: str, task: str, tool: str) -> None:
        """A call of the tool is under way and names the secret."""
        calls = self._stand(TaskId(task)).calls.values()
        if not any(
            one.state is CallState.STARTED
            and one.call.tool == tool
            and name in named(one.call.arguments)
            for one in calls
        ):
            raise _unwarranted(f"the secret {name} was wanted by {tool} for {task}")

    def errand(self, reach: Reach) -> None:
        """A request of our own. A conversation that a call has begun outlives it: its server is
        also told of the end, and answers several tasks where it is shared."""
        if not reach.tool.startswith(("mcp:", "peer:")):
            self.task(reach.task, f"a request by {reach.tool}")
            return
        key = reach.task, reach.tool
        if key not in self._conversations:
            self.task(f"{reach.task} mcp {reach.tool}", f"a request by {reach.tool}")
            self._conversations[key] = None
        self._conversations.move_to_end(key)
        if len(self._conversations) > _KNOWN:
            self._conversations.popitem(last=False)


def _unwarranted(what: str) -> NotAllowed:
    hint = "this is a fault in Holdfast, which stopped at the last gate: please report it"
    return NotAllowed(f"{what}, and no such call is under way", code="no_warrant", hint=hint)


class WarrantedTools:
    """A `Tools` whose bodies run only for the call that they are run for."""

    def __init__(self, tools: Tools, warrants: Warrants) -> None:
        self._tools, self._warrants = tools, warrants

    def get(self, name: str) -> Tool | None:
        tool = self._tools.get(name)
        return WarrantedTool(tool, self._warrants) if tool is not None else None

    def all(self) -> Sequence[Tool]:
        return self._tools.all()


class WarrantedTool(Struct, frozen=True):
    """A `Tool` that asks for its warrant first."""

    tool: Tool
    warrants: Warrants

    @property
    def spec(self) -> ToolSpec:
        return self.tool.spec

    @property
    def traits(self) -> Traits:
        return self.tool.traits

    def problem(self, arguments: Mapping[str, Any]) -> str:
        return self.tool.problem(arguments)

    async def before(self, arguments: Mapping[str, Any], job: Job) -> Sequence[Change]:
        self.warrants.call(job, self.spec.name, CallState.ALLOWED)
        return await self.tool.before(arguments, job)

    async def run(self, arguments: Mapping[str, Any], job: Job) -> Outcome | Wait:
        self.warrants.call(job, self.spec.name, CallState.STARTED)
        return await self.tool.run(arguments, job)

    async def check(
        self, arguments: Mapping[str, Any], before: Sequence[Change], job: Job
    ) -> Outcome | None:
        self.warrants.call(job, self.spec.name, CallState.DOUBTED)
        return await self.tool.check(arguments, before, job)


class WarrantedBoxes:
    """A `Boxes` that lends to tasks with a call under way. The house itself needs none."""

    def __init__(self, boxes: Boxes, warrants: Warrants) -> None:
        self._boxes, self._warrants = boxes, warrants

    def lend(self, owner: str, spec: BoxSpec) -> AbstractAsyncContextManager[Box]:
        self._warrants.task(owner, "a box")
        return self._boxes.lend(owner, spec)

    async def release(self, owner: str) -> None:
        await self._boxes.release(owner)

    async def all(self) -> Sequence[Lodger]:
        return await self._boxes.all()

    async def probe(self) -> Capabilities:
        return await self._boxes.probe()

    async def run(self) -> None:
        await self._boxes.run()

    async def close(self) -> None:
        await self._boxes.close()


class WarrantedEgress:
    """An `Egress` for our own requests. A box gets its way out together with the box itself."""

    def __init__(self, egress: Egress, warrants: Warrants) -> None:
        self._egress, self._warrants = egress, warrants
        self.serve: Callable[..., AbstractAsyncContextManager[Pass]] = egress.serve

    async def fetch(self, request: Request, reach: Reach) -> Answer:
        self._warrants.errand(reach)
        return await self._egress.fetch(request, reach)


class WarrantedSecrets:
    """The `Secrets` that the engine fills in: only for a call under way that names them."""

    def __init__(self, secrets: Secrets, warrants: Warrants) -> None:
        self._secrets, self._warrants = secrets, warrants
        self.names, self.put, self.generate = secrets.names, secrets.put, secrets.generate
        self.redact, self.clean = secrets.redact, secrets.clean

    async def use(self, name: str, *, agent: str, task: str, tool: str) -> str:
        self._warrants.secret(name, task, tool)
        return await self._secrets.use(name, agent=agent, task=task, tool=tool)
