"""The protocol's extension for tasks: a call becomes a task that is asked about, told, cancelled.

For hosts of 2026 that say that they know it (SEP-2663): a task of ours is one of theirs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import mcp_types as types
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError
from pydantic import Field

from .offer import Asked, Offer, Standing

EXTENSION = "io.modelcontextprotocol/tasks"
_POLL_MS = 1_000
_NAME = "mcp-name"

Json = dict[str, Any]
Context = Any
T = TypeVar("T")


class Named(types.RequestParams):
    """Which task is meant."""

    task_id: str


class Told(Named):
    """What a person answered to what a task asks, by the names of the questions."""

    input_responses: dict[str, Any] = Field(default_factory=dict[str, Any])


class Tasks:
    """The three methods about tasks. `take` makes of a request what an offer is asked with;
    `answered` turns a refusal into an error of the protocol."""

    def __init__(
        self,
        offer: Offer,
        take: Callable[[Context], Asked],
        answered: Callable[[Awaitable[Any], Context, str], Awaitable[Any]],
    ) -> None:
        self._offer, self._take, self._answered = offer, take, answered

    def add_to(self, server: Server[Any]) -> None:
        server.extensions[EXTENSION] = {}
        server.add_request_handler("tasks/get", Named, self.get)
        server.add_request_handler("tasks/update", Told, self.update)
        server.add_request_handler("tasks/cancel", Named, self.cancel)

    async def created(self, asked: Asked, name: str, arguments: Json) -> Json | None:
        """The task that a call becomes; None for one that is answered as ever."""
        if not knows_tasks(asked):
            if self._offer.only_as_task(name):
                raise _unable()
            return None
        task = await self._offer.begin(asked, name, arguments)
        if task is None:
            return None
        return {"resultType": "task", **_shared(await self._offer.standing(asked, task))}

    async def get(self, context: Context, params: Named) -> Json:
        asked = self._checked(context, params)
        found = await self._told(context, params, self._offer.standing(asked, params.task_id))
        return {"resultType": "complete", **_shared(found), **_detail(found)}

    async def update(self, context: Context, params: Told) -> Json:
        asked = self._checked(context, params)
        inputs = params.input_responses
        await self._told(context, params, self._offer.inform(asked, params.task_id, inputs))
        return {"resultType": "complete"}

    async def cancel(self, context: Context, params: Named) -> Json:
        asked = self._checked(context, params)
        await self._told(context, params, self._offer.cancel(asked, params.task_id))
        return {"resultType": "complete"}

    async def _told(self, context: Context, params: Named, answer: Awaitable[T]) -> T:
        return await self._answered(answer, context, params.task_id[:200])

    def _checked(self, context: Context, params: Named) -> Asked:
        """Raises `MCPError` for a host that does not know tasks, or whose header says another."""
        asked = self._take(context)
        if not asked.modern:
            raise MCPError(types.METHOD_NOT_FOUND, "tasks are of revision 2026-07-28")
        if not knows_tasks(asked):
            raise _unable()
        if context.request and context.request.headers.get(_NAME) != params.task_id:
            what = "the header Mcp-Name must be the taskId of the request"
            raise MCPError(types.HEADER_MISMATCH, what)
        return asked


def knows_tasks(asked: Asked) -> bool:
    able = asked.context.session.client_capabilities
    return asked.modern and able is not None and EXTENSION in (able.extensions or {})


def _unable() -> MCPError:
    needed: Json = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
    what = "this is for hosts that declare the extension for tasks"
    return MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, what, needed)


def _shared(found: Standing) -> Json:
    """What is said of a task in any answer. It is kept for as long as the house keeps it."""
    return {
        "taskId": found.id,
        "status": found.status,
        "createdAt": _time(found.created),
        "lastUpdatedAt": _time(found.updated),
        "ttlMs": None,
        "pollIntervalMs": _POLL_MS,
    }


def _detail(found: Standing) -> Json:
    match found.status:
        case "completed" if found.result is not None:
            return {"result": _plain(found.result)}
        case "failed":
            return {"error": found.error}
        case "input_required":
            asks = {name: _plain(request) for name, request in found.asks.items()}
            return {"inputRequests": asks}
        case _:
            return {}


def _plain(told: types.CallToolResult | types.ElicitRequest) -> Json:
    return told.model_dump(by_alias=True, mode="json", exclude_none=True)


def _time(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat().replace("+00:00", "Z")
