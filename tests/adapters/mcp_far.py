"""A server of tools on a website, and what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from holdfast.testing.website import Asked, Reply

KEY = "canary-of-the-far-server"
JSON = {"Content-Type": "application/json", "Mcp-Session-Id": "ticket-1"}
Answer = Callable[[Any], Reply]


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
