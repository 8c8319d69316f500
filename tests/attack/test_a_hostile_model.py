"""A provider that sends what no honest one would: the task may fail, nothing else may."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from holdfast.adapters.models.catalog import Catalog
from holdfast.adapters.models.settings import ModelsConfig, Provider
from holdfast.core.message import Reply
from holdfast.ports.model import Delta, Model
from holdfast.testing.model_contract import TOOLS, nothing, prompt
from holdfast.testing.model_server import ModelServer, ScriptedCall
from holdfast.testing.model_server import Reply as Say

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def opened(*script: Say) -> AsyncGenerator[Model]:
    with ModelServer(script=script) as http:
        provider = Provider(kind="openai-compatible", base_url=f"{http.url}/v1")
        catalog = Catalog(ModelsConfig(providers={"here": provider}, probe=False))
        try:
            yield catalog.find("here/scripted")
        finally:
            await catalog.close()


async def asked(*script: Say) -> Reply:
    async with opened(*script) as model:
        with anyio.fail_after(20):
            return await model.ask(prompt("hello"), TOOLS, nothing)


@pytest.mark.parametrize(
    "arguments",
    ['{"path": "\\ud800"}', '{"\\udcff": 1}', '{"path":' + "[" * 50_000 + "]" * 50_000 + "}"],
    ids=["half a pair", "a name of half a pair", "deep"],
)
async def test_arguments_that_cannot_be_kept_are_a_problem_of_the_call(arguments: str) -> None:
    reply = await asked(Say(calls=(ScriptedCall(name="read", arguments=arguments),), usage=None))
    (call,) = reply.calls
    assert call.arguments == {}
    assert "not valid JSON" in call.problem


async def test_a_number_beyond_all_bounds_is_no_path() -> None:
    reply = await asked(Say(calls=(ScriptedCall(name="read", arguments='{"path": 1e400}'),)))
    (call,) = reply.calls
    assert call.arguments == {"path": float("inf")}


async def test_deltas_of_any_text_can_be_sent_on() -> None:
    heard: list[Delta] = []
    async with opened(Say(text="caf\u00e9 \U0001f600", chunks=6)) as model:
        with anyio.fail_after(20):
            reply = await model.ask(prompt("hello"), TOOLS, heard.append)
    assert reply.text == "caf\u00e9 \U0001f600"
    assert "".join(delta.text for delta in heard) == reply.text
