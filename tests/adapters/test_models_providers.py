"""Providers over real HTTP: what is sent, what is made of what comes back, and what goes wrong."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from holdfast.adapters.models.catalog import Catalog
from holdfast.adapters.models.remote import NO_TOOLS
from holdfast.adapters.models.settings import KINDS, Kind, ModelsConfig, Provider, Timeouts
from holdfast.core.context import Prompt
from holdfast.core.ids import CallId
from holdfast.core.message import (
    Failed,
    HouseSaid,
    ModelSaid,
    PersonSaid,
    Refused,
    Reply,
    Returned,
    Thought,
    ToolAnswered,
    ToolCall,
    Unknown,
)
from holdfast.ports.model import Delta, Model, ModelFailure
from holdfast.testing import model_server as server
from holdfast.testing.model_contract import TOOLS, answered, nothing, prompt
from holdfast.testing.model_server import Catalogue, ModelServer, ScriptedCall, Usage

pytestmark = pytest.mark.anyio

CANARY = "sk-canary-0123456789abcdef"
SIGNATURE = "c2NyaXB0ZWQgdGhpbmtpbmc="
QUICK = Timeouts(connect=2, first=0.3, idle=0.3, total=5)
CALL = ScriptedCall(name="read", arguments={"path": "a.txt"})
Say = server.Reply


@pytest.fixture
def http() -> Generator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@asynccontextmanager
async def opened(
    http: ModelServer, kind: Kind, *, timeouts: Timeouts | None = None, **more: Any
) -> AsyncGenerator[Model]:
    path = "/v1" if kind.startswith("openai") else ""
    model = more.pop("model", "scripted")
    provider = Provider(kind=kind, base_url=http.url + path, api_key=CANARY, **more)
    config = ModelsConfig(
        providers={"here": provider}, probe=False, timeouts=timeouts or Timeouts()
    )
    catalog = Catalog(config)
    try:
        yield catalog.find(f"here/{model}")
    finally:
        await catalog.close()


async def ask(model: Model, asked: Prompt | None = None, *, tools: Any = TOOLS) -> Reply:
    with anyio.fail_after(20):
        return await model.ask(asked or prompt("hello"), tools, nothing)


async def failed(model: Model, asked: Prompt | None = None) -> ModelFailure:
    with pytest.raises(ModelFailure) as caught:
        await ask(model, asked)
    return caught.value


def sent(http: ModelServer, index: int = -1) -> str:
    """The whole conversation of a request as text, to look for words in."""
    return json.dumps(http.requests[index].body)


async def test_each_kind_is_asked_at_its_own_path_with_its_key(http: ModelServer, kind: Kind):
    """Part of row GC-31."""
    paths = {
        "anthropic": "/v1/messages",
        "google": "/v1beta/models/scripted:streamGenerateContent",
        "openai-responses": "/v1/responses",
        "azure": "/openai/v1/chat/completions",
        "bedrock": "/model/scripted/converse-stream",
    }
    http.load(Say(text="Hello."))
    async with opened(http, kind) as model:
        reply = await ask(model)
    (request,) = http.requests
    assert reply.text == "Hello."
    assert reply.model == "here/scripted"
    assert request.path == paths.get(kind, "/v1/chat/completions")
    assert request.streaming
    assert CANARY in " ".join(request.headers.values())


async def test_a_provider_without_a_key_can_be_asked(http: ModelServer):
    http.load(Say(text="Hello."))
    url = f"{http.url}/v1"
    provider = Provider(kind="openai-compatible", base_url=url)
    catalog = Catalog(ModelsConfig(providers={"here": provider}, probe=False))
    assert (await ask(catalog.find("here/scripted"))).text == "Hello."
    await catalog.close()


async def test_words_thoughts_and_usage_come_back(http: ModelServer, kind: Kind):
    usage = Usage(input=1000, output=50, cache_read=300, reasoning=20)
    http.load(Say(text="Forty-two.", thinking="Six by nine.", chunks=4, usage=usage))
    heard: list[Delta] = []
    async with opened(http, kind) as model:
        reply = await model.ask(prompt("hello"), TOOLS, heard.append)
    assert reply.text == "Forty-two."
    assert "".join(thought.text for thought in reply.thoughts) == "Six by nine."
    assert {thought.provider for thought in reply.thoughts} == {"here"}
    assert "".join(delta.thought for delta in heard) == "Six by nine."
    counts = (reply.usage.input, reply.usage.output, reply.usage.cache_read, reply.usage.reasoning)
    assert counts == (1000, 50, 300, 0 if kind == "bedrock" else 20)  # It counts no thoughts.
    assert reply.usage.cost == 0


async def test_usage_that_was_not_reported_is_what_it_can_have_been_at_most(
    http: ModelServer, kind: Kind
):
    http.load(Say(text="word " * 300, usage=None))
    async with opened(http, kind) as model:
        reply = await ask(model)
    assert 20 < reply.usage.input < 1000
    assert 300 <= reply.usage.output < 1000


@pytest.mark.parametrize(
    ("kind", "model", "cost"),
    [
        ("openai", "gpt-4.1", 2800),
        ("anthropic", "claude-sonnet-5-5", 3000),
        ("google", "gemini-2.5-pro", 2250),
        ("openai", "gpt-unheard-of", None),
        ("openai-compatible", "anything", None),
    ],
)
async def test_a_reply_costs_what_the_price_list_says_and_no_price_is_none(
    http: ModelServer, kind: Kind, model: str, cost: int | None
):
    http.load(Say(text="Hello.", usage=Usage(input=1000, output=100)))
    async with opened(http, kind, model=model, free=False) as asked:
        reserved = asked.reserve(prompt("hello"), TOOLS)
        reply = await ask(asked)
    assert reply.usage.cost == cost
    assert (reserved.cost is None) == (cost is None)
    assert reserved.cost is None or reserved.cost >= (cost or 0)


async def test_a_reservation_holds_for_the_longest_reply_that_is_asked_for(
    http: ModelServer, kind: Kind
):
    http.load(Say(text="Hello."))
    async with opened(http, kind, free=False, max_output=1234) as model:
        reserved = model.reserve(prompt("hello"), ())
        await ask(model)
    assert 1234 < reserved.tokens < 1400
    assert "1234" in sent(http)


async def test_calls_come_back_whole_and_bad_arguments_say_so(http: ModelServer, kind: Kind):
    """Part of row GC-33."""
    http.load(
        Say(text="I look.", calls=(CALL, ScriptedCall(name="read")), chunks=3),
        Say(calls=(ScriptedCall(name="read", arguments='{"path": "a'),)),
        Say(calls=(ScriptedCall(name="read", arguments="[1, 2]"),)),
    )
    async with opened(http, kind) as model:
        reply = await ask(model)
        assert [(call.tool, call.arguments) for call in reply.calls] == [
            ("read", {"path": "a.txt"}),
            ("read", {}),
        ]
        assert (reply.text, reply.finish) == ("I look.", "calls")
        if kind == "google":
            assert (await failed(model)).code == "malformed"
            return
        for _ in range(2):
            (broken,) = (await ask(model)).calls
            assert broken.problem.startswith("the arguments are not valid JSON: ")
            assert broken.arguments == {}


async def test_thoughts_and_signatures_go_back_to_their_own_provider_only(
    http: ModelServer, kind: Kind
):
    http.load(Say(thinking="Deep thought.", calls=(CALL,)), Say(text="one"), Say(text="two"))
    async with opened(http, kind) as model:
        asked = prompt("hello")
        reply = await ask(model, asked)
        await ask(model, answered(asked, reply, "content"))
        foreign = replace(
            reply,
            thoughts=tuple(replace(one, provider="other") for one in reply.thoughts),
            calls=tuple(
                replace(one, signature=one.signature.replace("here", "other"))
                for one in reply.calls
            ),
        )
        await ask(model, answered(asked, foreign, "content"))
    own, others = sent(http, 1), sent(http, 2)
    if kind in {"anthropic", "google"}:
        assert SIGNATURE in own
    if kind != "google":  # Gemini wants the signature of a call, not the thought, back.
        assert "Deep thought." in own
    assert SIGNATURE not in others
    assert "Deep thought." not in others


async def test_gemini_gets_the_signature_of_its_words_back(http: ModelServer):
    http.load(Say(text="Hm.", thinking="Deep."), Say(text="Yes."))
    async with opened(http, "google") as model:
        reply = await ask(model)
        said = ModelSaid(text=reply.text, thoughts=reply.thoughts)
        entries = (PersonSaid(text="a"), said, PersonSaid(text="b"))
        await ask(model, Prompt(system="s", entries=entries, saw=3))
    _, spoken, _ = http.requests[1].messages
    assert spoken["parts"] == [{"text": "Hm.", "thoughtSignature": SIGNATURE}]


async def test_a_redacted_thought_goes_back_redacted(http: ModelServer):
    http.load(Say(text="Yes."))
    said = ModelSaid(text="Hm.", thoughts=(Thought(text="", signature="xyz", provider="here"),))
    entries = (PersonSaid(text="a"), said, PersonSaid(text="b"))
    async with opened(http, "anthropic") as model:
        await ask(model, Prompt(system="s", entries=entries, saw=3))
    assert {"type": "redacted_thinking", "data": "xyz"} in http.requests[0].messages[1]["content"]


async def test_the_whole_conversation_is_told_with_each_speaker_in_turn(
    http: ModelServer, kind: Kind
):
    def call(name: str) -> ToolCall:
        return ToolCall(id=CallId(name), tool="read", arguments={"path": name})

    def told(name: str, outcome: Returned | Failed | Refused | Unknown) -> ToolAnswered:
        return ToolAnswered(call_id=CallId(name), tool="read", outcome=outcome, note=f"n-{name}")

    entries = (
        PersonSaid(text="first words"),
        PersonSaid(text="second words"),
        ModelSaid(text="I look.", calls=(call("c1"), call("c2"), call("c3"), call("c4"))),
        told("c1", Returned(text="what it says")),
        told("c2", Failed(text="no such file", code="not_found")),
        told("c3", Refused(reason="not allowed")),
        told("c4", Unknown(reason="cut off")),
        HouseSaid(text="mind the budget"),
        ModelSaid(),
        ModelSaid(text="Well."),
        HouseSaid(text="go on"),
    )
    http.load(Say(text="Done."))
    async with opened(http, kind) as model:
        await ask(model, Prompt(system="The rules.", entries=entries, saw=11))
    body = sent(http)
    for word in (
        "The rules.",
        "first words\\n\\nsecond words",
        "what it says",
        "no such file",
        "refused: not allowed",
        "unknown: cut off",
        "[house note: mind the budget]",
        "[house note: n-c3]",
        "[house note: go on]",
    ):
        assert word in body
    messages = http.requests[0].messages
    roles = [one.get("role") or one["type"].replace("_output", "") for one in messages]
    turns = [a for a, b in zip(roles, [*roles[1:], ""], strict=True) if a != b]
    if kind == "openai-responses":  # Calls and their answers are items of their own.
        turns = [turn.replace("function_call", "tool") for turn in turns]
    if kind in {"anthropic", "google", "bedrock"}:
        model_role = "model" if kind == "google" else "assistant"
        assert turns == ["user", model_role, "user", model_role, "user"]
    else:
        assert turns == ["system", "user", "assistant", "tool", "user", "assistant", "user"]


async def test_tools_that_are_off_are_not_offered(http: ModelServer, kind: Kind):
    http.load(Say(calls=(CALL,)), Say(text="In words."))
    async with opened(http, kind) as model:
        asked = prompt("hello")
        reply = await ask(model, asked)
        off = replace(answered(asked, reply, "content"), tools=False)
        assert (await ask(model, off)).text == "In words."
    body = http.requests[1].body
    if kind == "anthropic":  # It insists on knowing the tools of a conversation.
        assert body["tool_choice"] == {"type": "none"}
    else:
        assert "tools" not in body


async def test_a_model_that_refuses_tools_is_asked_once_more_with_tools_as_text(
    http: ModelServer, kind: Kind
):
    """Part of rows GC-33, OC-53, OK-88."""
    http.load(
        Say(status=400, text="scripted does not support tools"),
        Say(
            text='Looking.\n<tool_call>\n{"name": "read", "arguments": {"path": "a"}}\n</tool_call>'
        ),
        Say(text="In words."),
        Say(status=400, text="scripted does not like you"),
    )
    async with opened(http, kind) as model:
        asked = prompt("hello")
        reply = await ask(model, asked)
        assert (reply.text, reply.calls[0].arguments) == ("Looking.", {"path": "a"})
        assert (await ask(model, answered(asked, reply, "content"))).text == "In words."
        assert (await failed(model)).code == "invalid_request"
    native, *others = http.requests
    offered = "toolConfig" if kind == "bedrock" else "tools"
    assert offered in native.body
    assert not any(offered in request.body for request in others)
    assert "<tool_response name=" in others[1].last_text


async def test_a_provider_whose_models_have_no_tools_says_so_in_its_reply(
    http: ModelServer, kind: Kind
):
    """Part of row GC-33."""
    http.load(Say(text="In words."))
    heard: list[Delta] = []
    async with opened(http, kind, tools="none") as model:
        reply = await model.ask(prompt("hello"), TOOLS, heard.append)
    assert reply.text == f"{NO_TOOLS}In words." == "".join(delta.text for delta in heard)
    assert "tools" not in http.requests[0].body


@pytest.mark.parametrize("able", [True, False])
async def test_ollama_is_offered_tools_only_if_it_says_that_the_model_can(able: bool):
    """Row GC-32. Part of row OK-88."""
    capabilities = ("completion", "tools") if able else ("completion",)
    said = Say(text='{"tool_name": "read", "arguments": {"path": "a.txt"}}')
    with ModelServer(catalogue=Catalogue(capabilities=capabilities)) as http:
        http.load(*[Say(calls=(CALL,)) if able else said] * 2)
        async with opened(http, "ollama") as model:
            for _ in range(2):
                (call,) = (await ask(model)).calls
                assert (call.tool, call.arguments) == ("read", {"path": "a.txt"})
        assert ["tools" in request.body for request in http.requests] == [able, able]
        (probe,) = http.probes
    assert (probe.path, probe.body) == ("/api/show", {"model": "scripted"})


@pytest.mark.parametrize("cut", [0, 1, 2])
@pytest.mark.parametrize("cleanly", [True, False])
async def test_a_stream_without_its_terminal_event_is_no_reply(
    http: ModelServer, kind: Kind, cut: int, cleanly: bool
):
    http.load(Say(text="Hello, you.", chunks=2, cut=cut, cut_cleanly=cleanly))
    async with opened(http, kind) as model:
        failure = await failed(model)
    assert (failure.code, failure.retryable) == ("incomplete", True)


async def test_a_call_that_is_cut_is_no_call(http: ModelServer, kind: Kind):
    http.load(Say(text="I look.", calls=(CALL,), chunks=2, cut=3, cut_cleanly=True))
    async with opened(http, kind) as model:
        assert (await failed(model)).code == "incomplete"


async def test_what_is_not_the_protocol_is_malformed(http: ModelServer, kind: Kind):
    http.load(Say(text="Hello.", malformed=True), Say(text="Again."))
    async with opened(http, kind) as model:
        failure = await failed(model)
        assert (await ask(model)).text == "Again."
    assert (failure.code, failure.retryable) == ("malformed", True)


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (400, "invalid_request", False),
        (401, "auth", False),
        (402, "billing", False),
        (403, "auth", False),
        (404, "not_found", False),
        (413, "context_overflow", False),
        (429, "rate_limited", True),
        (500, "overloaded", True),
        (503, "overloaded", True),
        (529, "overloaded", True),
    ],
)
async def test_a_refusal_has_its_code_and_one_calm_sentence_without_the_key(
    http: ModelServer, kind: Kind, status: int, code: str, retryable: bool
):
    wait = 7.0 if status == 429 else None
    http.load(Say(status=status, text=f"bad key {CANARY}", retry_after=wait))
    async with opened(http, kind) as model:
        failure = await failed(model)
    assert (failure.code, failure.retryable, failure.retry_after) == (code, retryable, wait or 0.0)
    assert "here/scripted" in str(failure)
    assert CANARY not in str(failure) + repr(failure)
    assert failure.__cause__ is None
    assert len(http.requests) == 1, "the task's retry is the retry"


async def test_a_conversation_that_is_too_long_is_an_overflow(http: ModelServer, kind: Kind):
    words = "prompt is too long: the input token count exceeds the maximum context length"
    http.load(Say(status=400, text=words))
    async with opened(http, kind) as model:
        failure = await failed(model)
    assert (failure.code, failure.retryable) == ("context_overflow", False)


async def test_how_a_reply_ended_is_told(http: ModelServer, kind: Kind):
    http.load(Say(text="Half a", finish="length"), Say(text="So", finish="content_filter"))
    async with opened(http, kind) as model:
        assert (await ask(model)).finish == "length"
        assert (await failed(model)).code == "content_filtered"


@pytest.mark.parametrize(
    "slow",
    [Say(text="late", hold=True), Say(text="a b c d", chunks=4, stall=True)],
    ids=["before the first token", "between tokens"],
)
async def test_a_silent_provider_times_out(http: ModelServer, kind: Kind, slow: server.Reply):
    http.load(slow)
    async with opened(http, kind, timeouts=QUICK) as model:
        failure = await failed(model)
    assert (failure.code, failure.retryable) == ("timeout", True)


async def test_a_reply_that_never_ends_times_out(http: ModelServer, kind: Kind):
    http.load(Say(text="x" * 1000, chunks=1000, chunk_delay=0.05))
    limits = Timeouts(connect=2, first=5, idle=5, total=0.4)
    async with opened(http, kind, timeouts=limits) as model:
        assert (await failed(model)).code == "timeout"


async def test_a_cancelled_question_closes_the_connection_at_once(http: ModelServer, kind: Kind):
    http.load(Say(text="x" * 1000, chunks=1000, chunk_delay=0.02))
    async with opened(http, kind) as model:
        began = anyio.Event()

        def hear(_: Delta) -> None:
            began.set()

        async with anyio.create_task_group() as group:
            group.start_soon(model.ask, prompt("hello"), TOOLS, hear)
            with anyio.fail_after(10):
                await began.wait()
            group.cancel_scope.cancel()
        with anyio.fail_after(2):
            while not http.abandoned:
                await anyio.sleep(0.01)


async def test_a_provider_that_is_not_there_is_a_connection_failure(http: ModelServer, kind: Kind):
    with ModelServer() as gone:
        url = gone
    async with opened(url, kind) as model:
        failure = await failed(model)
    assert (failure.code, failure.retryable) == ("connection", True)
