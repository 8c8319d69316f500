"""The plan that an editor shows: what the agent said it would do, and what helpers were given."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import Struct

Json = dict[str, Any]
_PLAN, _DELEGATE = "plan", "delegate"
_LINE = 160


class _Step(Struct, frozen=True):
    tool: str
    arguments: dict[str, Any] = {}


class _Planned(Struct, frozen=True):
    steps: list[_Step]


class Plan:
    """Steps in order; each belongs to the first call that is made of it."""

    def __init__(self) -> None:
        self._steps: list[Json] = []

    def proposed(self, call: Json) -> bool:
        """Takes a call in; True if the plan is another one now."""
        tool = call.get("tool")
        arguments: Json = call.get("arguments") or {}
        if tool == _PLAN:
            try:
                steps = msgspec.convert(arguments, _Planned).steps
            except msgspec.ValidationError:  # then it cannot be run either
                return False
            self._steps = [_step(one.tool, _words(one)) for one in steps]
            return bool(steps)
        for step in self._steps:
            if step["tool"] == tool and not step["call"]:
                step["call"] = call["id"]
                return False
        if tool == _DELEGATE:
            words = str(call.get("target") or arguments.get("task") or "")
            self._steps.append(_step(_DELEGATE, words) | {"call": call["id"]})
            return True
        return False

    def moved(self, call: str, status: str) -> bool:
        """True if a step is further now."""
        mine = [step for step in self._steps if step["call"] == call]
        for step in mine:
            step["status"] = status
        return bool(mine)

    def update(self) -> Json:
        shown = ("content", "priority", "status")
        entries = [{key: step[key] for key in shown} for step in self._steps]
        return {"sessionUpdate": "plan", "entries": entries}


def _step(tool: str, words: str) -> Json:
    words = " ".join(words.split())
    content = words if len(words) <= _LINE else f"{words[: _LINE - 1]}…"
    step = {"content": content, "priority": "medium", "status": "pending"}
    return {**step, "tool": tool, "call": ""}


def _words(step: _Step) -> str:
    """A step in a line: its tool, and what is said of its arguments so far."""
    values = [
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for value in step.arguments.values()
    ]
    return " ".join([step.tool, *values])
