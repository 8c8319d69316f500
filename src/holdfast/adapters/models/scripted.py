"""A model in this process that says what it was told to say: for tests, benchmarks and the demo."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Self

import anyio.lowlevel
from msgspec.structs import replace

from holdfast.core.budget import Reservation
from holdfast.core.context import Prompt
from holdfast.core.error import Invalid
from holdfast.core.message import Reply
from holdfast.ports.model import Account, Delta, Model, ModelFailure, ToolSpec

from .paying import asked
from .reading import check_shape

Rule = Callable[[Prompt], Reply | ModelFailure]


class ScriptedModel:
    """Answers from a list, one after the other, or by a rule; costs nothing.

    A `ModelFailure` in the place of a reply is raised. A list that is used up is a failure
    (`invalid_request`, not retryable). `prompts` keeps what was asked, for tests to look at.
    """

    def __init__(
        self, script: Iterable[Reply | ModelFailure] | Rule, *, name: str = "scripted/script"
    ) -> None:
        self._name = name
        self._rule = script if callable(script) else _in_order(tuple(script))
        self.prompts: list[Prompt] = []

    @property
    def name(self) -> str:
        return self._name

    @property
    def window(self) -> int:
        return 0

    def reserve(self, prompt: Prompt, tools: tuple[ToolSpec, ...]) -> Reservation:
        return Reservation()

    async def ask(
        self,
        prompt: Prompt,
        tools: tuple[ToolSpec, ...],
        hear: Callable[[Delta], None],
    ) -> Reply:
        await anyio.lowlevel.checkpoint()
        self.prompts.append(prompt)
        reply = self._rule(prompt)
        if isinstance(reply, ModelFailure):
            raise reply
        tell(reply, hear)
        return _free(reply, self._name)


class OneModel:
    """A catalogue with a single model."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def find(self, name: str) -> Model:
        if name in {"", self._model.name}:
            return self._model
        raise Invalid(f"There is no model {name!r} here.", hint=f"use {self._model.name}")

    check_shape = staticmethod(check_shape)

    async def answer(
        self,
        name: str,
        prompt: Prompt,
        tools: tuple[ToolSpec, ...],
        hear: Callable[[Delta], None],
        account: Account,
    ) -> Reply:
        return await asked(self.find(name), prompt, tools, hear, account)

    async def close(self) -> None:
        """Nothing is open."""

    @classmethod
    def scripted(cls, script: Iterable[Reply | ModelFailure] | Rule) -> Self:
        return cls(ScriptedModel(script))


def tell(reply: Reply, hear: Callable[[Delta], None]) -> None:
    """Say a whole reply as deltas, in the order in which a provider would."""
    for thought in reply.thoughts:
        if thought.text:
            hear(Delta(thought=thought.text))
    if reply.text:
        hear(Delta(text=reply.text))
    for call in reply.calls:
        hear(Delta(call=call.tool))


def _in_order(script: tuple[Reply | ModelFailure, ...]) -> Rule:
    replies = iter(script)

    def rule(_: Prompt) -> Reply | ModelFailure:
        done = ModelFailure("invalid_request", "The script is used up.", retryable=False)
        return next(replies, done)

    return rule


def _free(reply: Reply, name: str) -> Reply:
    """With a name, and at no cost unless the script says one."""
    usage = replace(reply.usage, cost=reply.usage.cost or 0)
    return replace(reply, usage=usage, model=reply.model or name)
