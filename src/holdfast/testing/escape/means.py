"""What stands around a box and is attacked with it: tools, the terminal, the proxy."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from anyio import to_thread
from msgspec import Struct

from holdfast.adapters.boxes.pool import Pool
from holdfast.adapters.tools.beneath import Denied, Folder
from holdfast.adapters.tools.execute import BoxOptions, exec_tool
from holdfast.core.ids import CallId, TaskId
from holdfast.ports.box import BoxKind, BoxSpec
from holdfast.ports.tools import Job

from .careless import careless_gate
from .world import Gate

Shell = Callable[[BoxKind, BoxSpec, str], Awaitable[None]]
"""Run a command line in a workspace, with all that the daemon does around it."""


class Means(Struct, frozen=True, kw_only=True):
    """How the daemon does it. Each has a careless counterpart in `CARELESS`, for the control.

    `plain` makes a text harmless for a terminal. `read` is how a file tool reads below a folder.
    `gate` makes the way out over a world of ours; None where there is none.
    """

    shell: Shell
    plain: Callable[[str], str]
    read: Callable[[Path, str], Awaitable[bytes]]
    gate: Gate | None = None


async def run_exec(kind: BoxKind, spec: BoxSpec, command: str) -> None:
    """By the `exec` tool, as an agent runs it."""
    pool, task = Pool(kind, spares=False), TaskId("task_escape")
    options = BoxOptions(read_only=spec.read_only, limits=spec.limits)
    job = Job(task=task, call=CallId("call_escape"), workspace=spec.workspace, agent=spec.agent)
    await exec_tool(pool, options).run({"command": command}, job)
    await pool.release(task)


async def read_beneath(folder: Path, name: str) -> bytes:
    """As the file tools of an agent read."""

    def read() -> bytes:
        below = Folder(folder)
        with below.opened(below.locate(name), os.O_RDONLY | os.O_NONBLOCK) as handle:
            return os.read(handle, 4096)

    try:
        return await to_thread.run_sync(read)
    except (Denied, OSError):
        return b""


async def _read_anything(folder: Path, name: str) -> bytes:
    return await to_thread.run_sync((folder / name).read_bytes)


async def run_command(kind: BoxKind, spec: BoxSpec, command: str) -> None:
    """With nothing around it."""
    box = await kind.create(spec)
    try:
        await box.exec(["sh", "-c", command])
    finally:
        await box.destroy()


CARELESS = Means(
    shell=run_command, plain=lambda text: text, read=_read_anything, gate=careless_gate
)
"""What nobody should have: the control."""
