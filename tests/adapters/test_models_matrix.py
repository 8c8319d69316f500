"""Every known provider does everything: one row of the matrix in docs/reference/providers.md."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager

import anyio
import pytest
from msgspec.structs import replace

from holdfast.adapters.models.catalog import Catalog
from holdfast.adapters.models.known import KNOWN
from holdfast.adapters.models.settings import ModelsConfig, Timeouts
from holdfast.core.agent import Shape, Style
from holdfast.core.context import Prompt
from holdfast.core.message import File, PersonSaid, Reply
from holdfast.ports.model import Delta, Model, ModelFailure
from holdfast.testing import model_server as server
from holdfast.testing.model_contract import TOOLS, prompt
from holdfast.testing.model_server import ModelServer, ScriptedCall, Usage

from . import matrix
from .recorded import Exchange, exchanges, recordings

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

Say = server.Reply
KEY = "sk-canary-0123456789abcdef"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(24)
QUICK = Timeouts(connect=2, first=0.25, idle=0.25, total=5)
SHAPE = Shape(
    schema={
        "type": "object",
        "properties": {"sum": {"type": "integer"}},
        "required": ["sum"],
        "additionalProperties": False,
    }
)


class Bench:
    """One provider, its model, and the server that plays it."""

    def __init__(self, name: str, http: ModelServer, catalog: Catalog, quick: Catalog) -> None:
        self.name, self.http, self.catalog = name, http, catalog
        told = f"{name}/{KNOWN[name].model or 'scripted'}"
        self.model, self.hasty = catalog.find(told), quick.find(told)
        self.heard: list[Delta] = []

    async def ask(
        self, *says: server.Reply, asked: Prompt | None = None, model: Model | None = None
    ) -> Reply:
        self.heard.clear()
        self.http.reset()
        self.http.load(*says)
        question = asked or prompt("hello")
        with anyio.fail_after(15):
            return await (model or self.model).ask(question, TOOLS, self.heard.append)

    async def fails(self, say: server.Reply, *, model: Model | None = None) -> ModelFailure:
        with pytest.raises(ModelFailure) as caught:
            await self.ask(say, model=model)
        assert KEY not in str(caught.value)
        return caught.value

    def sent(self) -> str:
        return json.dumps(self.http.requests[-1].body)


@asynccontextmanager
async def bench(name: str, http: ModelServer) -> AsyncGenerator[Bench]:
    """The provider as the environment gives it: nothing but its variables."""

    async def files(digest: str) -> bytes:
        assert digest == "d1"
        return PNG

    known = KNOWN[name]
    path = "" if known.kind in {"anthropic", "google", "bedrock", "azure", "ollama"} else "/v1"
    path = f"/{name}{path}" if name == "mistral" else path
    env = {known.keys[-1]: KEY, known.urls[0]: http.url + path, "AWS_SECRET_ACCESS_KEY": "hidden"}
    slow = Catalog(ModelsConfig(env=env, probe=False), files=files)
    quick = Catalog(ModelsConfig(env=env, probe=False, timeouts=QUICK), files=files)
    try:
        yield Bench(name, http, slow, quick)
    finally:
        await slow.close()
        await quick.close()


async def text(one: Bench) -> None:
    asked = replace(prompt("hello"), stream=False)
    reply = await one.ask(Say(text="Hello."), asked=asked)
    assert (reply.text, reply.finish) == ("Hello.", "stop")
    assert not one.http.requests[-1].streaming
    assert any(KEY in value for value in one.http.requests[-1].headers.values())


async def stream(one: Bench) -> None:
    reply = await one.ask(Say(text="Hello, you.", chunks=4))
    assert reply.text == "Hello, you." == "".join(delta.text for delta in one.heard)
    assert one.http.requests[-1].streaming
    assert len([delta for delta in one.heard if delta.text]) > 1


async def tool_call(one: Bench) -> None:
    for streamed in (True, False):
        asked = replace(prompt("hello"), stream=streamed)
        call = ScriptedCall(name="read", arguments={"path": "a.txt"})
        reply = await one.ask(Say(text="I look.", calls=(call,)), asked=asked)
        assert [(made.tool, made.arguments) for made in reply.calls] == [
            ("read", {"path": "a.txt"})
        ]
        assert (reply.text, reply.finish) == ("I look.", "calls")
        assert '"read"' in one.sent()


async def parallel_calls(one: Bench) -> None:
    calls = tuple(ScriptedCall(name="read", arguments={"path": name}) for name in "abc")
    reply = await one.ask(Say(calls=calls))
    assert [call.arguments["path"] for call in reply.calls] == ["a", "b", "c"]
    assert len({call.id for call in reply.calls}) == 3


async def streamed_arguments(one: Bench) -> None:
    call = ScriptedCall(name="read", arguments={"path": "a/long/path/to/a.txt", "why": "ü😀"})
    reply = await one.ask(Say(calls=(call, call), chunks=9))
    assert [made.arguments for made in reply.calls] == [call.arguments] * 2
    assert [delta.call for delta in one.heard if delta.call] == ["read", "read"]


async def thinking(one: Bench) -> None:
    for level in ("off", "low", "medium", "high"):
        asked = replace(prompt("hello"), style=Style(thinking=level, temperature=0.2, top_p=0.5))
        reply = await one.ask(Say(text="42.", thinking="Six by nine.", chunks=2), asked=asked)
        assert reply.text == "42."
        assert "".join(thought.text for thought in reply.thoughts) == "Six by nine."
        assert "".join(delta.thought for delta in one.heard) == "Six by nine."


async def shape(one: Bench) -> None:
    asked = replace(prompt("2 + 3"), shape=SHAPE)
    reply = await one.ask(Say(text='{"sum": 5}'), asked=asked)
    assert (json.loads(reply.text), reply.problem) == ({"sum": 5}, "")
    natively = any(word in one.sent() for word in ("json_schema", "responseJsonSchema"))
    assert natively != (one.name in matrix.IN_WORDS)


async def image(one: Bench) -> None:
    shown = File(name="cat.png", media_type="image/png", digest="d1", size=len(PNG))
    asked = Prompt(system="s", entries=(PersonSaid(text="What?", files=(shown,)),), saw=1)
    reply = await one.ask(Say(text="A cat."), asked=asked)
    assert reply.text == "A cat."
    assert "iVBORw0KGgo" in one.sent().replace("\\", "")


async def usage(one: Bench) -> None:
    counted = Usage(input=1000, output=50, cache_read=300)
    for streamed in (True, False):
        asked = replace(prompt("hello"), stream=streamed)
        reply = await one.ask(Say(text="Hello.", usage=counted), asked=asked)
        used = reply.usage
        assert (used.input, used.output, used.cache_read) == (1000, 50, 300)


async def bad_request(one: Bench) -> None:
    failure = await one.fails(Say(status=400, text="that is not how to ask"))
    assert (failure.code, failure.retryable, failure.paid) == ("invalid_request", False, False)


async def bad_key(one: Bench) -> None:
    failure = await one.fails(Say(status=401, text=f"bad key {KEY}"))
    assert (failure.code, failure.retryable) == ("auth", False)
    assert "HTTP 401" in str(failure)
    assert "key" in str(failure)


async def no_model(one: Bench) -> None:
    failure = await one.fails(Say(status=404, text="no such model"))
    assert (failure.code, failure.retryable) == ("not_found", False)


async def rate_limit(one: Bench) -> None:
    failure = await one.fails(Say(status=429, text="slow down", retry_after=7))
    assert (failure.code, failure.retryable, failure.retry_after) == ("rate_limited", True, 7.0)


async def server_error(one: Bench) -> None:
    for status in (500, 503):
        failure = await one.fails(Say(status=status, text="oh"))
        assert (failure.code, failure.retryable) == ("overloaded", True)


async def late(one: Bench) -> None:
    failure = await one.fails(Say(text="late", hold=True), model=one.hasty)
    assert (failure.code, failure.retryable) == ("timeout", True)


async def stall(one: Bench) -> None:
    failure = await one.fails(Say(text="a b c d", chunks=4, stall=True), model=one.hasty)
    assert (failure.code, failure.retryable) == ("timeout", True)


async def cut(one: Bench) -> None:
    for cleanly in (True, False):
        failure = await one.fails(Say(text="Hello, you.", chunks=3, cut=2, cut_cleanly=cleanly))
        assert (failure.code, failure.retryable) == ("incomplete", True)


async def malformed(one: Bench) -> None:
    failure = await one.fails(Say(text="Hello.", malformed=True))
    assert (failure.code, failure.retryable) == ("malformed", True)
    assert (await one.ask(Say(text="Again."))).text == "Again."


async def overflow(one: Bench) -> None:
    words = "prompt is too long: 210000 tokens exceeds the maximum context length of 200000"
    failure = await one.fails(Say(status=400, text=words))
    assert (failure.code, failure.retryable) == ("context_overflow", False)


SHOWN: dict[str, Callable[[Bench], Awaitable[None]]] = {
    one.__name__: one
    for one in (
        text, stream, tool_call, parallel_calls, streamed_arguments, thinking, shape, image, usage,
        bad_request, bad_key, no_model, rate_limit, server_error, late, stall, cut, malformed,
        overflow,
    )
}  # fmt: skip


@pytest.fixture(scope="module")
def http() -> Generator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.mark.timeout(90)
@pytest.mark.parametrize("name", KNOWN)
async def test_a_known_provider_does_all_that_its_row_of_the_matrix_says(
    http: ModelServer, name: str
):
    """Parts of rows GC-31, KV-13, KV-22, OK-79, OK-81, OK-88."""
    wrong: dict[str, AssertionError | ModelFailure | TimeoutError] = {}
    async with bench(name, http) as one:
        for cell in matrix.CELLS:
            try:
                await SHOWN[cell](one)
            except (AssertionError, ModelFailure, TimeoutError) as error:
                wrong[cell] = error
    assert not wrong


@pytest.mark.parametrize("name", ["openai", "azure", "openrouter", "groq", "deepseek", "xai"])
async def test_how_likely_tokens_were_is_told(http: ModelServer, name: str):
    async with bench(name, http) as one:
        await _tells_odds(one, one.model)


async def test_how_likely_tokens_were_is_told_over_openais_newer_protocol(http: ModelServer):
    async with bench("openai-responses", http) as one:
        await _tells_odds(one, one.catalog.find("openai-responses/gpt-4.1"))


async def _tells_odds(one: Bench, model: Model) -> None:
    for streamed in (True, False):
        wish = replace(prompt("hello"), style=Style(logprobs=2), stream=streamed)
        reply = await one.ask(Say(text="Hello, you.", chunks=3), asked=wish, model=model)
        assert "".join(token["token"] for token in reply.logprobs) == "Hello, you."
        assert {len(token["top_logprobs"]) for token in reply.logprobs} == {2}


@pytest.mark.parametrize("name", ["anthropic", "google", "bedrock", "openai-responses"])
async def test_where_that_cannot_be_told_nothing_is_sent(http: ModelServer, name: str):
    """The last one's default model thinks first, and says nothing of its odds then."""
    async with bench(name, http) as one:
        wish = replace(prompt("hello"), style=Style(logprobs=2))
        with pytest.raises(ModelFailure, match="logprobs") as caught:
            await one.ask(Say(text="Hello, you."), asked=wish)
        assert caught.value.code == "invalid_request"
        assert list(http.requests) == []


