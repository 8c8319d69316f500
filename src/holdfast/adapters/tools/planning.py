"""The tool with which a model says, before it reads anything, what it is going to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct, to_builtins

from holdfast.core.gate.plan import PLAN, laid_out, planned
from holdfast.core.message import EffectClass, Outcome, Returned
from holdfast.ports.tools import Job, Tool, Tools, Traits

from .craft import Craft

_ARGUMENTS = (
    'For each argument its value; or {"from": 1, "field": "email"} for what step 1 will answer '
    '(with "where": {"title": "Lunch"}, "most" or "least": "size" to say which of several, '
    '"each": true for all of them); or {"text": "what about"} for words, {"number": "which"} for '
    "a number, date or time that you will work out. In a list, each item likewise."
)


class PlannedStep(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One call."""

    tool: Annotated[str, Meta(description="The tool that will be called.", min_length=1)]
    arguments: Annotated[dict[str, Any], Meta(description=_ARGUMENTS)] = {}


class Planning(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Say which calls the task will take, before you read anything from outside: mails, files,
    pages, answers of servers. What was planned needs fewer questions to a person afterwards. Steps
    with tools that only read count too, where a later step takes values from them. Later, a plan
    with every value written out is one question to a person instead of one for each call.
    """

    steps: Annotated[list[PlannedStep], Meta(min_length=1, max_length=100)]


def plan_tool() -> Tool:
    async def note(asked: Planning, job: Job) -> Outcome:
        told = laid_out(planned(to_builtins(asked)))
        counts = "it counts if nothing from outside was read before it, or a person agreed to it"
        return Returned(text=f"The plan; {counts}:\n{told}")

    def wrong(asked: Planning) -> str:
        try:
            planned(to_builtins(asked))
        except ValueError as error:
            return str(error)
        return ""

    traits = Traits(effect=EffectClass.READS, target="steps", aims=("*",))
    return Craft(PLAN, Planning, traits, note).vetted(wrong)


class WithPlan:
    """`ports.Tools` of strangers, with the tool to plan beside them once one reaches outside."""

    def __init__(self, tools: Tools) -> None:
        self._tools, self._plan = tools, plan_tool()

    def get(self, name: str) -> Tool | None:
        return self._plan if name == PLAN else self._tools.get(name)

    def all(self) -> Sequence[Tool]:
        found = self._tools.all()
        return (self._plan, *found) if any(tool.traits.aims for tool in found) else found
