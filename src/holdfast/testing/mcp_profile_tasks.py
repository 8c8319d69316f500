"""The conformance suite's tools that become tasks: how each is, worked out from the time."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from typing import Any, Literal

import mcp_types as types
from mcp.shared.exceptions import MCPError
from msgspec import Struct, field

from .mcp_profile_tools import Fixture, Result, fixture, words

_ESCALATES = "test_tool_with_task"
_NEEDED = frozenset({"failing_job", _ESCALATES})
_TAKES = {"slow_compute": 0.0, "failing_job": 1.0, "protocol_error_job": 0.5}
_ASKS: Mapping[str, tuple[str, ...]] = {
    "confirm_delete": ("confirm",),
    "multi_input": ("first", "second"),
}
_NAMES = (*_TAKES, *_ASKS, _ESCALATES)
Stage = Literal["working", "input_required", "completed", "failed", "cancelled"]


class Standing(Struct, frozen=True, kw_only=True):
    """A task as the door tells it."""

    id: str
    status: Stage
    created: int
    updated: int
    result: types.CallToolResult | None = None
    error: Mapping[str, Any] | None = None
    asks: Mapping[str, types.ElicitRequest] = {}


class _Begun(Struct, kw_only=True):
    name: str
    arguments: Mapping[str, Any]
    at: float
    answers: dict[str, Any] = field(default_factory=dict[str, Any])
    over: bool = False


class Tasks:
    """Those that were begun."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._begun: dict[str, _Begun] = {}

    def needed(self, name: str) -> bool:
        return name in _NEEDED

    def begin(self, asked: Any, name: str, arguments: Mapping[str, Any]) -> str | None:
        if name not in _NAMES or (name == _ESCALATES and not asked.inputs):
            return None
        if name == "slow_compute" and not arguments.get("seconds"):
            return None
        task = f"fixture-{next(self._numbers)}"
        known = {**arguments, "name": _name(asked)} if name == _ESCALATES else arguments
        self._begun[task] = _Begun(name=name, arguments=known, at=time.time())
        return task

    def standing(self, task: str) -> Standing:
        one = self._find(task)
        stage, told = _stage(one)
        at = round(one.at * 1000)
        return Standing(id=task, status=stage, created=at, updated=at, **told)

    def inform(self, task: str, inputs: Mapping[str, Any]) -> None:
        self._find(task).answers |= inputs

    def cancel(self, task: str) -> None:
        one = self._find(task)
        one.over |= _stage(one)[0] in ("working", "input_required")

    def _find(self, task: str) -> _Begun:
        if task not in self._begun:
            raise MCPError(types.INVALID_PARAMS, f"there is no task {task[:100]!r}")
        return self._begun[task]


def _stage(one: _Begun) -> tuple[Stage, dict[str, Any]]:
    if one.over:
        return "cancelled", {}
    if left := [name for name in _ASKS.get(one.name, ()) if name not in one.answers]:
        return "input_required", {"asks": {name: _form(name) for name in left}}
    takes = float(one.arguments.get("seconds") or _TAKES.get(one.name, 0.2))
    if time.time() < one.at + takes:
        return "working", {}
    match one.name:
        case "failing_job":
            failed = words("The job failed.").model_copy(update={"is_error": True})
            return "completed", {"result": failed}
        case "protocol_error_job":
            return "failed", {"error": {"code": types.INTERNAL_ERROR, "message": "it broke"}}
        case _:
            who = one.arguments.get("name") or one.arguments.get("label") or one.name
            return "completed", {"result": words(f"done: {who}")}


def _form(name: str) -> types.ElicitRequest:
    schema = {"type": "object", "properties": {name: {"type": "boolean"}}, "required": [name]}
    params = types.ElicitRequestFormParams(message=f"Tell us: {name}", requested_schema=schema)
    return types.ElicitRequest(params=params)


def _name(asked: Any) -> str:
    said = asked.inputs.get("user_name")
    content = said.content if isinstance(said, types.ElicitResult) else None
    return str((content or {}).get("name") or "")


async def _greet(_asked: Any, arguments: Mapping[str, Any]) -> Result:
    return words(f"Hello, {arguments.get('name')}!")


async def _at_once(_asked: Any, arguments: Mapping[str, Any]) -> Result:
    """For a host that knows no tasks."""
    return words(f"done: {arguments.get('label') or 'at once'}")


async def _escalates(_asked: Any, _arguments: Mapping[str, Any]) -> Result:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    params = types.ElicitRequestFormParams(message="Your name?", requested_schema=schema)
    asks: types.InputRequests = {"user_name": types.ElicitRequest(params=params)}
    return types.InputRequiredResult(input_requests=asks, request_state="name")


TOOLS: tuple[Fixture, ...] = (
    Fixture(
        types.Tool(
            name="greet",
            description="greet",
            input_schema={
                "type": "object",
                "properties": {"name": {"type": "string"}},
                "required": ["name"],
            },
        ),
        _greet,
    ),
    *(fixture(name, _at_once) for name in (*_TAKES, *_ASKS)),
    fixture(_ESCALATES, _escalates),
)
