"""What a server offers, and what it is given when it is asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import mcp_types as types
from mcp.server.connection import allowed_log_levels
from mcp.server.context import ServerRequestContext
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from msgspec import Struct

from .caller import Caller

LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request of a host. `inputs` and `state` are there when it comes back with answers."""

    context: ServerRequestContext[Any, Any]
    caller: Caller
    least: types.LoggingLevel
    inputs: Mapping[str, Any]
    state: str

    @property
    def modern(self) -> bool:
        """Its version has no requests of servers: questions are answers, and come back answered."""
        return self.context.protocol_version in MODERN_PROTOCOL_VERSIONS

    @property
    def can_ask(self) -> bool:
        """Its host can put a form to a person."""
        able = self.context.session.client_capabilities
        form = able.elicitation if able else None
        return form is not None and (form.form is not None or form.url is None)

    async def progress(self, done: float, message: str) -> None:
        await self.context.session.report_progress(done, None, message)

    async def log(self, level: types.LoggingLevel, text: str) -> None:
        """Say it, if the host wants to hear that much."""
        session, meta = self.context.session, self.context.meta
        if level not in allowed_log_levels(session.protocol_version, meta):
            return
        if not self.modern and LEVELS.index(level) < LEVELS.index(self.least):
            return
        params = types.LoggingMessageNotificationParams(level=level, data=text, logger="holdfast")
        said = types.LoggingMessageNotification(params=params)
        await session.send_notification(said, related_request_id=self.context.request_id)


class Standing(Struct, frozen=True, kw_only=True):
    """A task as a host sees it: `result` once it is completed, `error` of one that failed, `asks`
    what it waits for, by names that an answer repeats. Moments in milliseconds."""

    id: str
    status: Literal["working", "input_required", "completed", "failed", "cancelled"]
    created: int
    updated: int
    result: types.CallToolResult | None = None
    error: Mapping[str, Any] | None = None
    asks: Mapping[str, types.ElicitRequest] = {}


class Offer(Protocol):
    """Everything that is served. Raises `MCPError` for what makes no sense in the protocol."""

    instructions: str

    def tools(self, asked: Asked) -> Sequence[types.Tool]: ...

    async def call(
        self, asked: Asked, name: str, arguments: Mapping[str, Any]
    ) -> types.CallToolResult | types.InputRequiredResult: ...

    def only_as_task(self, name: str) -> bool:
        """Whether a call of this tool is nothing but a task."""
        ...

    async def begin(self, asked: Asked, name: str, arguments: Mapping[str, Any]) -> str | None:
        """The task that a call becomes for a host that knows tasks; None: it is answered."""
        ...

    async def standing(self, asked: Asked, task: str) -> Standing:
        """How a task is. This and the next two raise `Declined` for one that there is not."""
        ...

    async def inform(self, asked: Asked, task: str, inputs: Mapping[str, Any]) -> None: ...

    async def cancel(self, asked: Asked, task: str) -> None: ...

    async def resources(self, asked: Asked, cursor: str) -> types.ListResourcesResult: ...

    def templates(self) -> Sequence[types.ResourceTemplate]: ...

    async def read(self, asked: Asked, uri: str) -> types.ReadResourceResult: ...

    async def follow(self, asked: Asked, uri: str) -> AsyncGenerator[None, None]:
        """Something to read anew, each time that it comes. Raises before, if nothing ever does."""
        ...

    def prompts(self) -> Sequence[types.Prompt]: ...

    async def prompt(
        self, asked: Asked, name: str, arguments: Mapping[str, str]
    ) -> types.GetPromptResult | types.InputRequiredResult: ...

    async def complete(self, asked: Asked, about: str, name: str, begun: str) -> Sequence[str]:
        """What an argument `name` of a prompt or template could be that begins so."""
        ...
