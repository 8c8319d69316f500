"""The agent that an editor talks with: each method, by name."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup
from msgspec import Raw, Struct

from . import lines
from .commands import available
from .daemon import Daemon
from .lines import METHOD, NOT_FOUND, PARAMS, REQUEST, Fault, Lines, Then, shaped
from .prompts import Block
from .servers import Server, introduced
from .session import Session
from .settings import USUAL, Settings

Json = dict[str, Any]
VERSION = 1
_MODELS_PATIENCE = 5.0
_LISTED = 500
_PURGED = "[purged]"
"""What the house says in place of what was purged."""


class _Forms(Struct, frozen=True):
    form: Json | None = None


class _Able(Struct, frozen=True):
    elicitation: _Forms | None = None


class _Hello(Struct, frozen=True, rename="camel"):
    protocol_version: int
    client_capabilities: _Able = _Able()


class _Begin(Struct, frozen=True, rename="camel"):
    cwd: str
    mcp_servers: tuple[Server, ...] = ()
    session_id: str = ""


class _Prompt(Struct, frozen=True, rename="camel"):
    session_id: str
    prompt: tuple[Block, ...]


class _Named(Struct, frozen=True, rename="camel"):
    session_id: str


class _Mode(Struct, frozen=True, rename="camel"):
    session_id: str
    mode_id: str


class _Option(Struct, frozen=True, rename="camel"):
    session_id: str
    config_id: str
    value: Any


class _Listing(Struct, frozen=True):
    cwd: str | None = None
    cursor: str | None = None


class Agent:
    """All sessions of one editor. They live in `group`; their tasks live on without it."""

    def __init__(self, daemon: Daemon, lines: Lines, group: TaskGroup, version: str) -> None:
        self._daemon, self._lines, self._group = daemon, lines, group
        self._version = version
        self._greeted = False
        self._sessions: dict[str, Session] = {}

    async def answer(self, method: str, params: Raw) -> Any:
        """Raises `Fault`."""
        do = _METHODS.get(method)
        if do is None:
            raise Fault(METHOD, f"there is no method {method}")
        if not self._greeted and method != "initialize":
            raise Fault(REQUEST, "say initialize first")
        return await do(self, params)

    async def initialize(self, params: Raw) -> Json:
        hello = shaped(params, _Hello)
        able = hello.client_capabilities.elicitation
        self._lines.forms = able is not None and able.form is not None
        self._greeted = True
        return {
            "protocolVersion": VERSION,
            "agentCapabilities": {
                "loadSession": True,
                "promptCapabilities": {"image": True, "audio": True, "embeddedContext": True},
                "mcpCapabilities": {"http": True, "sse": False},
                "sessionCapabilities": {"list": {}, "resume": {}, "close": {}, "delete": {}},
            },
            "authMethods": [],
            "agentInfo": {"name": "holdfast", "title": "Holdfast", "version": self._version},
        }

    async def authenticate(self, params: Raw) -> Json:
        raise Fault(PARAMS, "there is nothing to log in to: your own user's daemon is asked")

    async def new(self, params: Raw) -> Then:
        name = f"acp-{secrets.token_hex(8)}"
        session = await self._opened(name, shaped(params, _Begin))
        return _opening(session, {"sessionId": name})

    async def load(self, params: Raw) -> Then:
        asked = shaped(params, _Begin)
        session = await self._opened(asked.session_id, asked)
        await session.replay()
        return _opening(session)

    async def resume(self, params: Raw) -> Then:
        asked = shaped(params, _Begin)
        session = await self._opened(asked.session_id, asked)
        await session.resume()
        return _opening(session)

    async def close(self, params: Raw) -> Json:
        name = shaped(params, _Named).session_id
        await self._session(name).cancel()
        self._sessions.pop(name, None)
        return {}

    async def delete(self, params: Raw) -> Json:
        name = shaped(params, _Named).session_id
        if name in self._sessions:
            await self._sessions[name].cancel()
            self._sessions.pop(name).leave()
        await Session(name, "", (self._daemon, self._lines), self._group).forget()
        return {}

    async def prompt(self, params: Raw) -> Json:
        asked = shaped(params, _Prompt)
        return {"stopReason": await self._session(asked.session_id).prompt(asked.prompt)}

    async def cancel(self, params: Raw) -> None:
        await self._session(shaped(params, _Named).session_id).cancel()

    async def set_mode(self, params: Raw) -> Json:
        asked = shaped(params, _Mode)
        session = self._session(asked.session_id)
        session.settings.choose("mode", asked.mode_id)
        options = session.settings.options()
        await session.tell({"sessionUpdate": "config_option_update", "configOptions": options})
        return {}

    async def set_option(self, params: Raw) -> Json:
        asked = shaped(params, _Option)
        session = self._session(asked.session_id)
        session.settings.choose(asked.config_id, asked.value)
        if asked.config_id == "mode":
            update = {"sessionUpdate": "current_mode_update", "currentModeId": asked.value}
            await session.tell(update)
        return {"configOptions": session.settings.options()}

    async def listed(self, params: Raw) -> Json:
        """Sessions by their last tasks, newest first; a page is of so many tasks."""
        asked = shaped(params, _Listing)
        wanted, before = asked.cwd, {"before": asked.cursor} if asked.cursor else {}
        found: dict[str, Json] = {}
        rows = (await self._daemon.get("/api/v1/tasks", limit=_LISTED, **before))["tasks"]
        for row in rows:
            name, folder = row.get("session"), row.get("workspace")
            if row.get("title") == _PURGED:
                continue
            if name and folder and name not in found and wanted in (None, folder):
                at = datetime.fromtimestamp(row["updated_at"] / 1000, UTC)
                title = row.get("title", "")
                told = {"sessionId": name, "cwd": folder, "title": title}
                found[name] = {**told, "updatedAt": at.isoformat()}
        more = {"nextCursor": rows[-1]["id"]} if len(rows) == _LISTED else {}
        return {"sessions": list(found.values()), **more}

    async def _opened(self, name: str, asked: _Begin) -> Session:
        if not await anyio.Path(asked.cwd).is_dir() or not Path(asked.cwd).is_absolute():
            raise Fault(PARAMS, f"cwd {asked.cwd!r} is not the absolute path of a folder")
        if not name:
            raise Fault(PARAMS, "sessionId is missing")
        session = Session(name, asked.cwd, (self._daemon, self._lines), self._group)
        session.notes = await introduced(self._daemon, asked.mcp_servers)
        session.settings = Settings(await self._models())
        old = self._sessions.get(name)
        if old is not None:
            old.leave()
        self._sessions[name] = session
        return session

    async def _models(self) -> tuple[str, ...]:
        """Those that there are; none if the providers take long to say."""
        with anyio.move_on_after(_MODELS_PATIENCE):
            found = await self._daemon.get("/api/v1/models")
            return tuple(name for name in found["models"] if name != USUAL)
        return ()

    def _session(self, name: str) -> Session:
        if name not in self._sessions:
            hint = "session/new begins one, session/load goes on with one"
            raise Fault(NOT_FOUND, f"there is no session {name}", {"hint": hint})
        return self._sessions[name]


async def serve(daemon: Daemon, version: str) -> None:
    """Answer the editor at stdin and stdout until it is gone; tasks at work go on without it."""
    async with anyio.create_task_group() as group:
        wire = lines.Lines()
        agent = Agent(daemon, wire, group, version)
        await wire.converse(agent.answer, group)
        group.cancel_scope.cancel()


def _opening(session: Session, more: Json | None = None) -> Then:
    """What can be chosen; then, once the session is known, which commands there are."""
    settings = session.settings
    told = {**(more or {}), "modes": settings.modes(), "configOptions": settings.options()}
    return Then(told, partial(session.tell, available()))


_METHODS: dict[str, Callable[[Agent, Raw], Awaitable[Any]]] = {
    "initialize": Agent.initialize,
    "authenticate": Agent.authenticate,
    "session/new": Agent.new,
    "session/load": Agent.load,
    "session/resume": Agent.resume,
    "session/list": Agent.listed,
    "session/close": Agent.close,
    "session/delete": Agent.delete,
    "session/prompt": Agent.prompt,
    "session/cancel": Agent.cancel,
    "session/set_mode": Agent.set_mode,
    "session/set_config_option": Agent.set_option,
}
