"""Agents as models: a request is a task in the queue, and its answer the answer."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import asdict, replace

from holdfast.core.agent import Agent, Style
from holdfast.core.ids import SessionId, TaskId
from holdfast.core.message import Entry, ModelSaid, PersonSaid, Returned, ToolAnswered, Usage, words
from holdfast.core.task import Request, Status
from holdfast.core.view import Summary
from holdfast.ports.model import Delta
from holdfast.runtime import attend as runtime
from holdfast.runtime import tasks
from holdfast.runtime.attend import Heard, Settled, Spoke
from holdfast.runtime.house import House
from holdfast.runtime.owners import session_of_user, within_own

from .errors import NoSuchModel, TaskFailed, Wrong
from .stream import Hear, Piece
from .wanted import Answer, Used, Wanted

PREFIX = "agent:"
_CLIENT = ("client",)
"""Where the words come from that a client says its model, or its tools, once said."""
_LOOK = "See what is attached."


def names(house: House) -> tuple[str, ...]:
    """The agents there are, as models."""
    return tuple(dict.fromkeys((f"{PREFIX}default", f"{PREFIX}{house.agent.name}")))


async def submit(house: House, wanted: Wanted, by: str) -> Summary:
    """The task that a conversation is. Raises `NoSuchModel`, `Wrong`, and what `submit` raises."""
    if wanted.model not in names(house):
        there = " and ".join(names(house))
        raise NoSuchModel(f"There is no agent {wanted.model!r}; there is {there}.")
    if wanted.tools and wanted.choice != "none":
        hint = "leave 'tools' out, or ask a plain model, which gives the calls back"
        raise Wrong("An agent uses the tools of its own house.", param="tools", hint=hint)
    if wanted.count > 1:
        what = "'n': an agent works on one answer; ask again for another."
        raise Wrong(what, param="n", code="unsupported_parameter")
    if wanted.style.logprobs is not None:
        what = "'logprobs': an agent says them of no answer; ask a plain model."
        raise Wrong(what, param="logprobs", code="unsupported_parameter")
    last = wanted.entries[-1] if wanted.entries else None
    if not isinstance(last, PersonSaid):
        raise Wrong("The last message must be the user's.", param="messages")
    session = session_of_user(by, wanted.user) if wanted.user else SessionId("")
    request = Request(
        prompt=last.text if last.text.strip() or not last.files else _LOOK,
        agent=_agent(house.agent, wanted),
        by=by,
        session=session,
        workspace=str(house.home / "workspace"),
        key=f"openai:{wanted.key}" if wanted.key else "",
        files=last.files,
        history=_history(wanted.entries[:-1]),
    )
    return await tasks.submit(house, within_own(request))


async def follow(house: House, row: Summary, wanted: Wanted, hear: Hear) -> Answer:
    """The answer of a task. Whoever stops waiting cancels it."""
    telling = Telling(hear, held=wanted.shape is not None)
    row = await runtime.attend(house, row.id, telling.hear, by=row.by)
    return telling.answer(row, wanted.model)


async def watch(house: House, task: TaskId, model: str, hear: Hear, *, shaped: bool) -> Answer:
    """The same of one that goes on whoever leaves: all that happened to it, and what happens.

    Nothing is heard of its thoughts: they are not in the journal as they were thought.
    """

    def said(piece: Piece) -> None:
        if not (isinstance(piece, Delta) and piece.thought):
            hear(piece)

    telling = Telling(said, held=shaped)
    row = await runtime.attend(house, task, telling.hear, by="", keep=True)
    return telling.answer(row, model)


async def so_far(
    house: House, task: TaskId, model: str, hear: Hear, *, shaped: bool
) -> tuple[Summary, Answer | None]:
    """How a task stands, and its answer if it has one; what it did is heard as if it were now."""
    telling = Telling(hear, held=shaped)
    row = await tasks.show(house, task)
    for heard in await runtime.story(house, task):
        telling.hear(heard)
    return row, telling.answer(row, model) if row.status is Status.SUCCEEDED else None


class Telling:
    """What happens to a task as pieces of one answer: the words of all turns, and the calls.

    What a model began to say and never finished cannot be taken back; the turn as it was kept
    then follows whole. Words are `held` back where only the last ones have the wanted shape.
    """

    def __init__(self, hear: Hear, *, held: bool) -> None:
        self._hear, self._held = hear, held
        self._turn, self._said, self._reset = "", False, False
        self._used: dict[str, Used] = {}
        self._usage = Usage()

    def hear(self, heard: Heard) -> None:
        match heard:
            case Delta():
                self._piece(heard)
            case Spoke():
                self._spoke(heard)
            case Settled():
                if (used := self._used.get(heard.call)) is not None:
                    state = type(heard.outcome).__name__.lower()
                    self._tell(replace(used, state=state, text=words(heard.outcome)))

    def answer(self, row: Summary, model: str) -> Answer:
        """The whole answer. Raises `TaskFailed`."""
        if row.status is not Status.SUCCEEDED:
            why = row.fault.message if row.fault else "it was stopped"
            code = f" [{row.fault.code}]" if row.fault else ""
            hint = f"holdfast task show {row.id}"
            raise TaskFailed(f"The task ended as {row.status}: {why}{code}", hint=hint)
        if self._held or not self._said:
            self._hear(Delta(text=row.answer or ""))
        return Answer(
            text=row.answer or "",
            model=model,
            usage=self._usage,
            task=row.id,
            used=tuple(self._used.values()),
        )

    def _piece(self, delta: Delta) -> None:
        self._reset |= delta.reset and bool(self._turn)
        if delta.thought:
            self._hear(Delta(thought=delta.thought))
        if delta.text and not self._reset and not self._held:
            self._say(delta.text)

    def _say(self, text: str) -> None:
        between = "\n\n" if self._said and not self._turn else ""
        self._turn += text
        self._said = True
        self._hear(Delta(text=between + text))

    def _spoke(self, spoke: Spoke) -> None:
        self._usage = _plus(self._usage, spoke.usage)
        if not self._held:
            begun = self._turn
            if not spoke.text.startswith(begun):
                begun = self._turn = ""
            if rest := spoke.text[len(begun) :]:
                self._say(rest)
        self._turn, self._reset = "", False
        for call in spoke.calls:
            state = "asked" if call.id in spoke.asked else "open"
            self._tell(Used(id=call.id, tool=call.tool, arguments=call.arguments, state=state))

    def _tell(self, used: Used) -> None:
        self._used[used.id] = used
        self._hear(used)


def _plus(one: Usage, more: Usage) -> Usage:
    return Usage(
        input=one.input + more.input,
        output=one.output + more.output,
        cache_read=one.cache_read + more.cache_read,
        reasoning=one.reasoning + more.reasoning,
    )


def _agent(agent: Agent, wanted: Wanted) -> Agent:
    """The agent, with what the client tells it besides."""
    none = asdict(Style())
    wishes = {name: value for name, value in asdict(wanted.style).items() if value != none[name]}
    return replace(
        agent,
        instructions="\n\n".join(filter(None, (agent.instructions, wanted.system))),
        style=replace(agent.style, **wishes),
        shape=wanted.shape or agent.shape,
    )


def _history(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The turns before. What others than the caller said in them may come from anywhere."""
    told: list[Entry] = []
    for entry in entries:
        match entry:
            case ModelSaid():
                told.append(replace(entry, sources=_CLIENT))
            case ToolAnswered(outcome=Returned()):
                told.append(replace(entry, sources=_CLIENT))
            case _:
                told.append(entry)
    return tuple(told)
