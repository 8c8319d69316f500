"""The lean client asks and understands as the library's own client does."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import httpx2
import openai
import pytest

from holdfast.adapters.models.catalog import Catalog
from holdfast.adapters.models.lean_openai import LeanClient
from holdfast.adapters.models.settings import ModelsConfig, Provider
from holdfast.testing.model_contract import nothing, prompt
from holdfast.testing.model_server import ModelServer
from holdfast.testing.model_server import Reply as Say

pytestmark = pytest.mark.anyio

TOOL: Any = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {}}},
}
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
REQUEST: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "add ünë"}]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "2"},
    ],
    "tools": [TOOL],
    "temperature": 0.5,
    "stop": ["END"],
    "seed": openai.NOT_GIVEN,
    "top_p": openai.omit,
    "extra_body": {"think": False},
    "extra_headers": {"X-More": "yes"},
}
CALLED: Any = {
    "role": "assistant",
    "content": None,
    "reasoning_content": "hm",
    "tool_calls": [CALL],
}
WHOLE: Any = {
    "id": "x",
    "created": 1,
    "model": "m",
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "message": CALLED,
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "more": {"a": 1}},
}
INEXACT: list[Any] = [
    WHOLE,
    {"choices": [{"message": {"content": "no id, no role"}, "finish_reason": "stop"}]},
    {**WHOLE, "choices": [{"index": 0, "finish_reason": "because", "message": CALLED}]},
    {"object": "error", "message": "gone"},
    {"choices": None, "usage": None},
]
EVENTS: list[Any] = [
    {"id": "x", "created": 1, "model": "m", "object": "chat.completion.chunk", "choices": []},
    {"choices": [{"index": 0, "delta": {"content": "a", "reasoning": "r"}}]},
    {"choices": [{"index": 0, "delta": None, "finish_reason": "odd"}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": {"x": 1}},
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def client(
    kind: type[openai.AsyncOpenAI], said: str, seen: list[httpx2.Request]
) -> AsyncGenerator[openai.AsyncOpenAI]:
    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        streamed = said.startswith("data:")
        kind = "text/event-stream" if streamed else "application/json"
        return httpx2.Response(200, content=said.encode(), headers={"content-type": kind})

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as http:
        yield kind(base_url="http://lab.test/v1", api_key="k", http_client=http, max_retries=0)


@pytest.mark.parametrize("answer", INEXACT, ids=str)
async def test_what_is_sent_and_what_is_understood_are_the_same(answer: Any):
    requests: list[httpx2.Request] = []
    told: list[Any] = []
    for kind in (openai.AsyncOpenAI, LeanClient):
        async with client(kind, json.dumps(answer), requests) as asked:
            create: Any = asked.chat.completions.create
            told.append((await create(**REQUEST)).model_dump(warnings=False))
    theirs, ours = requests
    assert json.loads(ours.content) == json.loads(theirs.content)
    assert (ours.url, ours.headers["x-more"]) == (theirs.url, "yes")
    assert ours.headers["authorization"] == theirs.headers["authorization"] == "Bearer k"
    assert told[0] == told[1]


async def test_a_stream_is_understood_in_the_same_way():
    requests: list[httpx2.Request] = []
    told: list[list[Any]] = []
    said = "".join(f"data: {json.dumps(one)}\n\n" for one in EVENTS) + "data: [DONE]\n\n"
    for kind in (openai.AsyncOpenAI, LeanClient):
        async with client(kind, said, requests) as asked:
            stream: Any = await asked.chat.completions.create(**REQUEST, stream=True)
            told.append([one.model_dump(warnings=False) async for one in stream])
    assert json.loads(requests[0].content) == json.loads(requests[1].content)
    assert json.loads(requests[1].content)["stream"] is True
    assert told[0] == told[1]
    assert len(told[0]) == len(EVENTS)


async def test_each_request_has_its_own_body_and_what_else_was_given_with_it():
    """Only what calls have in common is built once."""
    requests: list[httpx2.Request] = []
    asked_for: list[dict[str, Any]] = [
        {},
        {"extra_headers": {"X-More": "other"}},
        {"extra_query": {"a": "b c"}},
        {"timeout": 3},
        {"model": "ünë", "extra_body": {"model": "another"}},
        {},
    ]
    for kind in (openai.AsyncOpenAI, LeanClient):
        async with client(kind, json.dumps(WHOLE), requests) as asked:
            create: Any = asked.chat.completions.create
            for more in asked_for:
                await create(**{**REQUEST, **more})
    theirs, ours = requests[: len(asked_for)], requests[len(asked_for) :]
    for one, other in zip(ours, theirs, strict=True):
        assert (one.method, one.url) == (other.method, other.url)
        del one.headers["user-agent"], other.headers["user-agent"]  # the name of the class
        assert sorted(one.headers.multi_items()) == sorted(other.headers.multi_items())
        assert json.loads(one.content) == json.loads(other.content)
        assert one.extensions == other.extensions


REFUSED: list[httpx2.Response | Exception] = [
    httpx2.Response(429, json={"error": {"message": "slower", "code": "rate"}}),
    httpx2.Response(401, json={"error": "who?"}),
    httpx2.Response(503, text="away", headers={"retry-after": "3"}),
    httpx2.Response(302, headers={"location": "http://elsewhere.test/"}),
    httpx2.Response(200, text="no json", headers={"content-type": "application/json"}),
    httpx2.Response(200, text='{"choices": []}', headers={"content-type": "text/plain"}),
    httpx2.Response(200, text="<html>", headers={"content-type": "text/html"}),
    httpx2.Response(200, text="null", headers={"content-type": "application/json"}),
    httpx2.ReadTimeout("silent"),
    httpx2.ConnectError("nobody"),
]


@pytest.mark.parametrize("said", REFUSED, ids=repr)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_goes_wrong_is_said_as_the_library_says_it(
    said: httpx2.Response | Exception, stream: bool
):
    def answer(request: httpx2.Request) -> httpx2.Response:
        if isinstance(said, Exception):
            raise said
        return httpx2.Response(said.status_code, headers=said.headers, content=said.content)

    told: list[tuple[type[Any], str]] = []
    for kind in (openai.AsyncOpenAI, LeanClient):
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as http:
            asked = kind(
                base_url="http://lab.test/v1", api_key="k", http_client=http, max_retries=0
            )
            try:
                got: Any = await asked.chat.completions.create(**REQUEST, stream=stream)
                if stream:
                    got = [one async for one in got]
                told.append((cast("type[Any]", type(got)), repr(got)))
            except (ValueError, AttributeError, openai.OpenAIError) as error:
                told.append((type(error), str(error)))
    assert told[0] == told[1]


async def test_it_is_copied_only_for_what_is_not_so_already():
    async with client(LeanClient, "", []) as asked:
        assert asked.with_options(max_retries=0) is asked
        assert asked.with_options(max_retries=2).max_retries == 2


async def test_as_many_calls_are_under_way_as_the_provider_has_room_for():
    many = 150
    with ModelServer(default=Say(text="Hello.", hold=True)) as server:
        lab = Provider(kind="openai-compatible", base_url=f"{server.url}/v1", api_key="k")
        config = ModelsConfig(providers={"lab": lab}, probe=False, per_provider=many)
        catalog = Catalog(config)
        model = catalog.find("lab/m")
        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                for _ in range(many):
                    group.start_soon(model.ask, prompt("hello"), (), nothing)
                while server.active < many:
                    await anyio.sleep(0.01)
                server.release(many)
        assert server.peak == many
        await catalog.close()
