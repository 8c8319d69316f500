"""The scripted model server satisfies the official clients, in what it says and how it fails."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anthropic
import anyio
import httpx
import httpx2
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors
from pydantic_ai import (
    ModelHTTPError,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)
from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.ollama import OllamaModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.providers.ollama import OllamaProvider
from pydantic_ai.providers.openai import OpenAIProvider

from holdfast.testing.model_server import (
    Catalogue,
    ModelServer,
    RecordedRequest,
    Reply,
    ScriptedCall,
    Usage,
    parse_script,
)

SECONDS = 10.0  # no single wait in this file is longer


@dataclass(kw_only=True)
class Heard:
    """What a client made of a reply, in words common to all dialects."""

    text: str = ""
    thinking: str = ""
    calls: list[tuple[str, object]] = field(default_factory=list[tuple[str, object]])
    finish: str | None = None
    usage: Usage | None = None
    pieces: int = 0


def ask_openai(url: str) -> Heard:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="key", max_retries=0, timeout=SECONDS) as sdk:
        answer = sdk.chat.completions.create(
            model="gpt", messages=[{"role": "user", "content": "Hi"}]
        )
    choice = answer.choices[0]
    heard = Heard(text=choice.message.content or "", finish=choice.finish_reason)
    heard.thinking = getattr(choice.message, "reasoning_content", "")
    for call in choice.message.tool_calls or []:
        assert call.type == "function"
        heard.calls.append((call.function.name, json.loads(call.function.arguments)))
    heard.usage = usage_of_openai(answer.usage)
    return heard


def usage_of_openai(usage: openai.types.CompletionUsage | None) -> Usage | None:
    if usage is None:
        return None
    assert usage.prompt_tokens_details
    assert usage.completion_tokens_details
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    return Usage(
        input=usage.prompt_tokens,
        output=usage.completion_tokens,
        cache_read=usage.prompt_tokens_details.cached_tokens or 0,
        cache_write=usage.prompt_tokens_details.cache_write_tokens or 0,
        reasoning=usage.completion_tokens_details.reasoning_tokens or 0,
    )


def stream_openai(url: str) -> Heard:
    heard = Heard()
    calls: dict[int, list[str]] = {}
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key="key", max_retries=0, timeout=SECONDS) as sdk,
        sdk.chat.completions.create(
            model="gpt",
            messages=[{"role": "user", "content": "Hi"}],
            stream=True,
            stream_options={"include_usage": True},
        ) as stream,
    ):
        for chunk in stream:
            heard.usage = usage_of_openai(chunk.usage) or heard.usage
            for choice in chunk.choices:
                delta = choice.delta
                heard.finish = choice.finish_reason or heard.finish
                heard.pieces += bool(delta.content)
                heard.text += delta.content or ""
                heard.thinking += getattr(delta, "reasoning_content", "")
                for part in delta.tool_calls or []:
                    assert part.function
                    call = calls.setdefault(part.index, [part.function.name or "", ""])
                    call[1] += part.function.arguments or ""
    heard.calls = [(name, json.loads(arguments)) for name, arguments in calls.values()]
    return heard


def heard_from_anthropic(message: anthropic.types.Message) -> Heard:
    heard = Heard(finish=message.stop_reason)
    for block in message.content:
        match block:
            case anthropic.types.ThinkingBlock():
                assert block.signature
                heard.thinking += block.thinking
            case anthropic.types.TextBlock():
                heard.text += block.text
            case anthropic.types.ToolUseBlock():
                heard.calls.append((block.name, block.input))
            case _:
                pytest.fail(f"an unscripted block: {block}")
    usage = message.usage
    read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    heard.usage = Usage(
        input=usage.input_tokens + read + written,
        output=usage.output_tokens,
        cache_read=read,
        cache_write=written,
        reasoning=usage.output_tokens_details.thinking_tokens if usage.output_tokens_details else 0,
    )
    return heard


def ask_anthropic(url: str) -> Heard:
    with anthropic.Anthropic(base_url=url, api_key="k", max_retries=0, timeout=SECONDS) as sdk:
        return heard_from_anthropic(
            sdk.messages.create(
                model="claude", max_tokens=99, messages=[{"role": "user", "content": "Hi"}]
            )
        )


def stream_anthropic(url: str) -> Heard:
    pieces = 0
    with (
        anthropic.Anthropic(base_url=url, api_key="k", max_retries=0, timeout=SECONDS) as sdk,
        sdk.messages.stream(
            model="claude", max_tokens=99, messages=[{"role": "user", "content": "Hi"}]
        ) as stream,
    ):
        for event in stream:
            pieces += event.type == "text"
        assert stream.current_message_snapshot.stop_reason, "the stream ended without its end"
        heard = heard_from_anthropic(stream.get_final_message())
    heard.pieces = pieces
    return heard


def gemini(url: str) -> genai.Client:
    options = genai.types.HttpOptions(base_url=url, timeout=int(SECONDS * 1000))
    return genai.Client(api_key="key", http_options=options)


def hear_gemini(heard: Heard, answer: genai.types.GenerateContentResponse) -> None:
    for candidate in answer.candidates or []:
        if candidate.finish_reason:
            heard.finish = candidate.finish_reason.value
        for part in (candidate.content and candidate.content.parts) or []:
            if part.function_call:
                heard.calls.append((part.function_call.name or "", part.function_call.args))
            elif part.thought:
                heard.thinking += part.text or ""
            else:
                heard.pieces += bool(part.text)
                heard.text += part.text or ""
    if usage := answer.usage_metadata:
        thoughts = usage.thoughts_token_count or 0
        heard.usage = Usage(
            input=usage.prompt_token_count or 0,
            output=(usage.candidates_token_count or 0) + thoughts,
            cache_read=usage.cached_content_token_count or 0,
            reasoning=thoughts,
        )


def ask_gemini(url: str) -> Heard:
    heard = Heard()
    with gemini(url) as sdk:
        hear_gemini(heard, sdk.models.generate_content(model="gemini", contents="Hi"))  # pyright: ignore[reportUnknownMemberType]
    return replace(heard, pieces=0)


def stream_gemini(url: str) -> Heard:
    heard = Heard()
    with gemini(url) as sdk:
        for answer in sdk.models.generate_content_stream(model="gemini", contents="Hi"):  # pyright: ignore[reportUnknownMemberType]
            hear_gemini(heard, answer)
    assert heard.finish, "the stream ended without its end"
    return heard


def hear_ollama(heard: Heard, line: dict[str, Any]) -> None:
    message = line["message"]
    heard.pieces += bool(message["content"])
    heard.text += message["content"]
    heard.thinking += message.get("thinking", "")
    for call in message.get("tool_calls", []):
        heard.calls.append((call["function"]["name"], call["function"]["arguments"]))
    heard.finish = line.get("done_reason")
    if line["done"] and "eval_count" in line:
        heard.usage = Usage(input=line["prompt_eval_count"], output=line["eval_count"])


def ask_ollama(url: str) -> Heard:
    heard = Heard()
    body = {"model": "qwen", "stream": False, "messages": [{"role": "user", "content": "Hi"}]}
    answer = httpx2.post(f"{url}/api/chat", json=body, timeout=SECONDS)
    hear_ollama(heard, answer.raise_for_status().json())
    return replace(heard, pieces=0)


def stream_ollama(url: str) -> Heard:
    heard = Heard()
    body = {"model": "qwen", "messages": [{"role": "user", "content": "Hi"}]}
    with httpx2.stream("POST", f"{url}/api/chat", json=body, timeout=SECONDS) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            hear_ollama(heard, json.loads(line))
    assert heard.finish, "the stream ended without its end"
    return heard


Ask = Callable[[str], Heard]
ASKS: list[Ask] = [ask_openai, ask_anthropic, ask_gemini, ask_ollama]
STREAMS: list[Ask] = [stream_openai, stream_anthropic, stream_gemini, stream_ollama]
every_way = pytest.mark.parametrize("ask", ASKS + STREAMS)
every_stream = pytest.mark.parametrize("ask", STREAMS)
# How the clients complain when an answer breaks off or makes no sense.
BROKEN = (
    openai.APIError,
    anthropic.APIError,
    genai_errors.APIError,
    genai_errors.UnknownApiResponseError,
    httpx2.TransportError,
    httpx.TransportError,  # google-genai's own
    ValueError,
    AssertionError,
)


@pytest.fixture(scope="module")
def one_server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def server(one_server: ModelServer) -> ModelServer:
    settle(lambda: one_server.active == 0)
    one_server.reset()
    return one_server


@pytest.fixture
def aside() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


# What it says


@every_way
def test_text_arrives_word_for_word(server: ModelServer, ask: Ask) -> None:
    server.load(Reply(text='Grüße, "world"\n🙂', chunks=3))
    assert ask(server.url).text == 'Grüße, "world"\n🙂'


@every_stream
def test_a_stream_comes_in_as_many_pieces_as_scripted(server: ModelServer, ask: Ask) -> None:
    server.load(Reply(text="one two three four", chunks=4))
    assert ask(server.url).pieces == 4


@every_way
def test_thinking_is_kept_apart_from_the_text(server: ModelServer, ask: Ask) -> None:
    server.load(Reply(text="42", thinking="Six times seven.", chunks=2))
    heard = ask(server.url)
    assert (heard.thinking, heard.text) == ("Six times seven.", "42")


@every_way
def test_parallel_calls_arrive_whole_and_in_order(server: ModelServer, ask: Ask) -> None:
    add = ScriptedCall(name="add", arguments={"a": 1, "b": [2, {"c": "Ω"}]})
    server.load(Reply(text="So:", calls=(add, ScriptedCall(name="look")), chunks=5))
    heard = ask(server.url)
    assert heard.calls == [("add", {"a": 1, "b": [2, {"c": "Ω"}]}), ("look", {})]
    assert heard.finish in {"tool_calls", "tool_use", "STOP", "stop"}


@every_way
def test_usage_is_told_to_the_token(server: ModelServer, ask: Ask) -> None:
    told = Usage(input=100, output=40, cache_read=30, cache_write=20, reasoning=10)
    server.load(Reply(text="Hi.", usage=told))
    untold = {"gemini": ["cache_write"], "ollama": ["cache_read", "cache_write", "reasoning"]}
    names = untold.get(ask.__name__.partition("_")[2], [])
    assert ask(server.url).usage == replace(told, **dict.fromkeys(names, 0))


@every_way
def test_usage_may_be_left_out(server: ModelServer, ask: Ask) -> None:
    server.load(Reply(text="Hi.", usage=None))
    assert ask(server.url).usage in (None, Usage(input=0, output=0))


@every_way
def test_a_full_window_is_told_as_the_dialect_tells_it(server: ModelServer, ask: Ask) -> None:
    server.load(Reply(text="And so", finish="length"))
    assert ask(server.url).finish in {"length", "max_tokens", "MAX_TOKENS"}


@pytest.mark.parametrize("ask", [*ASKS[:3], *STREAMS[:3]])
def test_a_filtered_answer_is_told_as_the_dialect_tells_it(server: ModelServer, ask: Ask) -> None:
    server.load(Reply(finish="content_filter"))
    assert ask(server.url).finish in {"content_filter", "refusal", "SAFETY"}


def test_openai_arguments_that_are_not_json_arrive_as_they_are(server: ModelServer) -> None:
    server.load(Reply(calls=(ScriptedCall(name="add", arguments='{"a": '),), chunks=2))
    with pytest.raises(json.JSONDecodeError):
        stream_openai(server.url)


@pytest.mark.parametrize("ask", [ask_gemini, stream_gemini])
def test_gemini_says_itself_that_a_call_is_malformed(server: ModelServer, ask: Ask) -> None:
    server.load(Reply(calls=(ScriptedCall(name="add", arguments='{"a": '),)))
    heard = ask(server.url)
    assert (heard.finish, heard.calls) == ("MALFORMED_FUNCTION_CALL", [])


def test_usage_is_streamed_by_openai_only_when_asked_for(server: ModelServer) -> None:
    server.load(Reply(text="Hi."))
    body: dict[str, Any] = {"model": "gpt", "messages": [], "stream": True}
    answer = httpx2.post(f"{server.url}/v1/chat/completions", json=body, timeout=SECONDS)
    assert "usage" not in answer.text
    assert answer.text.endswith("data: [DONE]\n\n")


def test_models_are_listed_in_every_dialect() -> None:
    catalogue = Catalogue(models=("a", "b"), capabilities=("completion",))
    with ModelServer(catalogue=catalogue) as server:
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="key") as sdk:
            assert [model.id for model in sdk.models.list()] == ["a", "b"]
        with anthropic.Anthropic(base_url=server.url, api_key="key") as sdk:
            assert [model.id for model in sdk.models.list()] == ["a", "b"]
        with gemini(server.url) as sdk:
            assert [model.name for model in sdk.models.list()] == ["models/a", "models/b"]
        tags = httpx2.get(f"{server.url}/api/tags").json()
        assert [model["model"] for model in tags["models"]] == ["a", "b"]
        card = httpx2.post(f"{server.url}/api/show", json={"model": "a"}).json()
        assert card["capabilities"] == ["completion"]
        assert httpx2.get(f"{server.url}/api/version").json()["version"]
        dialects = [probe.dialect for probe in server.probes]
        assert dialects == ["openai", "anthropic", "gemini", "ollama", "ollama", "ollama"]


# What it picks


@every_way
def test_one_script_answers_in_order_then_the_default(server: ModelServer, ask: Ask) -> None:
    server.load(Reply(text="first"), Reply(text="second"))
    assert [ask(server.url).text for _ in range(2)] == ["first", "second"]
    with ModelServer([Reply(text="only")], default=Reply(text="always")) as other:
        assert [ask(other.url).text for _ in range(3)] == ["only", "always", "always"]


def test_an_exhausted_script_is_a_refusal_no_client_retries(server: ModelServer) -> None:
    with pytest.raises(openai.BadRequestError, match="exhausted"):
        ask_openai(server.url)


def test_a_rule_decides_by_the_last_words_or_leaves_it_to_the_script() -> None:
    def rule(request: RecordedRequest) -> Reply | None:
        return Reply(text="Hi yourself.") if request.last_text == "Hi" else None

    with ModelServer([Reply(text="scripted")], rule=rule) as server:
        assert {ask(server.url).text for ask in ASKS} == {"Hi yourself."}
        body = {"model": "qwen", "stream": False, "messages": [{"role": "user", "content": "?"}]}
        answer = httpx2.post(f"{server.url}/api/chat", json=body, timeout=SECONDS).json()
        assert answer["message"]["content"] == "scripted"


@pytest.mark.parametrize(
    ("dialect", "message"),
    [
        ("openai", {"role": "tool", "tool_call_id": "1", "content": "four"}),
        ("openai", {"role": "user", "content": [{"type": "text", "text": "four"}]}),
        (
            "anthropic",
            {"content": [{"type": "tool_result", "content": [{"type": "text", "text": "four"}]}]},
        ),
        ("gemini", {"parts": [{"functionResponse": {"response": {"result": "four"}}}]}),
    ],
)
def test_the_last_words_include_tool_results(dialect: Any, message: dict[str, Any]) -> None:
    request = RecordedRequest(
        dialect=dialect,
        path="/",
        headers={},
        body={},
        model="m",
        messages=[{"role": "user", "content": "earlier"}, message],
        streaming=False,
        at=0.0,
    )
    assert "four" in request.last_text
    assert "earlier" not in request.last_text


@every_way
def test_every_request_is_recorded_as_it_was_sent(server: ModelServer, ask: Ask) -> None:
    server.load(Reply(text="Hi."))
    ask(server.url)
    (request,) = server.requests
    assert ask.__name__ == f"{'stream' if request.streaming else 'ask'}_{request.dialect}"
    assert request.last_text == "Hi"
    assert request.model in {"gpt", "claude", "gemini", "qwen"}
    assert request.headers["content-type"].startswith("application/json")
    assert abs(request.at - time.time()) < SECONDS


# How it refuses


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503, 529])
@pytest.mark.parametrize("ask", [*ASKS[:2], *STREAMS[:2]])
def test_refusals_raise_the_clients_own_errors(server: ModelServer, ask: Ask, status: int) -> None:
    server.load(Reply(status=status, text="No.", retry_after=1.5))
    expected: dict[int, str] = {
        400: "BadRequestError",
        401: "AuthenticationError",
        403: "PermissionDeniedError",
        404: "NotFoundError",
        429: "RateLimitError",
    }
    with pytest.raises((openai.APIStatusError, anthropic.APIStatusError), match=r"No\.") as caught:
        ask(server.url)
    assert caught.value.status_code == status
    assert caught.value.response.headers["retry-after"] == "1.5"
    if status in expected:
        assert type(caught.value).__name__ == expected[status]


def test_refusals_carry_the_codes_clients_look_at(server: ModelServer) -> None:
    server.load(Reply(status=401), Reply(status=429, error="insufficient_quota"))
    with pytest.raises(openai.AuthenticationError) as unknown:
        ask_openai(server.url)
    assert unknown.value.code == "invalid_api_key"
    with pytest.raises(openai.RateLimitError) as broke:
        ask_openai(server.url)
    assert broke.value.code == "insufficient_quota"
    server.load(Reply(status=529))
    with pytest.raises(anthropic.APIStatusError) as busy:
        ask_anthropic(server.url)
    assert busy.value.type == "overloaded_error"


@pytest.mark.parametrize("ask", [ask_gemini, stream_gemini])
def test_gemini_refusals_have_a_status_and_a_retry_delay(server: ModelServer, ask: Ask) -> None:
    server.load(Reply(status=429, text="Slow down.", retry_after=3))
    with pytest.raises(genai_errors.ClientError, match="Slow down") as slow:
        ask(server.url)
    assert (slow.value.code, slow.value.status) == (429, "RESOURCE_EXHAUSTED")
    assert "'retryDelay': '3s'" in str(slow.value)
    server.load(Reply(status=503))
    with pytest.raises(genai_errors.ServerError) as down:
        ask(server.url)
    assert down.value.status == "UNAVAILABLE"


def test_ollama_refusals_are_one_sentence(server: ModelServer) -> None:
    server.load(Reply(status=404, text="model 'x' not found"))
    answer = httpx2.post(f"{server.url}/api/chat", json={"model": "x", "messages": []})
    assert (answer.status_code, answer.json()) == (404, {"error": "model 'x' not found"})


def test_a_request_without_its_fields_is_refused_not_recorded(server: ModelServer) -> None:
    for path in ("/v1/chat/completions", "/v1/messages", "/api/chat", "/v1beta/models/m:nothing"):
        answer = httpx2.post(f"{server.url}{path}", json={"model": "m"})
        assert answer.status_code in {400, 404}
        assert answer.json()["error"]
    assert httpx2.post(f"{server.url}/v1/messages", content=b"{").status_code == 400
    assert server.requests == []


# How it breaks


@every_way
@pytest.mark.parametrize("cleanly", [False, True])
def test_a_cut_answer_is_never_taken_for_a_whole_one(
    server: ModelServer, ask: Ask, cleanly: bool
) -> None:
    server.load(Reply(text="one two three four", chunks=4, cut=2, cut_cleanly=cleanly))
    if ask is stream_openai and cleanly:
        # The SDK takes the end of the body for the end of the stream: only the finish is missing.
        heard = ask(server.url)
        assert (heard.pieces, heard.finish) == (2, None)
        return
    with pytest.raises(BROKEN):
        ask(server.url)


def test_a_cut_comes_after_the_scripted_number_of_pieces(server: ModelServer) -> None:
    server.load(Reply(text="abcdefgh", chunks=8, cut=3))
    seen: list[str] = []
    body: dict[str, Any] = {"model": "qwen", "messages": []}
    with (
        pytest.raises(httpx2.RemoteProtocolError),
        httpx2.stream("POST", f"{server.url}/api/chat", json=body, timeout=SECONDS) as answer,
    ):
        seen.extend(json.loads(line)["message"]["content"] for line in answer.iter_lines())
    assert seen == ["a", "b", "c"]


@every_way
def test_a_malformed_answer_is_never_taken_for_a_whole_one(server: ModelServer, ask: Ask) -> None:
    server.load(Reply(text="one two", malformed=True))
    if ask in (ask_openai, ask_anthropic):
        with pytest.raises((*BROKEN, AttributeError)):
            ask(server.url)
        return
    with pytest.raises(BROKEN):
        ask(server.url)


def test_an_error_page_may_stand_where_an_error_body_should(server: ModelServer) -> None:
    server.load(Reply(status=502, malformed=True))
    with pytest.raises(openai.InternalServerError) as down:
        ask_openai(server.url)
    assert "Bad Gateway" in down.value.response.text


@every_way
def test_a_stalled_answer_lasts_until_the_client_leaves(server: ModelServer, ask: Ask) -> None:
    server.load(Reply(text="one two", chunks=2, stall=True))
    kind = ask.__name__.partition("_")[2]
    path = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages", "ollama": "/api/chat"}
    verb = "streamGenerateContent" if ask in STREAMS else "generateContent"
    streaming = ask in STREAMS
    body: dict[str, Any] = {"model": "m", "messages": [], "contents": [], "stream": streaming}
    with (
        pytest.raises(httpx2.ReadTimeout),
        httpx2.stream(
            "POST",
            server.url + path.get(kind, f"/v1beta/models/m:{verb}"),
            json=body,
            timeout=httpx2.Timeout(SECONDS, read=0.2),
        ) as answer,
    ):
        for piece in answer.iter_bytes():
            assert b"one" in piece or b"role" in piece or b"message_start" in piece
    settle(lambda: server.abandoned == 1 and server.active == 0)


def settle(reached: Callable[[], bool]) -> None:
    """Let the server's thread run until it has noticed; bounded."""
    deadline = time.monotonic() + SECONDS
    while not reached():
        assert time.monotonic() < deadline, "the server never noticed"


