"""The tool with which the house raises a budget after a person has said yes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from holdfast.core.error import Refused
from holdfast.core.message import Change, EffectClass, Failed, Outcome, Returned
from holdfast.core.task import TOP_UP, Wait
from holdfast.ports.ledger import Ledger, Used
from holdfast.ports.model import ToolSpec
from holdfast.ports.tools import Job, Traits

_KINDS = ("cost", "tokens", "calls")


class TopUp:
    """Raises the budget that a task ran into. No model is ever offered it.

    A task's own limit is raised by the event that settles the call; running it twice raises once.
    `resume` lets the other tasks go on that wait for the same budget.
    """

    def __init__(self, ledger: Ledger, resume: Callable[[str], Awaitable[None]]) -> None:
        self._ledger, self._resume = ledger, resume

    @property
    def spec(self) -> ToolSpec:
        return ToolSpec(name=TOP_UP, description="Raise a budget.", schema={"type": "object"})

    @property
    def traits(self) -> Traits:
        return Traits(effect=EffectClass.REPEATABLE, target="budget")

    def problem(self, arguments: Mapping[str, Any]) -> str:
        return "" if isinstance(arguments.get("budget"), str) else "which budget?"

    async def before(self, arguments: Mapping[str, Any], job: Job) -> Sequence[Change]:
        return ()

    async def check(
        self, arguments: Mapping[str, Any], before: Sequence[Change], job: Job
    ) -> Outcome | None:
        return None

    async def run(self, arguments: Mapping[str, Any], job: Job) -> Outcome | Wait:
        budget = str(arguments["budget"])
        if budget == "task":
            return Returned(text="the limit of this task is raised")
        more = Used(**{kind: int(arguments.get(kind, 0)) for kind in _KINDS})
        try:
            await self._ledger.top_up(budget, more, by=job.task, once=f"{job.task}/{job.call}")
        except Refused as refused:
            return Failed(text=str(refused), code=refused.code)
        await self._resume(budget)
        return Returned(text=f"{budget} is raised")
