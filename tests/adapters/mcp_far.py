"""A server of tools on a website, and what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from holdfast.testing.website import Asked, Reply

KEY = "canary-of-the-far-server"
JSON = {"Content-Type": "application/json", "Mcp-Session-Id": "ticket-1"}
Answer = Callable[[Any], Reply]
META = "io.modelcontextprotocol/"


def told(number: int, result: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "result": result}).encode()


class Far:
    """A server of tools on a website; `answers` says what a call of a tool leads to."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.answer = answer

    def __call__(self, asked: Asked) -> Reply | None:
        if asked.method != "POST":
            return Reply(status=200)
        message = json.loads(asked.body)
        match message.get("method"):
            case "initialize":
                about = {"name": "far", "version": "1"}
                result: dict[str, Any] = {
                    "protocolVersion": "2025-06-18",
                    "capabilities": {"tools": {}},
                    "serverInfo": about,
                }
                return Reply(headers=JSON, body=told(message["id"], result))
            case "tools/list":
                schema: dict[str, Any] = {"type": "object", "properties": {}}
                tool: dict[str, Any] = {
                    "name": "look",
                    "description": "Look.",
                    "inputSchema": schema,
                }
                return Reply(headers=JSON, body=told(message["id"], {"tools": [tool]}))
            case "tools/call" if self.answer:
                return self.answer(message)
            case "tools/call":
                parts = {"content": [{"type": "text", "text": f"hello {KEY}"}]}
                return Reply(headers=JSON, body=told(message["id"], parts))
            case _:
                return Reply(status=202)


class Stateless(Far):
    """The same in the revision that has no handshake. `able` is what it says it has; `schemas` what
    its tools take; `more` answers other questions."""

    def __init__(self, answer: Answer | None = None, **able: Any) -> None:
        super().__init__(answer)
        self.able: dict[str, Any] = {"tools": {}, **able}
        self.description = "Look."
        self.schemas: dict[str, dict[str, Any]] = {"look": {"type": "object", "properties": {}}}
        self.more: dict[str, Answer] = {}

    def __call__(self, asked: Asked) -> Reply | None:
        if asked.method != "POST":
            return Reply(status=405)
        message = json.loads(asked.body)
        method, about = message["method"], message.get("params", {}).get("_meta", {})
        if f"{META}clientCapabilities" not in about or method == "initialize":
            return refused(message["id"], -32_601, "it shakes no hands", 404)
        assert asked.headers["mcp-protocol-version"] == about[f"{META}protocolVersion"]
        assert asked.headers["mcp-method"] == method
        if method in self.more:
            return self.more[method](message)
        match method:
            case "server/discover":
                return said(message, supportedVersions=["2026-07-28"], capabilities=self.able)
            case "tools/list":
                tools = [
                    {"name": name, "description": self.description, "inputSchema": schema}
                    for name, schema in self.schemas.items()
                ]
                return said(message, tools=tools)
            case "tools/call" if self.answer:
                return self.answer(message)
            case "tools/call":
                return said(message, content=[{"type": "text", "text": "hello"}])
            case _:
                return refused(message["id"], -32_601, "no such method", 404)


def said(message: Any, kind: str = "complete", **result: Any) -> Reply:
    who = {f"{META}serverInfo": {"name": "far", "version": "2"}}
    body = told(message["id"], {"resultType": kind, "_meta": who, **result})
    return Reply(headers={"Content-Type": "application/json"}, body=body)


def refused(number: object, code: int, text: str, status: int = 400, **more: Any) -> Reply:
    error = {"code": code, "message": text, **more}
    body = json.dumps({"jsonrpc": "2.0", "id": number, "error": error}).encode()
    return Reply(status=status, headers={"Content-Type": "application/json"}, body=body)
