"""What is known of a proposed call before it is judged: its tool's word, what it touches."""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from holdfast.core.ids import CallId
from holdfast.core.message import ToolCall
from holdfast.ports.tools import Tool, Traits


def described(
    call: ToolCall, call_id: CallId, tools: Mapping[str, Tool], workspace: Path
) -> ToolCall:
    """The call with our id, what its tool says of itself, and the paths it names, made plain."""
    tool = tools.get(call.tool)
    if tool is None:
        known = ", ".join(sorted(tools))
        problem = call.problem or f"there is no tool {call.tool!r}; there are: {known}"
        return replace(call, id=call_id, problem=problem)
    traits = tool.traits
    target, *also = _targets(traits, call.arguments, workspace)
    return replace(
        call,
        id=call_id,
        effect=traits.effect,
        checkable=traits.checkable,
        stable=traits.stable,
        target=target,
        also=tuple(also),
        problem=call.problem or tool.problem(call.arguments),
    )


def _targets(traits: Traits, arguments: Mapping[str, Any], workspace: Path) -> list[str]:
    if not traits.paths:
        return [str(arguments.get(traits.target, "")) if traits.target else ""]
    return [plain(str(arguments.get(name) or "."), workspace) for name in traits.paths]


def plain(path: str, workspace: Path) -> str:
    """`path` as policy should see it: below the workspace, without `..`, detours and links.

    A rule about `secret/*` must also meet `./secret/x`, `a/../secret/x`, the absolute path and a
    link that leads there. What lies outside stays absolute; the tool will refuse it.
    """
    try:
        root = os.path.realpath(workspace)
        real = os.path.realpath(os.path.join(root, path))  # noqa: PTH118 - beside realpath
    except (ValueError, OSError):
        return path
    return os.path.relpath(real, root) if real == root or real.startswith(root + "/") else real