@pytest.mark.parametrize("name", [name for name, known in KNOWN.items() if not known.beside])
def test_one_variable_is_enough_to_be_found_where_the_provider_is(name: str):
    """Parts of rows OK-79, KV-13."""
    known = KNOWN[name]
    beside = {"azure": {"AZURE_OPENAI_ENDPOINT": "https://mine.test"}}
    beside |= {"custom": {"CUSTOM_BASE_URL": "https://mine.test/v1"}}
    env = {known.keys[0]: KEY, **beside.get(name, {})}
    (found,) = Catalog(ModelsConfig(env=env, probe=False)).describe().found
    assert (found.name, found.source) == (name, known.keys[0])
    if name not in beside:
        assert found.provider.base_url == known.base_url.format(region="us-east-1")
        assert found.models == ((known.model,) if known.model else ())
    moved = {**env, known.urls[-1]: "https://elsewhere.test/x"}
    (found,) = Catalog(ModelsConfig(env=moved, probe=False)).describe().found
    assert found.host == ("mine.test" if name == "azure" else "elsewhere.test")


def test_the_page_of_providers_is_what_was_shown():
    """No cell says more than a test above has done."""
    assert SHOWN.keys() == matrix.CELLS.keys()
    assert matrix.PAGE.read_text("utf-8") == matrix.page(), "python tests/adapters/matrix.py"


_RECORDED: dict[str, Callable[[Exchange], bool]] = {
    "text": lambda one: bool(one.said.text) and not one.streamed,
    "stream": lambda one: one.streamed,
    "tool_call": lambda one: bool(one.said.calls),
    "parallel_calls": lambda one: len(one.said.calls) > 1,
    "streamed_arguments": lambda one: one.streamed and bool(one.said.calls),
    "thinking": lambda one: bool(one.said.thought),
    "usage": lambda one: one.said.usage is not None,
    "cut": lambda one: one.streamed,
}


@pytest.mark.skipif(recordings() is None, reason="the recordings are not here")
@pytest.mark.parametrize("name", matrix.RECORDED)
def test_what_is_said_to_be_recorded_is_recorded(name: str):
    asked, _ = exchanges()
    own = [one for one in asked if name in {one.kind, one.flavour} and not one.failed]
    missing = [cell for cell in matrix.RECORDED[name] if not any(map(_RECORDED[cell], own))]
    assert not missing