# When it answers


def test_held_replies_wait_for_their_release(
    server: ModelServer, aside: ThreadPoolExecutor
) -> None:
    server.load(*[Reply(text="late", hold=True)] * 4)
    asked = [aside.submit(ask, server.url) for ask in ASKS]
    server.wait_for_requests(4)
    assert (server.active, server.peak) == (4, 4)
    assert not any(answer.done() for answer in asked)
    server.release()
    assert [answer.result(SECONDS).text for answer in asked] == ["late"] * 4


def test_a_counted_release_also_lets_later_ones_go(
    server: ModelServer, aside: ThreadPoolExecutor
) -> None:
    server.load(*[Reply(text="late", hold=True)] * 3)
    first = aside.submit(ask_openai, server.url)
    server.wait_for_requests(1)
    server.release(2)
    assert first.result(SECONDS).text == "late"
    assert ask_openai(server.url).text == "late"
    third = aside.submit(ask_openai, server.url)
    server.wait_for_requests(3)
    assert not third.done()
    server.release(1)
    assert third.result(SECONDS).text == "late"


def test_waiting_for_requests_that_never_come_is_bounded(server: ModelServer) -> None:
    with pytest.raises(TimeoutError, match="0 of 1"):
        server.wait_for_requests(seconds=0.01)


