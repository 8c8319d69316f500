"""A scripted model clever enough for other people's kits: it fits schemas and calls tools."""

from __future__ import annotations

import json
from typing import Any, cast

from holdfast.testing.model_server import RecordedRequest, Reply, ScriptedCall

_SCALARS: dict[str, Any] = {"integer": 1, "number": 1.5, "boolean": True, "null": None}


def clever(request: RecordedRequest) -> Reply | None:
    """What such a model says; None where the server knows by itself."""
    body = request.body
    if "messages" not in body:
        return None
    last, tools = request.messages[-1], body.get("tools")
    if tools and last["role"] != "tool" and body.get("tool_choice") != "none":
        return Reply(calls=tuple(_calls(body)))
    form: dict[str, Any] = body.get("response_format") or {}
    if form.get("type") == "json_schema":
        return Reply(text=json.dumps(fitting(form["json_schema"]["schema"])))
    if form.get("type") == "json_object":
        return Reply(text='{"ok": true}')
    most = body.get("max_completion_tokens") or body.get("max_tokens") or 99
    if most <= 8:
        return Reply(text="one two three"[: 4 * most], finish="length")
    said = json.dumps(request.messages)
    return Reply(text="You are Ada." if "Ada" in said else "pong", chunks=2)


def _calls(body: dict[str, Any]) -> list[ScriptedCall]:
    functions: list[dict[str, Any]] = [one["function"] for one in body["tools"]]
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        name = cast("dict[str, Any]", choice)["function"]["name"]
        functions = [one for one in functions if one["name"] == name]
    several = body.get("parallel_tool_calls", True) and len(functions) == 2
    wanted = functions if several else functions[:1]
    return [
        ScriptedCall(name=one["name"], arguments=fitting(one.get("parameters") or {}))
        for one in wanted
    ]


def fitting(schema: dict[str, Any]) -> Any:
    """Some value that fits a simple schema."""
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for name in ("anyOf", "oneOf", "allOf"):
        if schema.get(name):
            return fitting(schema[name][0])
    kind: Any = schema.get("type", "object")
    kind = cast("list[str]", kind)[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {name: fitting(one) for name, one in schema.get("properties", {}).items()}
    if kind == "array":
        return [fitting(schema.get("items") or {"type": "string"})]
    return _SCALARS.get(kind, "xxx")
