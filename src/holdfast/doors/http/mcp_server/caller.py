"""Asks Holdfast's own interface, in the same process, as whoever asks over MCP.

Every request of a host passes the same gate, scopes and rules as one that came to `/api/v1` itself:
this door has no way around them, and decides nothing.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import anyio
from starlette.requests import Request
from starlette.types import ASGIApp, Message

_NOT_PASSED_ON = frozenset(
    b"accept connection content-length content-type expect idempotency-key last-event-id"
    b" transfer-encoding".split()
)
_FRESH = ("app", "endpoint", "path_params", "router", "route", "user", "auth")


class Declined(Exception):
    """The house said no; the text is for people, `code` is stable."""

    def __init__(self, status: int, code: str, message: str, hint: str = "") -> None:
        super().__init__(f"{message}\nhint: {hint}" if hint else message)
        self.status, self.code = status, code


class Caller:
    """One request's way to the house."""

    def __init__(self, request: Request) -> None:
        self._app: ASGIApp = request.scope["app"]
        self.scope = request.scope
        kept = [(n, v) for n, v in request.scope["headers"] if n.lower() not in _NOT_PASSED_ON]
        self._scope = {key: value for key, value in request.scope.items() if key not in _FRESH}
        self._headers = [pair for pair in kept if not pair[0].lower().startswith(b"mcp-")]
        self.workspace = request.query_params.get("workspace", "")
        self.wanted = request.query_params.getlist("tools")

    async def ask(self, method: str, target: str, body: Any = None) -> dict[str, Any]:
        """What it answers, as data. Raises `Declined`."""
        return json.loads(await self.fetch(method, target, body))

    async def fetch(self, method: str, target: str, body: Any = None) -> bytes:
        """What it answers, as it is. Raises `Declined`."""
        status, data = await self._exchange(method, target, body)
        if status < 400:
            return data
        raise _declined(status, data)

    async def _exchange(self, method: str, target: str, body: Any) -> tuple[int, bytes]:
        path, _, query = target.partition("?")
        content = b"" if body is None else json.dumps(body).encode()
        told = [(b"content-type", b"application/json"), (b"accept", b"application/json")]
        scope = {
            **self._scope,
            "method": method,
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [*self._headers, *told, (b"content-length", b"%d" % len(content))],
        }
        pending = [content]
        status, data = 500, bytearray()

        async def receive() -> Message:
            if pending:
                return {"type": "http.request", "body": pending.pop(), "more_body": False}
            await anyio.sleep_forever()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            data.extend(message.get("body", b""))

        await self._app(scope, receive, send)
        return status, bytes(data)


def _declined(status: int, data: bytes) -> Declined:
    try:
        said = json.loads(data)
        error = said.get("error", said)
        words = error.get("message") or error.get("detail") or error.get("title") or "refused"
        return Declined(status, error.get("code", "error"), words, error.get("hint") or "")
    except (ValueError, AttributeError):
        return Declined(status, "error", f"the house answered with status {status}")
