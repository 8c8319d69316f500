"""A task of ours as hosts see it that know the protocol's tasks, and what they say to one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

import mcp_types as types
import msgspec
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from holdfast.core.ids import TaskId
from holdfast.core.task import ENDED, Status
from holdfast.core.view import Question
from holdfast.runtime.house import House

from .caller import Caller
from .offer import Standing
from .questions import answered, form

Stage = Literal["working", "input_required", "completed", "failed", "cancelled"]
# A task that came to nothing is a call that failed, and no fault of the protocol.
_STAGES: Mapping[str, Stage] = {
    Status.SUCCEEDED: "completed",
    Status.FAILED: "completed",
    Status.DEAD_LETTER: "completed",
    Status.CANCELED: "cancelled",
}


def result(house: House, found: dict[str, Any]) -> types.CallToolResult:
    """Without known secrets: it goes to a model that is not ours, whoever put them there."""
    clean = house.secrets.clean(found)
    text = json.dumps(clean, ensure_ascii=False, separators=(",", ":"))
    said = types.TextContent(type="text", text=text)
    return types.CallToolResult(content=[said], structured_content=clean)


async def standing(house: House, caller: Caller, task: str) -> Standing:
    found = await caller.ask("GET", _path(task))
    stage = _STAGES.get(found["status"], "working")
    asks: dict[str, types.ElicitRequest] = {}
    if found["status"] == Status.WAITING and found.get("questions"):
        stage = "input_required"
        calls = (await house.recorder.load(TaskId(found["id"]))).calls
        for question in _questions(found):
            opened = calls.get(question.call)
            shown = form(found["id"], question, opened.call if opened else None)
            asks[question.call] = types.ElicitRequest(params=shown)
    told = result(house, found) if stage == "completed" else None
    if told is not None:
        told.is_error = found["status"] != Status.SUCCEEDED
    return Standing(
        id=found["id"],
        status=stage,
        created=found["submitted_at"],
        updated=found["updated_at"],
        result=told,
        asks=asks,
    )


async def inform(caller: Caller, task: str, inputs: Mapping[str, Any]) -> None:
    """Answers to what is not asked any more are passed over."""
    found = await caller.ask("GET", _path(task))
    for question in _questions(found):
        if (said := inputs.get(question.call)) is None:
            continue
        try:
            told = types.ElicitResult.model_validate(said)
        except ValidationError:
            what = f"the answer to {question.call} is none: it has an action, and content"
            raise MCPError(types.INVALID_PARAMS, what) from None
        await answered(caller, found["id"], question, told)


async def cancel(caller: Caller, task: str) -> None:
    """One that has ended stays as it ended."""
    found = await caller.ask("GET", _path(task))
    if found["status"] not in ENDED:
        reason = {"reason": "its host cancelled it"}
        await caller.ask("POST", f"{_path(found['id'])}/cancel", reason)


def _questions(found: dict[str, Any]) -> list[Question]:
    return msgspec.convert(found.get("questions", ()), list[Question])


def _path(task: str) -> str:
    return f"/api/v1/tasks/{quote(task, safe='')}"
