"""Every model keeps every promise: the offline one, the scripted one, and each kind of provider."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import pytest

from holdfast.adapters.models.catalog import Catalog
from holdfast.adapters.models.offline import OfflineModel
from holdfast.adapters.models.scripted import ScriptedModel
from holdfast.adapters.models.settings import KINDS, Kind, ModelsConfig, Provider
from holdfast.core.context import Prompt
from holdfast.core.ids import CallId
from holdfast.core.message import PersonSaid, Reply, ToolAnswered, ToolCall, words
from holdfast.ports.model import Model
from holdfast.testing import model_server as server
from holdfast.testing.model_contract import CALL, CLAUSES, Clause

PATHS: dict[Kind, str] = {
    "openai": "/v1",
    "openai-compatible": "/v1",
    "openai-responses": "/v1",
    "azure": "",
    "bedrock": "",
    "ollama": "",
    "anthropic": "",
    "google": "",
}


@asynccontextmanager
async def _offline() -> AsyncGenerator[Model, None]:
    yield OfflineModel()


@asynccontextmanager
async def _scripted() -> AsyncGenerator[Model, None]:
    def rule(prompt: Prompt) -> Reply:
        match prompt.entries[-1]:
            case ToolAnswered(outcome=outcome):
                return Reply(text=f"It says: {words(outcome)}")
            case PersonSaid(text=text) if text == CALL:
                name = CallId(f"c{len(prompt.entries)}")
                call = ToolCall(id=name, tool="read", arguments={"path": "a.txt"})
                return Reply(calls=(call,), finish="calls")
            case _:
                return Reply(text="Whatever I was told to say.")

    yield ScriptedModel(rule)


@asynccontextmanager
async def _in_text() -> AsyncGenerator[Model, None]:
    """A provider without native tool calls: the model calls tools in its text, and thinks there."""

    def rule(request: server.RecordedRequest) -> server.Reply:
        if "forty-two" in request.last_text:
            return server.Reply(text="<think>Hm.</think>\nIt says forty-two.", chunks=9)
        if request.last_text == CALL:
            call = '{"tool_name": "read", "arguments": {"path": "a.txt"},}'
            return server.Reply(text=f"Let me look.\n```json\n{call}\n```\n", chunks=9)
        return server.Reply(text="<think>Hm.</think>\n\nAnything you like.", chunks=9)

    with server.ModelServer(rule=rule) as http:
        provider = Provider(kind="openai-compatible", base_url=f"{http.url}/v1", tools="text")
        catalog = Catalog(ModelsConfig(providers={"here": provider}, probe=False))
        yield catalog.find("here/scripted")
        await catalog.close()


@asynccontextmanager
async def _provider(kind: Kind) -> AsyncGenerator[Model, None]:
    def rule(request: server.RecordedRequest) -> server.Reply:
        if "forty-two" in request.last_text:
            return server.Reply(text="It says forty-two.", chunks=4)
        if request.last_text == CALL:
            call = server.ScriptedCall(name="read", arguments={"path": "a.txt"})
            return server.Reply(calls=(call,), chunks=3)
        return server.Reply(text="Anything you like.", thinking="Hm.", chunks=5)

    with server.ModelServer(rule=rule) as http:
        provider = Provider(
            kind=kind,
            base_url=http.url + PATHS[kind],
            api_key="test-key",
            models=("scripted",),
            free=False,
        )
        catalog = Catalog(ModelsConfig(providers={"here": provider}, probe=False))
        yield catalog.find("here/scripted")
        await catalog.close()


MODELS = ("offline", "scripted", "in text", *KINDS)


def _open(name: str) -> AbstractAsyncContextManager[Model]:
    match name:
        case "offline":
            return _offline()
        case "scripted":
            return _scripted()
        case "in text":
            return _in_text()
        case _:
            return _provider(next(kind for kind in KINDS if kind == name))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
def test_every_model_keeps_the_promise(clause: Clause, name: str):
    async def kept() -> None:
        async with _open(name) as model:
            await clause(model)

    anyio.run(kept)
