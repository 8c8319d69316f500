"""Answers that servers should not give, and what people show: read, or refused in plain words."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import pytest
from anyio.abc import SocketStream
from msgspec.structs import replace

from holdfast.adapters.models.catalog import Catalog
from holdfast.adapters.models.settings import Kind, ModelsConfig, Provider, Timeouts
from holdfast.core.agent import Shape, Style
from holdfast.core.context import Prompt
from holdfast.core.error import NotFound
from holdfast.core.ids import CallId
from holdfast.core.message import (
    File,
    ModelSaid,
    PersonSaid,
    Reply,
    Returned,
    ToolAnswered,
    ToolCall,
)
from holdfast.ports.model import Delta, Model, ModelFailure
from holdfast.testing import model_server as server
from holdfast.testing.model_contract import TOOLS, nothing, prompt
from holdfast.testing.model_server import ModelServer, ScriptedCall, Usage

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

Say = server.Reply
KEY = "sk-canary-0123456789abcdef"
WIRES: tuple[Kind, ...] = ("openai", "openai-responses", "anthropic", "google")
QUICK = Timeouts(connect=2, first=1, idle=1, total=3)
STREAM, JSON = "text/event-stream", "application/json"


@asynccontextmanager
async def answering(
    kind: str, body: bytes, *, status: int = 200, headers: str = ""
) -> AsyncGenerator[str]:
    """A server that answers everything with the same bytes: its URL."""
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{headers}connection: close\r\n\r\n"

    async def answer(client: SocketStream) -> None:
        async with client:
            asked = b""
            while b"\r\n\r\n" not in asked:
                asked += await client.receive()
            await client.send(head.encode() + body)

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as group,
    ):
        group.start_soon(listener.serve, answer)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        yield f"http://127.0.0.1:{port}"
        group.cancel_scope.cancel()


@asynccontextmanager
async def opened(url: str, kind: Kind, **more: Any) -> AsyncGenerator[Model]:
    model, files = more.pop("model", "scripted"), more.pop("files", None)
    path = "/v1" if kind.startswith("openai") else ""
    provider = Provider(kind=kind, base_url=url + path, api_key=KEY, **more)
    config = ModelsConfig(providers={"here": provider}, probe=False, timeouts=QUICK)
    catalog = Catalog(config, files=files)
    try:
        yield catalog.find(f"here/{model}")
    finally:
        await catalog.close()


async def asked(model: Model, question: Prompt | None = None) -> Reply | ModelFailure:
    with anyio.fail_after(15):
        try:
            return await model.ask(question or prompt("hello"), TOOLS, nothing)
        except ModelFailure as failure:
            return failure


async def failed(model: Model, question: Prompt | None = None) -> ModelFailure:
    failure = await asked(model, question)
    assert isinstance(failure, ModelFailure)
    return failure


def whole(question: Prompt) -> Prompt:
    return replace(question, stream=False)


async def recorded(kind: Kind, *, streamed: bool) -> bytes:
    """What the scripted server says in this form: to be said in answer to the other question."""
    call = ScriptedCall(name="read", arguments={"path": "ä.txt"})
    reply = Say(text="Hello, you.", calls=(call,), usage=Usage(input=40, output=7), chunks=3)
    with ModelServer(default=reply) as http:
        question = prompt("hello") if streamed else whole(prompt("hello"))
        async with opened(http.url, kind) as model:
            await asked(model, question)
        request = http.requests[0]
        async with httpx2.AsyncClient(trust_env=False) as plain:
            answer = await plain.post(f"{http.url}{request.path}", json=request.body)
    return answer.content


@pytest.mark.parametrize("kind", WIRES)
async def test_an_answer_in_the_other_form_is_read_and_not_asked_for_again(kind: Kind):
    for streamed in (True, False):
        said = await recorded(kind, streamed=streamed)
        form = STREAM if streamed else JSON
        question = whole(prompt("hello")) if streamed else prompt("hello")
        async with answering(form, said) as url, opened(url, kind) as model:
            reply = await asked(model, question)
        assert isinstance(reply, Reply)
        assert reply.text == "Hello, you."
        assert [(call.tool, call.arguments) for call in reply.calls] == [
            ("read", {"path": "ä.txt"})
        ]
        assert (reply.usage.input, reply.usage.output) == (40, 7)


@pytest.mark.parametrize("kind", WIRES)
async def test_a_stream_in_answer_to_a_whole_question_that_is_cut_is_no_reply(kind: Kind):
    said = await recorded(kind, streamed=True)
    async with answering(STREAM, said[: len(said) // 2]) as url, opened(url, kind) as model:
        failure = await failed(model, whole(prompt("hello")))
    assert failure.code in {"incomplete", "malformed"}


@pytest.mark.parametrize("kind", WIRES)
@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("text/html", b"<html><h1>Welcome to the captive portal</h1></html>"),
        (JSON, b""),
        (STREAM, b""),
        (JSON, b"{"),
        (JSON, b"[]"),
        (JSON, b"null"),
        ("text/plain", b"ok"),
        (STREAM, b"data: {\n\n"),
        (STREAM, b": ping\n\n: ping\n\n"),
    ],
)
async def test_what_is_no_answer_is_a_failure_that_is_tried_again(
    kind: Kind, streamed: bool, form: str, body: bytes
):
    question = prompt("hello") if streamed else whole(prompt("hello"))
    async with answering(form, body) as url, opened(url, kind) as model:
        failure = await failed(model, question)
    assert failure.code in {"malformed", "incomplete", "overloaded", "connection"}
    assert failure.retryable


@pytest.mark.parametrize("streamed", [True, False])
async def test_an_error_that_comes_as_a_success_is_an_error(streamed: bool):
    question = prompt("hello") if streamed else whole(prompt("hello"))
    body = json.dumps({"error": {"message": "Rate limit exceeded", "code": 429}}).encode()
    async with answering(JSON, body) as url, opened(url, "openai-compatible") as model:
        assert (await failed(model, question)).code == "rate_limited"


ERRORS: dict[Kind, bytes] = {
    "openai": b'data: {"error": {"message": "The server is overloaded", '
    b'"type": "server_error"}}\n\n',
    "openai-responses": b'event: error\ndata: {"type": "error", "code": "server_error", '
    b'"message": "The server is overloaded", "sequence_number": 3}\n\n',
    "anthropic": b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", '
    b'"message": "Overloaded"}}\n\n',
    "google": b'data: {"error": {"code": 503, "message": "The model is overloaded.", '
    b'"status": "UNAVAILABLE"}}\r\n\r\n',
}


@pytest.mark.parametrize("kind", WIRES)
async def test_an_error_in_the_middle_of_a_stream_is_a_failure(kind: Kind):
    said = await recorded(kind, streamed=True)
    half = said[: said.rfind(b"\n\n", 0, len(said) // 2) + 2] if kind != "google" else b""
    async with answering(STREAM, half + ERRORS[kind]) as url, opened(url, kind) as model:
        failure = await failed(model)
    assert (failure.code, failure.retryable) == ("overloaded", True)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "invalid_request"),
        (401, "auth"),
        (402, "billing"),
        (403, "auth"),
        (404, "not_found"),
        (408, "timeout"),
        (409, "overloaded"),
        (413, "context_overflow"),
        (422, "invalid_request"),
        (429, "rate_limited"),
        (500, "overloaded"),
        (502, "overloaded"),
        (529, "overloaded"),
    ],
)
@pytest.mark.parametrize("kind", WIRES)
async def test_a_refusal_as_a_page_for_people_has_its_code_too(kind: Kind, status: int, code: str):
    """Part of row KV-22."""
    page = b"<html><body><h1>nginx</h1></body></html>"
    async with answering("text/html", page, status=status) as url, opened(url, kind) as model:
        failure = await failed(model)
    assert failure.code == code
    assert f"(HTTP {status})" in str(failure) or code == "timeout"
    assert "nginx" not in str(failure)


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("retry-after: 7", 7, 7),
        ("retry-after-ms: 1500", 1.5, 1.5),
        ("retry-after: Fri, 31 Dec 2100 23:59:59 GMT", 1e9, 1e10),
        ("x-ratelimit-reset-requests: 1m30s", 90, 90),
        ("x-ratelimit-reset: 4", 4, 4),
    ],
)
async def test_when_to_return_is_said_in_many_ways(header: str, least: float, most: float):
    body = b'{"error": {"message": "slow down"}}'
    async with (
        answering(JSON, body, status=429, headers=f"{header}\r\n") as url,
        opened(url, "openai") as model,
    ):
        assert least <= (await failed(model)).retry_after <= most


async def files(digest: str) -> bytes:
    if digest == "gone":
        raise NotFound("there is no blob gone")
    return {"text": b"a,b\n1,2\n", "pdf": b"%PDF-1.7 x"}[digest]


def shown(*these: File) -> Prompt:
    return Prompt(system="s", entries=(PersonSaid(text="What is it?", files=these),), saw=1)


@pytest.mark.parametrize("kind", WIRES)
async def test_text_is_shown_as_words_and_a_document_as_it_is(kind: Kind):
    table = File(name="t.csv", media_type="text/csv", digest="text", size=8)
    paper = File(name="p.pdf", media_type="application/pdf", digest="pdf", size=10)
    with ModelServer(default=Say(text="A table.")) as http:
        async with opened(http.url, kind, files=files) as model:
            assert isinstance(await asked(model, shown(table, paper)), Reply)
        sent = json.dumps(http.requests[0].body)
    assert "--- file t.csv ---\\n\\na,b\\n1,2\\n" in sent
    assert "JVBERi0xLjcgeA" in sent


@pytest.mark.parametrize(
    ("kind", "file", "why"),
    [
        ("anthropic", File(name="a.mp3", media_type="audio/mpeg", digest="x"), "cannot read a.mp3"),
        ("openai", File(name="m.avi", media_type="video/avi", digest="x"), "cannot read m.avi"),
        ("openai", File(name="z.zip", media_type="application/zip", digest="x"), "read z.zip"),
        ("google", File(name="z.zip", media_type="application/zip", digest="x"), "read z.zip"),
        ("openai", File(name="g.txt", media_type="text/plain", digest="gone"), "g.txt cannot be"),
    ],
)
async def test_a_file_that_cannot_be_shown_is_refused_by_its_name(kind: Kind, file: File, why: str):
    with ModelServer() as http:
        async with opened(http.url, kind, files=files) as model:
            failure = await failed(model, shown(file))
        assert http.requests == []
    assert (failure.code, failure.retryable, failure.paid) == ("invalid_request", False, False)
    assert why in str(failure)


@pytest.mark.parametrize("kind", [*WIRES, "bedrock"])
async def test_a_broken_transcript_is_told_whole(kind: Kind):
    """Part of row OL-29."""
    lost = ToolCall(id=CallId("call-lost-0001"), tool="read", arguments={"path": "a"})
    late = ToolCall(id=CallId("call-late-0002"), tool="read", arguments={"path": "b"})

    def answer(name: str, text: str) -> ToolAnswered:
        return ToolAnswered(call_id=CallId(name), tool="read", outcome=Returned(text=text))

    entries = (
        PersonSaid(text="go"),
        answer("call-never-made", "orphan"),
        ModelSaid(text="I look.", calls=(lost, late)),
        PersonSaid(text="hurry"),
        answer("call-late-0002", "what b says"),
    )
    with ModelServer(default=Say(text="Done.")) as http:
        async with opened(http.url, kind) as model:
            reply = await asked(model, Prompt(system="s", entries=entries, saw=5))
        sent = json.dumps(http.requests[0].body)
    assert isinstance(reply, Reply)
    assert "orphan" not in sent
    assert sent.count("[no result]") == 1
    assert sent.index("[no result]") < sent.index("what b says") < sent.index("hurry")


async def test_mistral_gets_the_ids_it_can_read():
    """Part of row OL-29."""
    call = ToolCall(id=CallId("call_with-a-long-id"), tool="read", arguments={"path": "a"})
    told = ToolAnswered(call_id=call.id, tool="read", outcome=Returned(text="x"))
    entries = (PersonSaid(text="go"), ModelSaid(calls=(call,)), told)
    with ModelServer(default=Say(text="Done.")) as http:
        url = f"{http.url}/mistral"
        async with opened(url, "openai-compatible", flavour="mistral") as model:
            await asked(model, Prompt(system="s", entries=entries, saw=3))
        *_, made, answered = http.requests[0].messages
    (sent,) = made["tool_calls"]
    assert sent["id"] == answered["tool_call_id"]
    assert len(sent["id"]) == 9
    assert sent["id"].isalnum()


async def test_anthropic_is_told_what_to_keep_in_its_cache():
    """Row OK-89."""
    counted = Usage(input=1000, output=10, cache_read=700, cache_write=200)
    with ModelServer(default=Say(text="Hi.", usage=counted)) as http:
        model_name = "claude-sonnet-5-5"
        async with opened(http.url, "anthropic", model=model_name, free=False) as model:
            reply = await asked(model)
        body = http.requests[0].body
    assert '"cache_control": {"type": "ephemeral"' in json.dumps(body["system"])
    assert isinstance(reply, Reply)
    used = reply.usage
    assert (used.input, used.cache_read, used.cache_write) == (1000, 700, 200)
    assert used.cost
    assert used.cost < 1000 * 3, "what was read from the cache is cheaper"


async def test_wishes_reach_the_model_as_far_as_it_knows_them():
    style = Style(temperature=0.3, top_p=0.9, seed=7, stop=("END",), max_output=123)
    question = replace(prompt("hello"), style=style)
    sent: dict[str, str] = {}
    with ModelServer(default=Say(text="Hi.")) as http:
        for name in ("gpt-4.1", "o3", "claude-x"):
            kind: Kind = "anthropic" if name == "claude-x" else "openai"
            async with opened(http.url, kind, model=name) as model:
                assert isinstance(await asked(model, question), Reply)
            sent[name] = json.dumps(http.requests[-1].body)
    for word in ('"temperature": 0.3', '"top_p": 0.9', '"seed": 7', '["END"]', "123"):
        assert word in sent["gpt-4.1"]
    assert "temperature" not in sent["o3"], "a model that thinks takes none"
    assert "seed" not in sent["claude-x"], "Anthropic knows no seed"
    assert '"stop_sequences": ["END"]' in sent["claude-x"]


@pytest.mark.parametrize("level", ["low", "medium", "high"])
async def test_thinking_in_tokens_leaves_room_for_the_answer(level: str):
    style = Style(thinking=level, max_output=4000)
    with ModelServer(default=Say(text="Hi.")) as http:
        async with opened(http.url, "anthropic", model="claude-sonnet-4-5") as model:
            await asked(model, replace(prompt("hello"), style=style))
        body = http.requests[0].body
    assert body["thinking"]["budget_tokens"] < body["max_tokens"] == 4000


async def test_a_server_that_cannot_be_held_to_a_shape_is_asked_in_words_from_then_on():
    shape = Shape(schema={"type": "object", "properties": {"a": {"type": "integer"}}})
    question = replace(prompt("hello"), shape=shape)
    refusal = Say(status=400, text="Unknown parameter: response_format")
    with ModelServer([refusal, *[Say(text='{"a": 1}')] * 2]) as http:
        async with opened(http.url, "openai-compatible") as model:
            for _ in range(2):
                reply = await asked(model, question)
                assert isinstance(reply, Reply)
                assert json.loads(reply.text) == {"a": 1}
        assert ["response_format" in one.body for one in http.requests] == [True, False, False]


async def test_headers_of_ones_own_are_sent():
    """Part of row KV-13."""
    with ModelServer(default=Say(text="Hi.")) as http:
        for kind in WIRES:
            async with opened(http.url, kind, headers={"X-Team": "blue"}) as model:
                await asked(model)
            assert http.requests[-1].headers["x-team"] == "blue"


async def test_azure_is_asked_for_a_deployment_at_a_version():
    with ModelServer(default=Say(text="Hi.")) as http:
        async with opened(http.url, "azure", api_version="2024-10-21") as model:
            assert isinstance(await asked(model), Reply)
        (request,) = http.requests
    assert request.path == "/openai/deployments/scripted/chat/completions"
    assert request.headers["api-key"] == KEY


async def test_bedrock_is_signed_for_with_a_key_and_carries_a_token():
    with ModelServer(default=Say(text="Hi.")) as http:
        keys = {
            "secret_key": "hidden-secret",
            "session_token": "the-session",
            "region": "eu-west-1",
        }
        async with opened(http.url, "bedrock", **keys) as model:
            assert isinstance(await asked(model), Reply)
        async with opened(http.url, "bedrock") as model:
            assert isinstance(await asked(model), Reply)
        signed, carried = (one.headers for one in http.requests)
    assert signed["authorization"].startswith(f"AWS4-HMAC-SHA256 Credential={KEY}/")
    assert "/eu-west-1/bedrock/" in signed["authorization"]
    assert signed["x-amz-security-token"] == "the-session"
    assert "hidden-secret" not in json.dumps(signed)
    assert carried["authorization"] == f"Bearer {KEY}"


async def test_without_its_extra_bedrock_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "holdfast.adapters.models.dialect_bedrock", raising=False)
    monkeypatch.setitem(sys.modules, "boto3", None)
    async with opened("http://127.0.0.1:9", "bedrock") as model:
        failure = await failed(model)
    assert "pip install 'holdfast[bedrock]'" in str(failure)


async def test_what_is_asked_whole_is_not_heard_on_the_way_and_may_take_all_its_time():
    heard: list[Delta] = []
    with ModelServer([Say(text="Slow.", delay=1.3)]) as http:  # longer than between two pieces
        async with opened(http.url, "openai") as model:
            with anyio.fail_after(10):
                reply = await model.ask(whole(prompt("hello")), TOOLS, heard.append)
    assert reply.text == "Slow."
    assert heard == []


def event(data: dict[str, Any]) -> bytes:
    return f"event: {data.get('type', 'message')}\ndata: {json.dumps(data)}\n\n".encode()


BEGUN: dict[Kind, list[dict[str, Any]]] = {
    "anthropic": [
        {
            "type": "message_start",
            "message": {
                "id": "m",
                "type": "message",
                "role": "assistant",
                "model": "c",
                "content": [],
                "usage": {"input_tokens": 10, "output_tokens": 1},
            },
        },
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "text", "text": "Hello"},
        },
    ],
    "openai": [
        {
            "id": "x",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hello"}}],
        }
    ],
}
TROUBLE: dict[Kind, dict[str, Any]] = {
    "anthropic": {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
    "openai": {"error": {"message": "Overloaded", "type": "server_error", "code": 503}},
}
TOO_MANY = {"error": {"message": "Slow down", "type": "rate_limit_error", "code": 429}}


@pytest.mark.parametrize("kind", BEGUN)
async def test_an_answer_that_had_begun_may_have_been_paid_whatever_the_error_says(kind: Kind):
    begun = b"".join(map(event, BEGUN[kind]))
    for said in (begun + event(TROUBLE[kind]), event(TROUBLE[kind])):
        async with answering(STREAM, said) as url, opened(url, kind) as model:
            failure = await failed(model)
        assert (failure.code, failure.paid) == ("overloaded", True)


async def test_what_was_turned_away_before_it_began_cost_nothing_unless_a_gateway_gave_up():
    async with answering(STREAM, event(TOO_MANY)) as url, opened(url, "openai") as model:
        failure = await failed(model)
    assert (failure.code, failure.paid) == ("rate_limited", False)
    begun = b"".join(map(event, BEGUN["openai"]))
    async with answering(STREAM, begun + event(TOO_MANY)) as url, opened(url, "openai") as model:
        assert (await failed(model)).paid
    for status, paid in ((429, False), (503, False), (504, True)):
        with ModelServer(default=Say(status=status)) as http:
            async with opened(http.url, "openai") as model:
                assert (await failed(model)).paid is paid
