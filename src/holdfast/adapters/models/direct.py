"""The model of a task with one call: it proposes exactly the call that was asked for, and no more.

So a tool that a person or a program calls by itself goes the way of every other call: judged,
written down, asked about, found again after a crash. It asks nobody and costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio.lowlevel
import msgspec

from holdfast.core.agent import Shape
from holdfast.core.budget import Reservation
from holdfast.core.context import Prompt
from holdfast.core.ids import CallId
from holdfast.core.message import (
    ModelSaid,
    PersonSaid,
    Reply,
    Returned,
    ToolAnswered,
    ToolCall,
    Usage,
    words,
)
from holdfast.ports.model import Account, Delta, Model, ModelFailure, Models, ToolSpec

from .paying import asked
from .scripted import tell

_FREE = Usage(cost=0)


class DirectModel:
    """Implements `ports.Model`. The prompt is the call: a tool, a blank, its arguments as JSON."""

    window = 0

    def __init__(self, name: str) -> None:
        self.name = name

    def reserve(self, prompt: Prompt, tools: tuple[ToolSpec, ...]) -> Reservation:
        return Reservation()

    async def ask(
        self, prompt: Prompt, tools: tuple[ToolSpec, ...], hear: Callable[[Delta], None]
    ) -> Reply:
        await anyio.lowlevel.checkpoint()
        reply = self._answer(prompt)
        tell(reply, hear)
        return reply

    def _answer(self, prompt: Prompt) -> Reply:
        """The call; once it has its outcome, that. What was not done fails the task."""
        outcomes = [one.outcome for one in prompt.entries if isinstance(one, ToolAnswered)]
        if outcomes:
            if not isinstance(outcomes[-1], Returned):
                told = words(outcomes[-1])
                raise ModelFailure("not_done", told, retryable=False, paid=False)
            return Reply(text=words(outcomes[-1]), usage=_FREE, model=self.name)
        said = [one.text for one in prompt.entries if isinstance(one, PersonSaid)]
        try:
            tool, _, given = (said[0] if said else "").partition(" ")
            arguments = msgspec.json.decode(given, type=dict[str, Any])
        except msgspec.DecodeError as error:
            what = f"{self.name} is given a tool and its arguments as JSON, and no words: {error}"
            raise ModelFailure("needs_model", what, retryable=False, paid=False) from error
        turn = sum(isinstance(one, ModelSaid) for one in prompt.entries) + 1
        made = ToolCall(id=CallId(f"direct{turn}"), tool=tool, arguments=arguments)
        return Reply(calls=(made,), usage=_FREE, model=self.name, finish="calls")


class WithDirect:
    """Implements `ports.Models`: one more model of that name beside others."""

    def __init__(self, models: Models, name: str) -> None:
        self._models, self._direct = models, DirectModel(name)

    def find(self, name: str) -> Model:
        return self._direct if name == self._direct.name else self._models.find(name)

    async def answer(
        self,
        name: str,
        prompt: Prompt,
        tools: tuple[ToolSpec, ...],
        hear: Callable[[Delta], None],
        account: Account,
    ) -> Reply:
        if name == self._direct.name:
            return await asked(self._direct, prompt, tools, hear, account)
        return await self._models.answer(name, prompt, tools, hear, account)

    async def check_shape(self, shape: Shape) -> None:
        await self._models.check_shape(shape)

    async def close(self) -> None:
        await self._models.close()