@every_way
def test_delays_come_before_the_first_byte_and_between_pieces(
    server: ModelServer, ask: Ask
) -> None:
    server.load(Reply(text="abc", chunks=3, delay=0.1, chunk_delay=0.05))
    started = time.monotonic()
    assert ask(server.url).text == "abc"
    assert time.monotonic() - started >= (0.2 if ask in STREAMS else 0.1)
    settle(lambda: server.active == 0)
    assert server.abandoned == 0


def test_the_peak_counts_only_what_overlaps(server: ModelServer) -> None:
    server.load(Reply(text="a"), Reply(text="b"))
    ask_openai(server.url)
    settle(lambda: server.active == 0)
    ask_openai(server.url)
    assert server.peak == 1


def test_leaving_drops_held_and_stalled_clients_at_once(aside: ThreadPoolExecutor) -> None:
    script = [Reply(text="x", hold=True), Reply(text="x", stall=True), Reply(text="x", delay=60)]
    with ModelServer(script) as server:
        stuck = [aside.submit(stream_openai, server.url) for _ in script]
        server.wait_for_requests(3)
        started = time.monotonic()
    assert time.monotonic() - started < 3
    for answer in stuck:
        assert isinstance(answer.exception(SECONDS), openai.APIError)


def test_a_reset_forgets_everything_and_lets_held_replies_go(
    server: ModelServer, aside: ThreadPoolExecutor
) -> None:
    server.load(Reply(text="late", hold=True), Reply(text="unused"))
    held = aside.submit(ask_openai, server.url)
    server.wait_for_requests(1)
    server.reset()
    assert held.result(SECONDS).text == "late"
    assert (server.requests, server.probes) == ([], [])
    server.load(Reply(text="new"))
    assert ask_openai(server.url).text == "new"


