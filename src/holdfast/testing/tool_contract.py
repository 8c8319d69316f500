"""What every tool must do, whoever wrote it: one function per promise.

Each is given a tool, arguments that it can run, and a job in a folder where it may.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import anyio

from holdfast.core.message import EffectClass, Failed, Refused, Returned, Unknown
from holdfast.core.task import Child, Human, Timer
from holdfast.ports.tools import Job, Tool

Arguments = Mapping[str, Any]
Clause = Callable[[Tool, Arguments, Job], Awaitable[None]]


async def it_says_what_it_is(tool: Tool, _arguments: Arguments, _job: Job) -> None:
    spec = tool.spec
    assert spec.name.replace("_", "").isalnum()
    assert spec.description.strip()
    assert spec.schema["type"] == "object"
    assert "$ref" not in json.dumps(spec.schema)
    target = tool.traits.target or next(iter(tool.traits.paths), "")
    assert not target or target in spec.schema["properties"]


async def good_arguments_have_no_problem(tool: Tool, arguments: Arguments, _job: Job) -> None:
    assert tool.problem(arguments) == ""


async def bad_arguments_are_named(tool: Tool, arguments: Arguments, _job: Job) -> None:
    assert "surprise" in tool.problem({**arguments, "surprise": 1})
    for name in tool.spec.schema.get("required", []):
        missing = {key: each for key, each in arguments.items() if key != name}
        assert name in tool.problem(missing)
    for name in arguments:
        assert tool.problem({**arguments, name: {"odd": [None]}})


async def it_comes_to_an_outcome_and_reading_changes_nothing(
    tool: Tool, arguments: Arguments, job: Job
) -> None:
    before = await _files(job.workspace)
    await tool.before(arguments, job)
    assert await _files(job.workspace) == before
    result = await tool.run(arguments, job)
    assert isinstance(result, Returned | Failed | Refused | Human | Child | Timer)
    if tool.traits.effect is EffectClass.READS:
        assert await _files(job.workspace) == before


async def what_was_changed_had_been_kept(tool: Tool, arguments: Arguments, job: Job) -> None:
    before = await _files(job.workspace)
    kept = {each.path for each in await tool.before(arguments, job)}
    await tool.run(arguments, job)
    after = await _files(job.workspace)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert not tool.traits.checkable or changed <= kept


async def a_check_knows_whether_it_happened(tool: Tool, arguments: Arguments, job: Job) -> None:
    if not tool.traits.checkable:
        return
    before = await tool.before(arguments, job)
    assert await tool.check(arguments, before, job) is None
    assert isinstance(await tool.run(arguments, job), Returned)
    assert isinstance(await tool.check(arguments, before, job), Returned)
    async for path in anyio.Path(job.workspace).rglob("*"):
        if await path.is_file():
            await path.write_bytes(b"changed by somebody else")
    for each in before:
        if each.before is not None:
            await anyio.Path(job.workspace / each.path).parent.mkdir(parents=True, exist_ok=True)
            await anyio.Path(job.workspace / each.path).write_bytes(b"changed by somebody else")
    # What files say now is nothing to a tool that keeps none of them: it looks where it acted.
    kind = Unknown if before else Returned
    assert isinstance(await tool.check(arguments, before, job), kind)


async def it_may_be_cancelled_before_it_begins(tool: Tool, arguments: Arguments, job: Job) -> None:
    before = await _files(job.workspace)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await tool.run(arguments, job)
    assert await _files(job.workspace) == before


async def _files(folder: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    async for path in anyio.Path(folder).rglob("*"):
        if await path.is_file():
            found[str(path.relative_to(folder))] = await path.read_bytes()
    return found


CLAUSES: tuple[Clause, ...] = (
    it_says_what_it_is,
    good_arguments_have_no_problem,
    bad_arguments_are_named,
    it_comes_to_an_outcome_and_reading_changes_nothing,
    what_was_changed_had_been_kept,
    a_check_knows_whether_it_happened,
    it_may_be_cancelled_before_it_begins,
)
