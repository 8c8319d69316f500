"""What the tools that keep answers apart get from the house: a folder, and a model to read."""

from __future__ import annotations

import logging

from holdfast.adapters.tools.apart import Apart, Ask, Family, Question, Shelf
from holdfast.core.agent import Shape, Style
from holdfast.core.context import Prompt, room
from holdfast.core.error import Unavailable
from holdfast.core.ids import TaskId
from holdfast.core.message import PersonSaid
from holdfast.engine.ask import payer_of
from holdfast.engine.direct import DirectAccount
from holdfast.engine.record import Recorder
from holdfast.ports.clock import Clock
from holdfast.ports.ledger import Ledger
from holdfast.ports.model import Delta, ModelFailure, Models
from holdfast.ports.tools import Job, Tools
from holdfast.runtime.house import InForce
from holdfast.runtime.warrants import WarrantedTools, Warrants

from .given import Given

_log = logging.getLogger("holdfast.apart")
_MOST = 2_048
Asked = tuple[Recorder, Models, Ledger, Clock]
Under = tuple[Given, InForce, Warrants]


def kept_apart(tools: Tools, house: Under, asked: Asked) -> Tools:
    """All tools, each for its own call only, the answers of some kept apart as the policy says."""
    given, force, warrants = house
    shelf = Shelf(given.config.home / "apart", given.kept.secrets.redact, families(asked[0]))
    every = Apart(tools, shelf, reader(*asked), lambda: force.rules.apart)
    return WarrantedTools(every, warrants)


def families(recorder: Recorder) -> Family:
    """Who reads what a task kept apart: its conversation, and those who help in it."""

    async def family(task_id: TaskId) -> str:
        request = (await recorder.load(task_id)).request
        if request.session or request.parent is None:
            return request.session or task_id
        return await family(request.parent.task)

    return family


def reader(recorder: Recorder, models: Models, ledger: Ledger, clock: Clock) -> Ask:
    """Asks the model of the task's agent, without tools and without anything of the task; held
    under every budget above the task."""

    async def ask(job: Job, question: Question) -> tuple[str, int]:
        task = recorder.stream(job.task).task
        told, whole, schema = question
        text = whole[: room(task, models.find(task.request.agent.model).window)]
        shown = Prompt(
            system=told,
            entries=(PersonSaid(text=text),),
            saw=0,
            tools=False,
            style=Style(max_output=_MOST),
            shape=Shape(schema=dict(schema), name="values"),
            stream=False,
        )
        try:
            async with DirectAccount(ledger, clock, payer_of(task)) as account:
                reply = await models.answer(task.request.agent.model, shown, (), _unheard, account)
        except ModelFailure as failure:
            # A provider may say again what it was sent: that is for people, and for no task.
            _log.warning("nothing was read apart: %s", failure, extra={"task": job.task})
            message = f"the model that reads did not answer ({failure.code})"
            raise Unavailable(message, code=failure.code) from None
        return reply.text, len(text)

    return ask


def _unheard(_: Delta) -> None:
    """Nobody watches what is read apart."""
