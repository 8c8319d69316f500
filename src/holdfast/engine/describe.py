"""What is known of a proposed call before it is judged: its tool's word, what it touches."""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from holdfast.core.gate.labels import source_of
from holdfast.core.ids import CallId, canonical
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
        names_paths=bool(traits.paths),
        problem=call.problem or tool.problem(call.arguments),
        source=source_of(traits.source, target),
        aims=traits.aims,
    )


def _targets(traits: Traits, arguments: Mapping[str, Any], workspace: Path) -> list[str]:
    if not traits.paths:
        named = arguments.get(traits.target, "")
        return [named if isinstance(named, str) else canonical(named)]
    named = [str(arguments.get(name) or ".") for name in traits.paths]
    led, written = (
        (plain(path, workspace) for path in named),
        (_written(p, workspace) for p in named),
    )
    return list(dict.fromkeys([*led, *written]))


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
    return _below(real, root)


def _written(path: str, workspace: Path) -> str:
    """`path` without detours, its links left alone: moving or deleting one means the link."""
    root = os.path.normpath(workspace)
    return _below(os.path.normpath(os.path.join(root, path)), root)  # noqa: PTH118 - beside normpath


def _below(path: str, root: str) -> str:
    return os.path.relpath(path, root) if path == root or path.startswith(root + "/") else path
