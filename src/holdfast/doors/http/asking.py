"""Models: which there are, which is chosen, and a question or texts straight to one."""

from __future__ import annotations

from functools import partial

from starlette.types import ASGIApp

from holdfast.core.agent import Shape, Style
from holdfast.core.context import Prompt
from holdfast.core.error import Invalid
from holdfast.core.ids import CallId
from holdfast.core.message import (
    Entry,
    Failed,
    ModelSaid,
    PersonSaid,
    Reply,
    Returned,
    Thought,
    ToolAnswered,
    ToolCall,
)
from holdfast.ports.choosing import Choice
from holdfast.ports.ledger import Payer
from holdfast.ports.model import ModelFailure, ToolSpec
from holdfast.runtime import models
from holdfast.runtime.house import House

from . import answers as a
from . import bodies as b
from .errors import Unanswered
from .route import Ask
from .sse import Hear, ReplyStream, attended


async def list_models(ask: Ask[b.NoQuery, b.Nothing]) -> a.ModelList:
    return await _listed(ask.house, fresh=False)


async def refresh_models(ask: Ask[b.NoQuery, b.Nothing]) -> a.ModelList:
    return await _listed(ask.house, fresh=True)


async def choose_model(ask: Ask[b.NoQuery, b.Chosen]) -> Choice:
    return await models.choose(ask.house, ask.body.model, ask.body.role, by=ask.by)


async def _listed(house: House, *, fresh: bool) -> a.ModelList:
    cards, roles = await models.cards(house, fresh=fresh), models.roles(house)
    return a.ModelList(
        default=roles["executor"],
        models=tuple(card.name for card in cards),
        roles=dict(roles),
        cards=tuple(cards),
    )


async def ask_model(ask: Ask[b.NoQuery, b.Asked]) -> a.Answered | ASGIApp:
    asked, house, door = ask.body, ask.house, ask.door
    name = asked.model or ("" if asked.role == "executor" else f"@{asked.role}")
    prompt, tools = _prompt(asked, ask.by), _tools(asked)
    payer = Payer(by=ask.by, role=asked.role)

    async def answer(hear: Hear | None) -> a.Answered:
        try:
            reply: Reply = await models.ask(house, name, prompt, tools, payer=payer, hear=hear)
        except ModelFailure as failure:
            raise Unanswered(failure) from failure
        return a.answered(reply)

    if asked.stream:
        return ReplyStream(answer, closing=door.closing, keep_alive=door.keep_alive)
    return await attended(ask.request.receive, partial(answer, None))


async def embed(ask: Ask[b.NoQuery, b.ToEmbed]) -> a.Vectors | ASGIApp:
    body, house, door = ask.body, ask.house, ask.door
    payer = Payer(by=ask.by, role="embedder")

    async def answer(_: Hear | None) -> a.Vectors:
        try:
            made = await models.embed(
                house, body.model, body.texts, payer=payer, purpose=body.purpose
            )
        except ModelFailure as failure:
            raise Unanswered(failure) from failure
        cost = None if made.usage.cost is None else made.usage.cost / 1e6
        return a.Vectors(model=made.model, vectors=made.vectors, usage=made.usage, cost_usd=cost)

    if body.stream:
        return ReplyStream(answer, closing=door.closing, keep_alive=door.keep_alive)
    return await attended(ask.request.receive, partial(answer, None))


def _prompt(asked: b.Asked, by: str) -> Prompt:
    if asked.text:
        entries: tuple[Entry, ...] = (PersonSaid(text=asked.text, by=by),)
    else:
        entries = tuple(_entries(asked.messages, by))
    return Prompt(
        system=asked.system,
        entries=entries,
        saw=0,
        style=Style(**asked.style.model_dump()),
        shape=_shape(asked.shape),
        stream=asked.stream,
    )


def _entries(messages: tuple[b.AskedMessage, ...], by: str) -> list[Entry]:
    entries: list[Entry] = []
    names: dict[str, str] = {}
    for place, said in enumerate(messages):
        if said.role != "tool" and (said.call or said.failed):
            raise Invalid(f"messages.{place}: only a tool's answer has `call` and `failed`")
        if said.role != "assistant" and (said.calls or said.thoughts):
            raise Invalid(f"messages.{place}: only the assistant has `calls` and `thoughts`")
        names |= {call.id: call.tool for call in said.calls}
        entries.append(_entry(said, names, by))
    return entries


def _entry(said: b.AskedMessage, names: dict[str, str], by: str) -> Entry:
    match said.role:
        case "user":
            return PersonSaid(text=said.text, by=by)
        case "assistant":
            return ModelSaid(
                text=said.text,
                thoughts=tuple(Thought(**one.model_dump()) for one in said.thoughts),
                calls=tuple(_call(one) for one in said.calls),
            )
        case "tool":
            return ToolAnswered(
                call_id=CallId(said.call),
                tool=names.get(said.call, ""),
                outcome=Failed(text=said.text) if said.failed else Returned(text=said.text),
            )


def _call(one: b.AskedCall) -> ToolCall:
    return ToolCall(
        id=CallId(one.id), tool=one.tool, arguments=one.arguments, signature=one.signature
    )


def _tools(asked: b.Asked) -> tuple[ToolSpec, ...]:
    return tuple(
        ToolSpec(name=one.name, description=one.description, schema=one.schema_)
        for one in asked.tools
    )


def _shape(asked: b.AskedShape | None) -> Shape | None:
    if asked is None:
        return None
    return Shape(schema=asked.schema_, name=asked.name, retries=0, strict=asked.strict)
