"""Tools of the house that a host may use by themselves: those that it names, and no others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import mcp_types as types

from holdfast.core.message import EffectClass
from holdfast.ports.tools import Tool
from holdfast.runtime import direct
from holdfast.runtime.house import House

from .table import ROWS

_OWN = tuple(row.name for row in ROWS)


def named(house: House, wanted: Sequence[str]) -> Sequence[types.Tool]:
    """Those that a pattern of the host names. A pattern that names a tool of this server (`*`,
    `*_task*`) is about those: nothing that acts is offered by the way."""
    patterns = [one for one in wanted if not any(fnmatchcase(own, one) for own in _OWN)]
    if not patterns:
        return ()
    return [
        _shown(tool)
        for tool in direct.tools(house)
        if any(fnmatchcase(tool.spec.name, one) for one in patterns)
    ]


def came_of(found: Mapping[str, Any]) -> types.CallToolResult:
    """What came of a use, in the protocol's words; all but a plain result is an error."""
    end, text, task = found["end"], found["text"], found["task"]
    if end == "open":
        text = f"not done yet: task {task} works, or waits for a person's yes (holdfast approvals);"
        text += " wait_for_task follows it"
    elif end == "unknown":
        text = f"nobody knows whether it was done: {text}"
    said = types.TextContent(type="text", text=text)
    told = {"holdfast/task": task, "holdfast/end": end}
    return types.CallToolResult(content=[said], is_error=end != "returned", _meta=told)


def _shown(tool: Tool) -> types.Tool:
    reads = tool.traits.effect is EffectClass.READS
    hints = types.ToolAnnotations(
        read_only_hint=reads,
        destructive_hint=not reads,
        idempotent_hint=tool.traits.effect is not EffectClass.WRITES,
        open_world_hint=bool(tool.traits.source or tool.traits.aims),
    )
    spec = tool.spec
    return types.Tool(
        name=spec.name, description=spec.description, input_schema=spec.schema, annotations=hints
    )
