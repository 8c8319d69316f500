"""Tools of whoever submits a task: a call of one waits until they say what it gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from holdfast.core.message import Change, EffectClass, Outcome
from holdfast.core.task import Human, Lent, Task, Wait
from holdfast.ports.model import ToolSpec
from holdfast.ports.tools import Job, Tools, Traits

from .registry import Registry, Together

SOURCE = "client"
_ABOUT = "A tool of the program that gave you this task."


def lending(tools: Tools) -> Callable[[Task], Tools]:
    """The tools of a task: all there are, and those that its submitter lends it."""

    def of(task: Task) -> Tools:
        lent = task.request.lent
        return Together(tools, Registry(map(LentTool, lent))) if lent else tools

    return of


class LentTool:
    """A `Tool` that does nothing here: its submitter sees the call, and runs it or does not.

    So it only reads, as far as the house goes; but whatever no person has said in its arguments
    is looked at, for what the page does with them is done in the name of its user.
    """

    def __init__(self, lent: Lent) -> None:
        schema: dict[str, Any] = {"type": "object", "properties": {}, **lent.schema}
        self._spec = ToolSpec(name=lent.name, description=lent.description or _ABOUT, schema=schema)
        self._traits = Traits(effect=EffectClass.READS, source=SOURCE, aims=("*",))

    @property
    def spec(self) -> ToolSpec:
        return self._spec

    @property
    def traits(self) -> Traits:
        return self._traits

    def problem(self, arguments: Mapping[str, Any]) -> str:
        """Only what is plain: its owner checks the rest."""
        schema = self._spec.schema
        required = cast("Sequence[str]", schema.get("required", ()))
        if missing := [name for name in required if name not in arguments]:
            return f"{self._spec.name}: {', '.join(missing)} is missing"
        known = cast("Mapping[str, Any]", schema["properties"])
        closed = known and schema.get("additionalProperties", False) is False
        if closed and (strange := sorted(arguments.keys() - known.keys())):
            return f"{self._spec.name}: it has no {strange[0]} (it takes {', '.join(known)})"
        return ""

    async def before(self, arguments: Mapping[str, Any], job: Job) -> Sequence[Change]:
        return ()

    async def run(self, arguments: Mapping[str, Any], job: Job) -> Outcome | Wait:
        return Human(question=f"The client is to run {self._spec.name} and say what it gave.")

    async def check(
        self, arguments: Mapping[str, Any], before: Sequence[Change], job: Job
    ) -> Outcome | None:
        return None
