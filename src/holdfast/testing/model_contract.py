"""What every model must do: one function per promise, each given a model.

The model under test answers `WORDS` with words and `CALL` with a call of the tool `read`; once a
tool has answered it says something about that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from holdfast.core.context import Prompt
from holdfast.core.message import ModelSaid, PersonSaid, Reply, Returned, ToolAnswered
from holdfast.ports.model import Delta, Model, ToolSpec

WORDS, CALL = "what can you do?", "read a.txt"
TOOLS = (
    ToolSpec(
        name="read",
        description="Read a file.",
        schema={
            "type": "object",
            "properties": {"path": {"type": "string"}},
            "required": ["path"],
        },
    ),
)
_SECONDS = 20

Clause = Callable[[Model], Awaitable[None]]


def prompt(text: str) -> Prompt:
    return Prompt(system="Be brief.", entries=(PersonSaid(text=text),), saw=1)


def answered(asked: Prompt, reply: Reply, text: str) -> Prompt:
    """The prompt after the calls of `reply` have returned `text`."""
    said = ModelSaid(text=reply.text, thoughts=reply.thoughts, calls=reply.calls)
    answers = (
        ToolAnswered(call_id=call.id, tool=call.tool, outcome=Returned(text=text))
        for call in reply.calls
    )
    entries = (*asked.entries, said, *answers)
    return Prompt(system=asked.system, entries=entries, saw=len(entries))


def nothing(_: Delta) -> None:
    """Hears nothing."""


async def it_is_named_by_its_provider_and_its_own_name(model: Model) -> None:
    provider, slash, name = model.name.partition("/")
    assert provider
    assert slash
    assert name


async def it_reserves_without_asking_and_the_same_for_the_same(model: Model) -> None:
    short, long = prompt(WORDS), prompt(WORDS * 500)
    first = model.reserve(short, TOOLS)
    assert first == model.reserve(short, TOOLS)
    assert 0 <= first.tokens <= model.reserve(long, TOOLS).tokens
    assert first.cost is None or first.cost >= 0


async def it_uses_no_more_than_it_reserved(model: Model) -> None:
    asked = prompt(WORDS)
    reserved = model.reserve(asked, TOOLS)
    reply = await _asked(model, asked)
    free = reserved.tokens == 0 and reserved.cost == 0
    assert not free or reply.usage.cost == 0
    assert free or reply.usage.tokens <= reserved.tokens
    assert free or reserved.cost is None or (reply.usage.cost or 0) <= reserved.cost


async def what_is_heard_adds_up_to_the_words_of_the_reply(model: Model) -> None:
    heard: list[Delta] = []
    reply = await _asked(model, prompt(WORDS), heard.append)
    assert reply.text
    assert "".join(delta.text for delta in heard) == reply.text
    assert reply.finish == "stop"
    assert reply.calls == ()
    assert reply.model


async def a_call_has_its_tool_its_arguments_and_an_id_and_nothing_else(model: Model) -> None:
    heard: list[Delta] = []
    reply = await _asked(model, prompt(CALL), heard.append)
    (call,) = reply.calls
    assert (call.tool, call.arguments["path"], call.problem) == ("read", "a.txt", "")
    assert call.id
    assert (call.target, call.checkable, call.stable) == ("", False, False)
    assert reply.finish == "calls"
    assert [delta.call for delta in heard if delta.call] == ["read"]


async def it_goes_on_from_the_answers_of_its_calls(model: Model) -> None:
    asked = prompt(CALL)
    reply = await _asked(model, asked)
    done = await _asked(model, answered(asked, reply, "forty-two\n"))
    assert done.calls == ()
    assert "forty-two" in done.text


async def ids_of_its_calls_differ_from_turn_to_turn(model: Model) -> None:
    asked = prompt(CALL)
    first = await _asked(model, asked)
    after = answered(asked, first, "forty-two\n")
    again = Prompt(
        system=after.system,
        entries=(*after.entries, ModelSaid(text="Done."), PersonSaid(text=CALL)),
        saw=5,
    )
    second = await _asked(model, again)
    assert {call.id for call in first.calls}.isdisjoint(call.id for call in second.calls)


async def without_tools_it_answers_in_words(model: Model) -> None:
    reply = await _asked(model, prompt(WORDS), tools=())
    assert reply.text
    assert reply.calls == ()


async def it_can_be_asked_many_things_at_once(model: Model) -> None:
    replies: list[Reply] = []

    async def ask() -> None:
        replies.append(await _asked(model, prompt(WORDS)))

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(ask)
    assert len({reply.text for reply in replies}) == 1
    assert len(replies) == 20


async def a_cancelled_question_ends_at_once_and_the_next_one_is_answered(model: Model) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await model.ask(prompt(WORDS), TOOLS, nothing)
    assert scope.cancelled_caught
    assert (await _asked(model, prompt(WORDS))).text


async def _asked(
    model: Model,
    asked: Prompt,
    hear: Callable[[Delta], None] = nothing,
    tools: tuple[ToolSpec, ...] = TOOLS,
) -> Reply:
    with anyio.fail_after(_SECONDS):
        return await model.ask(asked, tools, hear)


CLAUSES: tuple[Clause, ...] = (
    it_is_named_by_its_provider_and_its_own_name,
    it_reserves_without_asking_and_the_same_for_the_same,
    it_uses_no_more_than_it_reserved,
    what_is_heard_adds_up_to_the_words_of_the_reply,
    a_call_has_its_tool_its_arguments_and_an_id_and_nothing_else,
    it_goes_on_from_the_answers_of_its_calls,
    ids_of_its_calls_differ_from_turn_to_turn,
    without_tools_it_answers_in_words,
    it_can_be_asked_many_things_at_once,
    a_cancelled_question_ends_at_once_and_the_next_one_is_answered,
)

__all__ = ["CALL", "CLAUSES", "TOOLS", "WORDS", "Clause", "answered", "nothing", "prompt"]
