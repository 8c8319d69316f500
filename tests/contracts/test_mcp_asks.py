"""Servers of the official kit ask their person, a model, for folders; and have more than tools."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from holdfast.core.message import Outcome
from tests.adapters.mcp_stage import Stage, inner
from tests.contracts.test_mcp import listening, served

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


async def asking(kind: str, place: Path, url: str, use: Any, **more: Any) -> None:
    async with served(kind, place, url) as stage:
        stage.configured = tuple(replace(one, **more) for one in stage.configured)
        await stage.trust("kit")
        await use(stage)


async def answered(stage: Stage, content: dict[str, Any] | None, tool: str) -> str:
    """What a tool says whose question is answered as soon as there is one."""
    said: list[str] = []

    async def run() -> None:
        said.append(getattr(await stage.run(tool), "text"))  # noqa: B009

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            while not (asked := stage.servers.questions()):
                await anyio.sleep(0.01)
            assert f"holdfast mcp answer {asked[0].id}" in stage.told[-1]
            stage.servers.answer(asked[0].id, content)
    assert not stage.servers.questions()
    return said[0]


@pytest.mark.parametrize("handshake", [False, True])
@pytest.mark.parametrize("kind", ["stdio", "http"])
async def test_a_person_is_asked_and_what_they_leave_out_is_as_proposed(
    kind: str, handshake: bool, tmp_path: Path
):
    """Part of rows GC-94, OK-108."""

    async def use(stage: Stage) -> None:
        assert "accept name='Bob' age=36" in await answered(stage, {"name": "Bob"}, "kit_meet")
        assert "decline" in await answered(stage, None, "kit_meet")

    with listening(kind) if kind != "stdio" else nullcontext("") as url:
        await asking(kind, tmp_path, url, use, ask_seconds=30.0, handshake=handshake)


async def test_nobody_is_asked_where_the_owner_gives_no_time_or_nobody_attends(tmp_path: Path):
    async with served("stdio", tmp_path) as stage:
        outcome: Outcome = await stage.run("kit_meet")
        assert "accept" not in str(outcome)
        assert not stage.servers.questions()

    async def use(stage: Stage) -> None:
        stage.job = replace(stage.job, unattended=True)
        assert "decline" in inner(await stage.says("kit_meet"))

    await asking("stdio", tmp_path, "", use, ask_seconds=30.0)


@pytest.mark.parametrize("handshake", [False, True])
async def test_a_model_is_asked_only_after_a_yes_or_where_that_is_always_given(
    handshake: bool, tmp_path: Path
):
    """Part of row GC-94."""

    async def ask(stage: Stage) -> None:
        assert "scripted/model says four" in await answered(stage, {}, "kit_think")
        assert stage.sampled[0].said[0].text == "2 and 2?"
        assert "the person said no" in await answered(stage, None, "kit_think")
        assert len(stage.sampled) == 1

    async def always(stage: Stage) -> None:
        assert "scripted/model says four" in inner(await stage.says("kit_think"))

    async def never(stage: Stage) -> None:
        assert "four" not in str(await stage.run("kit_think"))
        assert not stage.sampled

    old = {"handshake": handshake}
    await asking("stdio", tmp_path, "", ask, ask_seconds=30.0, sampling="ask", **old)
    await asking("stdio", tmp_path, "", always, sampling="always", **old)
    await asking("stdio", tmp_path, "", never, ask_seconds=30.0, **old)


async def test_a_command_is_told_its_folder_and_what_it_has_is_read(tmp_path: Path):
    """Part of rows GC-94, OK-108."""
    async with served("stdio", tmp_path) as stage:
        assert stage.workspace.as_uri() in inner(await stage.says("kit_roots"))
        listed = await stage.says("kit_list_resources")
        assert "kit://words" in listed
        assert "kit://pages/{number}" in listed
        assert "words of the kit" in inner(await stage.says("kit_read_resource", uri="kit://words"))
        assert "page 7" in inner(await stage.says("kit_read_resource", uri="kit://pages/7"))
        code, _ = await stage.fails("kit_read_resource", uri="kit://nowhere")
        assert code == "mcp_error"
        traits = stage.tool("kit_read_resource").traits
        assert traits.source == "mcp:kit"
        prompts = await stage.servers.ask("kit", "prompts/list", {})
        assert [one["name"] for one in prompts["prompts"]] == ["review"]
        wanted = {"name": "review", "arguments": {"file": "a.py"}}
        filled = await stage.servers.ask("kit", "prompts/get", wanted)
        assert filled["messages"][0]["content"]["text"] == "Please review a.py."