# From another process


def test_a_script_is_refused_where_it_says_nothing_known() -> None:
    told = parse_script('[{"text": "Hi", "calls": [{"name": "add", "arguments": {"a": 1}}]}]')
    assert told.replies == (
        Reply(text="Hi", calls=(ScriptedCall(name="add", arguments={"a": 1}),)),
    )
    for wrong, where in [
        ('[{"txt": "Hi"}]', "replies: no such field: txt"),
        ('[{"calls": [{"name": "x", "args": {}}]}]', "calls: no such field: args"),
        ('{"default": {"usage": {"in": 1}}}', "usage: no such field: in"),
        ('[{"status": 302}]', "400..599"),
        ('[{"chunks": 0}]', "at least 1"),
        ('[{"delay": -1}]', "0 or more"),
        ("3", "Expected `object`"),
        ('[{"chunks": "many"}]', "Expected `int`"),
        ("[", "truncated"),
    ]:
        with pytest.raises(ValueError, match=re.escape(where)):
            parse_script(wrong)


def test_the_server_is_driven_over_http(server: ModelServer, aside: ThreadPoolExecutor) -> None:
    def post(path: str, body: object = None) -> int:
        return httpx2.post(server.url + path, json=body, timeout=SECONDS).status_code

    assert post("/__script", [{"text": "late", "hold": True}]) == 200
    assert post("/__script", {"replies": [{"status": 200, "pieces": 1}]}) == 400
    assert post("/__unknown") == 404
    held = aside.submit(ask_openai, server.url)
    server.wait_for_requests(1)
    report = httpx2.get(f"{server.url}/__requests", timeout=SECONDS).json()
    assert [request["model"] for request in report["requests"]] == ["gpt"]
    assert (report["active"], report["peak"], report["abandoned"]) == (1, 1, 0)
    assert post("/__release") == 200
    assert held.result(SECONDS).text == "late"
    assert post("/__reset") == 200
    assert server.requests == []


