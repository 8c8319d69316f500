"""The client that the official conformance suite examines: our servers, driven as people would.

`python mcp_conformance.py URL`, with the scenario in the environment. What is looked at, agreed to,
logged in to and called is `adapters/tools/mcp/` as the house uses it, by the real way out; only the
person is played: they follow a login's address at once and say yes to what they are asked.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import httpx2

from holdfast.adapters.egress.gateway import Gateway
from holdfast.core.error import HoldfastError
from holdfast.core.mcp import LoginSpec, ServerSpec
from holdfast.core.message import Failed
from holdfast.core.reach import Reach
from holdfast.engine.clock import SystemClock
from holdfast.testing.fake_visits import FakeVisits
from tests.adapters.mcp_stage import Stage, staged

_PATIENCE = 3
_BESIDES = (
    ("resources/list", "resources", "uri", "resources/read"),
    ("prompts/list", "prompts", "name", "prompts/get"),
)
_PLAIN: dict[str, Any] = {"number": 1, "integer": 1, "boolean": True}
_ARGUMENTS: dict[str, dict[str, Any]] = {"add_numbers": {"a": 5, "b": 3}}


def spec_of(url: str, context: dict[str, Any]) -> tuple[ServerSpec, dict[str, str]]:
    """The server as its owner would describe it, and the secrets that this names."""
    login: dict[str, Any] = {"document": "https://conformance-test.local/client-metadata.json"}
    kept: dict[str, str] = {}
    if "client_id" in context:
        login["client_id"] = context["client_id"]
    for field, key in (("client_secret", "client_secret"), ("client_key", "private_key_pem")):
        if key in context:
            kept[f"suite/{field}"] = context[key]
            login[field] = f"$SECRET{{suite/{field}}}"
    if "client-credentials" in context.get("name", ""):
        login["grant"] = "own"
    return ServerSpec(
        name="suite", url=url, prefix="", login=LoginSpec(**login), ask_seconds=20
    ), kept


async def log_in(stage: Stage) -> None:
    """A person opens the address, says yes, and brings back where their browser ended."""
    begun = await stage.servers.logins.begin("suite")
    if begun.state == "in":
        return
    async with httpx2.AsyncClient(trust_env=False) as browser:
        answer = await browser.get(begun.url)
    await stage.servers.logins.finish(begun.attempt, answer.headers["location"])


async def agree(stage: Stage) -> None:
    for left in reversed(range(_PATIENCE)):
        try:
            await stage.trust("suite")
        except HoldfastError as error:
            if error.code != "mcp_login_needed" or not left:
                raise
            await log_in(stage)
        else:
            return


async def say_yes(stage: Stage) -> None:
    """Whoever is asked leaves everything as it is proposed."""
    while True:
        for question in stage.servers.questions():
            stage.servers.answer(question.id, {})
        await anyio.sleep(0.01)


def arguments(stage: Stage, tool: str) -> dict[str, Any]:
    """What the suite wants a tool to be called with; a schema as it was agreed to."""
    if tool != "json_schema_echo":
        schema = stage.tool(tool).spec.schema
        wanted = {name: schema["properties"][name] for name in schema.get("required", ())}
        plain = {name: _PLAIN.get(about.get("type"), "text") for name, about in wanted.items()}
        return _ARGUMENTS.get(tool, plain)
    lock = json.loads((stage.home / "mcp.lock.json").read_text(encoding="utf-8"))
    offers = [one["offer"] for one in lock["servers"]["suite"]["tools"]]
    return {"schema": next(one["schema"] for one in offers if one["name"] != tool)}


def calls(stage: Stage, context: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """What is called, with what: as the scenario says, or every tool once."""
    if wanted := context.get("toolCalls"):
        return [(one["name"], one["arguments"]) for one in wanted]
    names = [tool.spec.name for tool in stage.servers.usable() if "_resource" not in tool.spec.name]
    return [(name, arguments(stage, name)) for name in names]


async def read(stage: Stage) -> None:
    """What it has besides tools, each once, as `holdfast mcp resources` and `prompts` do."""
    for listing, key, field, question in _BESIDES:
        with suppress(HoldfastError):
            for one in (await stage.servers.ask("suite", listing, {}))[key]:
                await stage.servers.ask("suite", question, {field: one[field]})


async def call(stage: Stage, tool: str, given: dict[str, Any]) -> None:
    for left in reversed(range(_PATIENCE)):
        outcome = await stage.run(tool, **given)
        print(tool, outcome, file=sys.stderr)
        if not (isinstance(outcome, Failed) and outcome.code == "mcp_login_needed" and left):
            return
        await log_in(stage)


async def main(url: str) -> None:
    context: dict[str, Any] = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    context["name"] = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
    spec, kept = spec_of(url, context)
    stages: list[Stage] = []

    async def secret(name: str, reach: Reach) -> str:
        return await stages[0].servers.logins.used.bearer(name.rpartition("/")[2], reach)

    egress = Gateway(secret=secret, log=FakeVisits(), clock=SystemClock())
    with tempfile.TemporaryDirectory() as place:
        async with staged(Path(place), spec, egress=egress, trusted=False) as stage:
            stages.append(stage)
            stage.secrets |= kept
            await agree(stage)
            async with anyio.create_task_group() as group:
                group.start_soon(say_yes, stage)
                for tool, given in calls(stage, context):
                    await call(stage, tool, given)
                await read(stage)
                group.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main, sys.argv[-1])
