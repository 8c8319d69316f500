"""A method is its HTTP request, put through the same app: what holds for one holds for both."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlencode

import anyio
import msgspec
from msgspec import Raw
from starlette.types import ASGIApp, Message, Scope

from .names import Method

PARSE, REQUEST, METHOD, PARAMS, INTERNAL = -32700, -32600, -32601, -32602, -32603
DENIED, BUSY, MODEL = 1000, 4290, 4000

_KEPT = frozenset(
    (
        *(b"host", b"authorization", b"x-api-key", b"cookie", b"origin", b"user-agent"),
        *(b"x-forwarded-for", b"x-forwarded-proto"),
    )
)
_TOLD = frozenset({"idempotency-key", "if-match", "x-csrf-token"})
_PIECE = re.compile(r"\{(\w+)(?::(\w+))?\}")


class Fault(Exception):
    """Why a method gave no result: a number of the protocol; `data` has our `code` and a `hint`."""

    def __init__(self, number: int, message: str, /, **data: Any) -> None:
        super().__init__(message)
        self.number, self.data = number, data


class Asking:
    """Asks the app as whoever opened the socket would: their token is looked at each time."""

    def __init__(self, app: ASGIApp, scope: Scope) -> None:
        self._app = app
        self._headers = [pair for pair in scope["headers"] if pair[0].lower() in _KEPT]
        self._scope: Scope = {
            **{key: scope.get(key) for key in ("asgi", "client", "server", "state")},
            "type": "http",
            "http_version": "1.1",
            "scheme": "https" if scope.get("scheme") == "wss" else "http",
            "root_path": "",
        }

    async def answer(self, method: Method, params: Mapping[str, Any]) -> Raw:
        """The body of the answer. Raises `Fault`."""
        path, rest = _placed(method, params)
        headers: Any = rest.pop("_headers", None) or {}
        in_query = {key: rest.pop(key) for key in list(rest) if key in method.query}
        if method.verb == "GET" and rest:
            raise Fault(PARAMS, f"{method.name} has no {', '.join(rest)}", code="invalid")
        body = b"" if method.verb == "GET" else msgspec.json.encode(rest)
        status, said = await self._ask(
            {
                **self._scope,
                "method": method.verb,
                "path": path,
                "raw_path": path.encode(),
                "query_string": urlencode(_texts(in_query), doseq=True).encode(),
                "headers": [*self._headers, *_headers(headers, body)],
            },
            body,
        )
        if status >= 400:
            raise _fault(status, said)
        return Raw(said.strip() or b"null")

    async def _ask(self, scope: Scope, body: bytes) -> tuple[int, bytes]:
        status, pieces, sent = 500, list[bytes](), False

        async def receive() -> Message:
            nonlocal sent
            if sent:
                await anyio.sleep_forever()  # who asked is still there, or this ends with them
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                pieces.append(message.get("body", b""))

        await self._app(scope, receive, send)
        return status, b"".join(pieces)


def _placed(method: Method, params: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The path with its pieces in it, and the parameters that are left. Raises `Fault`."""
    rest = dict(params)

    def filled(found: re.Match[str]) -> str:
        name, kind = found[1], found[2]
        value = rest.pop(name, None)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not value or value.strip(".") == "":
            raise Fault(PARAMS, f"{method.name} needs {name!r}, a text", code="invalid")
        if "/" in value and kind != "path":
            raise Fault(PARAMS, f"{name} {value!r} holds a slash", code="invalid")
        return value

    return _PIECE.sub(filled, method.path), rest


def _texts(values: Mapping[str, Any]) -> dict[str, Any]:
    words = {True: "true", False: "false"}
    return {
        key: words[value] if isinstance(value, bool) else value
        for key, value in values.items()
        if value is not None
    }


def _headers(given: Any, body: bytes) -> list[tuple[bytes, bytes]]:
    """Those of a request that mean something to one; the rest is not for who asks to say."""
    if not isinstance(given, dict):
        raise Fault(PARAMS, "_headers must be an object", code="invalid")
    told: list[tuple[bytes, bytes]] = []
    for name, value in cast("dict[str, Any]", given).items():
        plain = isinstance(value, str) and value.isascii() and value.isprintable()
        if name.lower() not in _TOLD or not plain:
            known = ", ".join(sorted(_TOLD))
            raise Fault(PARAMS, f"_headers may hold {known}, as plain texts", code="invalid")
        told.append((name.lower().encode(), value.encode()))
    if body:
        told += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    return told


def _fault(status: int, said: bytes) -> Fault:
    try:
        told = msgspec.json.decode(said, type=dict[str, Any])
    except msgspec.DecodeError:
        told = {}
    code = {422: PARAMS, 429: BUSY, 502: MODEL, 504: MODEL}.get(status, DENIED)
    code = INTERNAL if status == 500 else code
    kept = {key: told[key] for key in ("code", "hint", "tried") if told.get(key)}
    return Fault(code, str(told.get("detail") or f"status {status}"), status=status, **kept)
