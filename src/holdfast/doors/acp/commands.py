"""Commands that a person types in an editor: what can be asked of the house beside the agent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from .daemon import Daemon
from .lines import Fault

Json = dict[str, Any]
Command = Callable[[Daemon, str], Awaitable[str]]
_SHOWN = 20
_EVER = "2000-01-01"


async def _undo(daemon: Daemon, session: str) -> str:
    """Put back what the last task changed; what others have changed since is left alone."""
    if (task := await _last(daemon, session)) is None:
        return "Nothing was done here yet."
    done = await daemon.post(f"/api/v1/tasks/{task['id']}/undo", {})
    told = [f"- {one['path']}: {one['what']}" for one in done["files"]]
    told += [f"- {one['path']}: left alone, {one['why']}" for one in done["left"]]
    told += [f"- {one['tool']} {one['target']}: stays, {one['why']}" for one in done["lasting"]]
    more = [f"- and {len(told) - _SHOWN} more"] if len(told) > _SHOWN else []
    lines = [f"Undone: {task.get('title', '')}", *told[:_SHOWN], *more]
    return "\n".join(lines) if told else "The last task changed nothing that could be put back."


async def _costs(daemon: Daemon, session: str) -> str:
    """What this conversation took."""
    query = {"session": session, "since": _EVER}
    total = (await daemon.get("/api/v1/costs", **query))["total"]
    tokens = f"{total['input']:,} tokens read and {total['output']:,} written"
    return f"{total['calls']} calls of models: {tokens}, ${total['usd']:.4f}."


async def _tasks(daemon: Daemon, session: str) -> str:
    """The tasks of this conversation, newest first."""
    query = {"session": session, "limit": _SHOWN}
    rows = (await daemon.get("/api/v1/tasks", **query))["tasks"]
    told = [f"- {row['id'][-8:]} {row['status']}: {row.get('title', '')}" for row in rows]
    return "\n".join(told) or "Nothing was done here yet."


async def _last(daemon: Daemon, session: str) -> Json | None:
    rows = (await daemon.get("/api/v1/tasks", session=session, limit=1))["tasks"]
    return rows[0] if rows else None


COMMANDS: dict[str, Command] = {"undo": _undo, "costs": _costs, "tasks": _tasks}


def available() -> Json:
    """What an editor completes after a slash."""
    told = [
        {"name": name, "description": (command.__doc__ or "").strip()}
        for name, command in COMMANDS.items()
    ]
    return {"sessionUpdate": "available_commands_update", "availableCommands": told}


async def ran(daemon: Daemon, session: str, words: str) -> str | None:
    """What a command says; None for words that are none and go to the agent."""
    name, _, rest = words.strip().partition(" ")
    command = COMMANDS.get(name.removeprefix("/")) if name.startswith("/") else None
    if command is None or rest.strip():
        return None
    try:
        return await command(daemon, session)
    except Fault as fault:
        return f"That was not possible: {fault}"
