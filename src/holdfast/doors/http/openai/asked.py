"""One request, and the app that answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.core.message import File
from holdfast.doors.http.access import grant
from holdfast.doors.http.auth import BY
from holdfast.doors.http.route import Door, json_answer
from holdfast.runtime import tasks, uploads
from holdfast.runtime.house import House

from . import agents
from .fields import Fields, parsed
from .wanted import Wanted

_LONGEST_KEY = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request with its body as it came. `by` is the authenticated principal."""

    door: Door
    request: Request
    body: Fields

    @property
    def house(self) -> House:
        return self.door.house

    @property
    def by(self) -> str:
        return self.request.scope[BY]

    def check_agent(self, model: str) -> None:
        """Raises `NotAllowed` for a key that is for other agents."""
        if model.startswith(agents.PREFIX):
            grant(self.request.scope).check_agent(self.house.agent.name)

    async def attach(self, name: str, media_type: str, data: bytes) -> File:
        return await tasks.attach(self.house, name, media_type, data)

    async def uploaded(self, file_id: str) -> File:
        """What was put at `/v1/files`, as if it came with the message. Raises `NotFound`."""
        about, data = await uploads.fetch(self.house, file_id, self.by)
        return await self.attach(about.name, about.media_type, data)

    def keyed(self, wanted: Wanted) -> Wanted:
        """The same Idempotency-Key again is the same task."""
        key = self.request.headers.get("idempotency-key", "")
        return replace(wanted, key=key[:_LONGEST_KEY]) if key else wanted


Run = Callable[[Asked], Awaitable[Mapping[str, Any] | ASGIApp]]


class Endpoint:
    """A function as an ASGI app: reads the body, runs, renders."""

    def __init__(self, door: Door, run: Run) -> None:
        self._door, self._run = door, run

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        body = await self._body(request)
        said = await self._run(Asked(door=self._door, request=request, body=body))
        answer = json_answer(said, 200) if isinstance(said, Mapping) else said
        await answer(scope, receive, send)

    async def _body(self, request: Request) -> Fields:
        return parsed(await request.body() or b"{}") if request.method == "POST" else {}


class FormEndpoint(Endpoint):
    """The same where the function reads the body itself, for it is a form."""

    async def _body(self, request: Request) -> Fields:
        return {}
