"""A streamed reply says the same in however many pieces its bytes come, and put together."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from typing import Any

import anyio
import anyio.lowlevel
import httpx2
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_ai import ModelRequest
from pydantic_ai.direct import model_request_stream
from pydantic_ai.exceptions import AgentRunError
from pydantic_ai.messages import ModelResponsePart, ToolCallPart
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.openai import OpenAIProvider

from holdfast.adapters.models.event_frames import EventFrames
from holdfast.adapters.models.lean_openai import LeanClient
from holdfast.adapters.models.merging import Merging
from holdfast.adapters.models.readers import readers

STRICT = OpenAIModelProfile(openai_chat_streaming_requires_finish_reason=True)
ASKED = [ModelRequest.user_text_prompt("hello")]
WORDS = ("Hel", "lo", " ", "wörld", "\n", "日本", "a<b", "<think>", "hm", "</think>", "😀", "[x]")
words = st.sampled_from(WORDS)
fields = st.sampled_from(["content", "content", "content", "reasoning_content", "reasoning"])


def text_of(name: str, text: str) -> dict[str, Any]:
    return {name: text}


def with_role(delta: dict[str, Any]) -> dict[str, Any]:
    return {**delta, "role": "assistant"}


def more_of_call(index: int, text: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}


texts = st.builds(text_of, fields, words)
arguments = st.builds(more_of_call, st.integers(0, 1), st.sampled_from(['{"a": ', "1", "}", '"é"']))
nothing: list[dict[str, Any]] = [{}, {"content": ""}, {"content": None}]
deltas = st.lists(
    st.one_of(texts, texts, texts, st.builds(with_role, texts), st.sampled_from(nothing)),
    max_size=12,
)
BEGUN: list[Any] = [
    {"tool_calls": [{"index": index, "id": f"c{index}", "type": "function", "function": call}]}
    for index, call in enumerate([{"name": "add", "arguments": ""}] * 2)
]


def event(delta: Any, finish: str | None = None, created: int = 1) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {
        "id": "x",
        "created": created,
        "model": "m",
        "object": "chat.completion.chunk",
        "choices": [choice],
    }


def said(deltas: Sequence[Any], end: str) -> bytes:
    events = [event(delta, created=place) for place, delta in enumerate(deltas)]
    events.append(event({}, "stop"))
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    events.append({**event({}), "choices": [], "usage": usage})
    lines = [f"data: {json.dumps(one, ensure_ascii=False)}" for one in events]
    body = "".join(f": still here{end}{end}{one}{end}{end}" for one in [*lines, "data: [DONE]"])
    return body.encode()


def cut(whole: bytes, places: Sequence[int]) -> list[bytes]:
    marks = sorted({place % (len(whole) + 1) for place in places} | {0, len(whole)})
    return [whole[a:b] for a, b in pairwise(marks)]


class Body(httpx2.AsyncByteStream):
    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
            await anyio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self.closed = True


async def understood(kind: type[openai.AsyncOpenAI], pieces: Sequence[bytes]) -> Any:
    """What the library makes of it: the parts of the reply, its end and what it counted."""
    headers = {"content-type": "text/event-stream"}

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers=headers, stream=Body(pieces))

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as http:
        client = kind(base_url="http://lab.test/v1", api_key="k", http_client=http, max_retries=0)
        provider = OpenAIProvider(openai_client=client)
        model = OpenAIChatModel("m", provider=provider, profile=STRICT)
        async with readers(), model_request_stream(model, ASKED) as stream:
            async for _ in stream:
                pass
            reply = stream.get()
    parts = [(type(part), getattr(part, "content", None), _call(part)) for part in reply.parts]
    return parts, reply.finish_reason, reply.usage, reply.provider_response_id, reply.model_name


def _call(part: ModelResponsePart) -> tuple[str, object, str] | None:
    return (
        (part.tool_name, part.args, part.tool_call_id) if isinstance(part, ToolCallPart) else None
    )


ends = st.sampled_from(["\n", "\r\n", "\r"])
places = st.lists(st.integers(0, 4_000), max_size=12)


@settings(max_examples=60, deadline=None)
@given(told=deltas, calls=st.lists(arguments, max_size=6), end=ends, places=places)
def test_however_the_bytes_are_cut_the_reply_is_the_same(
    told: list[Any], calls: list[Any], end: str, places: list[int]
):
    whole = said([*told, *BEGUN, *calls] if calls else told, end)

    async def both() -> None:
        theirs = await understood(openai.AsyncOpenAI, [whole])
        assert await understood(LeanClient, cut(whole, places)) == theirs

    anyio.run(both)


@given(told=deltas, end=ends, places=places)
def test_events_are_those_of_the_whole_however_it_is_cut(
    told: list[Any], end: str, places: list[int]
):
    whole, frames = said(told, end), EventFrames()
    found = [data for piece in cut(whole, places) for data in frames.feed(piece)]
    assert found == list(EventFrames().feed(whole))
    assert len(found) == len(told) + 3
    assert b"".join(found[-1:]) == b"[DONE]"


def test_an_event_may_have_lines_of_data_and_other_lines():
    told = b'id: 1\nevent: x\ndata: {"a":\ndata:1}\n\n\nretry: 5\n\ndata\n\ndata: cut off'
    assert list(EventFrames().feed(told)) == [b'{"a":\n1}', b""]


def merged(*pieces: Any) -> list[Any]:
    """What is made of them, once the first words have come."""
    merging = Merging()
    merging.add(event({"content": "First"}))
    assert merging.take() == [event({"content": "First"})]
    for piece in pieces:
        merging.add(piece)
    return merging.take()


def test_only_more_of_the_same_is_put_together():
    a, b = {"content": "a"}, {"content": "b"}
    assert merged(event(a), event(b, created=2)) == [event({"content": "ab"})]
    again = [event({"reasoning": text}) for text in "abc"]
    assert merged(*again) == [again[0], event({"reasoning": "bc"})]
    for other in (
        event(b, "stop"),
        event({"reasoning": "b"}),
        event({**b, "refusal": "no"}),
        {**event(b), "usage": {"prompt_tokens": 1}},
        {**event(b), "id": "y"},
        {**event(b), "choices": [*event(b)["choices"], *event(b)["choices"]]},
        {"error": {"message": "gone"}},
        event({"content": "</think>"}),
        "text",
        None,
    ):
        before = json.dumps(other)
        assert merged(event(a), other, event(b)) == [event(a), json.loads(before), event(b)]
    assert merged(event({"content": "\n"}), event(a)) == [event({"content": "\n"}), event(a)]


@pytest.mark.parametrize(
    "ending",
    [b"", b"data: {oops\n\n", b'data: {"error": {"message": "overloaded"}}\n\n', b"data: \xff\n\n"],
)
def test_a_reply_that_breaks_off_fails_as_it_does_for_the_library(ending: bytes):
    told = [event({"content": "a"}), event({"content": "b"})]
    begun = b"".join(b"data: %s\n\n" % json.dumps(one).encode() for one in told)

    async def both() -> None:
        raised: list[Exception] = []
        for kind in (openai.AsyncOpenAI, LeanClient):
            with pytest.raises(AgentRunError) as caught:
                await understood(kind, [begun + ending])
            raised.append(caught.value)
        theirs, ours = raised
        assert type(ours) is type(theirs)
        assert str(ours).partition(" position")[0] == str(theirs).partition(" position")[0]

    anyio.run(both)