def test_the_server_is_driven_from_a_shell(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text('{"replies": [{"text": "one"}], "default": {"text": "more"}}')
    command = [sys.executable, "-m", "holdfast.testing.model_server", "--script", str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().strip()
            assert [ask_openai(url).text, ask_anthropic(url).text] == ["one", "more"]
            wrong = httpx2.post(f"{url}/__script", json=[{"txt": ""}])
            assert (wrong.status_code, "txt" in wrong.json()["error"]) == (400, True)
            httpx2.post(f"{url}/__script", json=[{"text": "loaded"}]).raise_for_status()
            assert ask_ollama(url).text == "loaded"
            report = httpx2.get(f"{url}/__requests").json()
            dialects = [request["dialect"] for request in report["requests"]]
            assert dialects == ["openai", "anthropic", "ollama"]
            assert report["peak"] == 1
            httpx2.post(f"{url}/__reset").raise_for_status()
            assert httpx2.get(f"{url}/__requests").json()["requests"] == []
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()


# What pydantic-ai makes of it


def anyio_openai(url: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="key", max_retries=0, timeout=SECONDS)


@asynccontextmanager
async def pydantic_model(kind: str, url: str) -> AsyncGenerator[Model]:
    match kind:
        case "openai":
            async with anyio_openai(url) as sdk:
                yield OpenAIChatModel("gpt", provider=OpenAIProvider(openai_client=sdk))
        case "ollama":
            async with anyio_openai(url) as sdk:
                yield OllamaModel("qwen", provider=OllamaProvider(openai_client=sdk))
        case "anthropic":
            async with anthropic.AsyncAnthropic(
                base_url=url, api_key="key", max_retries=0, timeout=SECONDS
            ) as sdk:
                yield AnthropicModel("claude", provider=AnthropicProvider(anthropic_client=sdk))
        case _:
            # With a client of ours, as the house has it: else it would make one of aiohttp's.
            async with httpx2.AsyncClient(timeout=SECONDS) as http:
                provider = GoogleProvider(api_key="key", base_url=url, http_client=http)
                yield GoogleModel("gemini", provider=provider)


async def ask_pydantic(kind: str, url: str, *, streaming: bool) -> ModelResponse:
    prompt: list[ModelMessage] = [ModelRequest.user_text_prompt("Hi")]
    with anyio.fail_after(SECONDS):
        async with pydantic_model(kind, url) as model:
            if not streaming:
                return await model_request(model, prompt)
            async with model_request_stream(model, prompt) as stream:
                async for _ in stream:
                    pass
            return stream.get()


every_model = pytest.mark.parametrize("kind", ["openai", "ollama", "anthropic", "google"])
both_ways = pytest.mark.parametrize("streaming", [False, True])


@every_model
@both_ways
def test_pydantic_ai_hears_the_whole_reply(server: ModelServer, kind: str, streaming: bool) -> None:
    add = ScriptedCall(name="add", arguments={"a": 1}, id="call_add")
    told = Usage(input=100, output=40, cache_read=30, cache_write=0, reasoning=10)
    calls = (add, ScriptedCall(name="look"))
    server.load(Reply(text="So:", thinking="Hm.", calls=calls, chunks=2, usage=told))

    async def run() -> ModelResponse:
        return await ask_pydantic(kind, server.url, streaming=streaming)

    response = anyio.run(run)
    words = [part.content for part in response.parts if isinstance(part, TextPart)]
    thoughts = [part.content for part in response.parts if isinstance(part, ThinkingPart)]
    proposed = [part for part in response.parts if isinstance(part, ToolCallPart)]
    assert ("".join(words), "".join(thoughts)) == ("So:", "Hm.")
    named = [(call.tool_name, call.args_as_dict()) for call in proposed]
    assert named == [("add", {"a": 1}), ("look", {})]
    assert proposed[0].tool_call_id == "call_add"
    usage = response.usage
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == (100, 40, 30)
    assert response.finish_reason in {"tool_call", "stop"}


@every_model
@both_ways
def test_pydantic_ai_hears_a_refusal_with_its_retry_after(
    server: ModelServer, kind: str, streaming: bool
) -> None:
    server.load(Reply(status=429, retry_after=2))

    async def run() -> ModelResponse:
        return await ask_pydantic(kind, server.url, streaming=streaming)

    with pytest.raises(ModelHTTPError) as slow:
        anyio.run(run)
    assert slow.value.status_code == 429
    assert slow.value.headers is not None
    assert slow.value.headers["retry-after"] == "2"
