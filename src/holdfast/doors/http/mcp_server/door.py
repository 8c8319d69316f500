"""The path `/mcp`. The protocol is loaded when somebody first asks: before, it costs nothing."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import anyio
from anyio import to_thread
from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.doors.http.ending import when_ended
from holdfast.doors.http.route import Door

PATH = "/mcp"
METHODS = ["GET", "POST", "DELETE"]


class McpDoor:
    """Where hosts come in. `run` keeps their sessions, for as long as it runs."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._wanted, self._ready = anyio.Event(), anyio.Event()
        self._app: ASGIApp | None = None
        self.offer: Callable[[], Any] | None = None
        """Something else to serve than the house: what a conformance suite wants to see."""

    @property
    def asked(self) -> bool:
        """Has anybody come in yet?"""
        return self._wanted.is_set()

    async def run(self) -> None:
        """Serve whoever asks, until cancelled."""
        await self._wanted.wait()
        name = f"{__package__}.serving"
        serving = await to_thread.run_sync(importlib.import_module, name)
        offer = self.offer() if self.offer else serving.own_offer(self._door)
        sessions = serving.Sessions(offer, self._door)
        async with sessions.run():
            self._app = sessions.handle_request
            self._ready.set()
            await anyio.sleep_forever()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._wanted.set()
        await self._ready.wait()
        assert self._app is not None  # noqa: S101 - `_ready` says so
        async with anyio.create_task_group() as group:
            group.start_soon(self._when_closing, group.cancel_scope)
            group.start_soon(when_ended, scope, group.cancel_scope)
            await self._app(scope, receive, send)
            group.cancel_scope.cancel()

    async def _when_closing(self, scope: anyio.CancelScope) -> None:
        await self._door.closing.wait()
        scope.cancel()
