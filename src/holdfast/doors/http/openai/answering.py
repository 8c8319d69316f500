"""Who answers: a plain model, asked straight, or an agent through its task."""

from __future__ import annotations

from functools import partial

import anyio
from msgspec.structs import replace

from holdfast.core.context import Prompt
from holdfast.core.error import HoldfastError, Invalid
from holdfast.core.message import Reply
from holdfast.doors.http.errors import Unanswered
from holdfast.ports.ledger import Payer
from holdfast.ports.model import Delta, ModelFailure
from holdfast.runtime import models
from holdfast.runtime.house import House

from . import agents
from .errors import Misshapen, NoSuchModel, Wrong
from .stream import Among, Hear, Work
from .wanted import Answer, Wanted


async def ready(house: House, wanted: Wanted, by: str) -> Work:
    """What gives the answer. An agent's task is in the queue when this returns."""
    if not wanted.model.startswith(agents.PREFIX):
        try:
            house.models.find(wanted.model)
        except Invalid as error:
            raise NoSuchModel(str(error), hint=error.hint) from None
        return several(partial(ask, house, wanted, by), wanted.count)
    row = await agents.submit(house, wanted, by)
    return lambda hear: agents.follow(house, row, wanted, hear)


async def ask(house: House, wanted: Wanted, by: str, hear: Hear) -> Answer:
    """One reply of a plain model; calls are given back, not run."""
    prompt = Prompt(
        system=wanted.system,
        entries=wanted.entries,
        saw=0,
        style=wanted.style,
        shape=wanted.shape,
        stream=wanted.stream,
        choice=wanted.choice,
        parallel=wanted.parallel,
    )
    words = _Words(hear, held=wanted.shape is not None)
    payer = Payer(by=by, role="executor")
    tools = () if wanted.choice == "none" else wanted.tools
    try:
        reply = await models.ask(house, wanted.model, prompt, tools, payer=payer, hear=words.hear)
    except ModelFailure as failure:
        raise Unanswered(failure) from failure
    _check(reply, strict=bool(wanted.shape and wanted.shape.strict))
    if wanted.style.logprobs is not None and reply.text and not reply.logprobs:
        what = f"'logprobs': {reply.model} does not say how likely its words are."
        raise Wrong(what, param="logprobs", code="unsupported_parameter")
    thought = "\n\n".join(thought.text for thought in reply.thoughts if thought.text)
    words.end(reply.text, thought)
    return Answer(
        text=reply.text,
        model=reply.model,
        thought=thought,
        calls=reply.calls,
        usage=reply.usage,
        finish=reply.finish,
        odds=reply.logprobs,
    )


def several(one: Work, count: int) -> Work:
    """The same asked `count` times at once: the first answer, with the others beside it.

    Each is a call of its own, under the same budgets; one that fails breaks the others off.
    """
    if count == 1:
        return one

    async def all_of_them(hear: Hear) -> Answer:
        found: dict[int, Answer] = {}
        failed: list[HoldfastError] = []

        async def ask_once(place: int) -> None:
            try:
                found[place] = await one(lambda piece: hear(Among(place=place, piece=piece)))
            except HoldfastError as error:
                failed.append(error)
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for place in range(count):
                group.start_soon(ask_once, place)
        if failed:
            raise failed[0]
        return replace(found[0], others=tuple(found[place] for place in range(1, count)))

    return all_of_them


def _check(reply: Reply, *, strict: bool) -> None:
    if reply.problem and strict and reply.finish != "length":
        raise Misshapen(f"{reply.model} did not answer in the shape asked for: {reply.problem}")
    for call in reply.calls:
        if call.problem:
            raise Misshapen(f"{reply.model} called {call.tool} wrongly: {call.problem}")


class _Words:
    """Passes words on as they come. What was begun anew after some were passed on is held back:

    it only counts if it begins with the same words. All are held where the whole is made fit.
    """

    def __init__(self, hear: Hear, *, held: bool) -> None:
        self._hear, self._held, self._reset = hear, held, False
        self._said, self._thought = "", False

    def hear(self, delta: Delta) -> None:
        self._reset |= delta.reset and bool(self._said)
        if delta.thought and not self._reset:
            self._thought = True
            self._hear(Delta(thought=delta.thought))
        if delta.text and not self._held and not self._reset:
            self._said += delta.text
            self._hear(Delta(text=delta.text))

    def end(self, text: str, thought: str) -> None:
        if thought and not self._thought and not self._said:
            self._hear(Delta(thought=thought))
        if text.startswith(self._said):
            if rest := text[len(self._said) :]:
                self._hear(Delta(text=rest))
        elif self._reset:
            raise Misshapen("the reply broke off and was begun anew: ask again")
