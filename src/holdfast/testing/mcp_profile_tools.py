"""The conformance suite's plain tools: each kind of content, and what a server says meanwhile."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import anyio
import mcp_types as types
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.subscriptions import PromptsListChanged, ToolsListChanged

_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)
_WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="
_PAUSE = 0.05

Result = types.CallToolResult | types.InputRequiredResult
Run = Callable[[Any, Mapping[str, Any]], Awaitable[Result]]
_Json = dict[str, Any]


class Fixture(NamedTuple):
    """A tool, and what it does."""

    tool: types.Tool
    run: Run


def fixture(name: str, run: Run, **properties: Any) -> Fixture:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    about = name.replace("_", " ")
    return Fixture(types.Tool(name=name, description=about, input_schema=schema), run)


def words(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)])


def picture() -> types.ImageContent:
    return types.ImageContent(type="image", data=_PNG, mime_type="image/png")


def _shows(*parts: types.ContentBlock) -> Run:
    async def run(_asked: Any, _arguments: Mapping[str, Any]) -> Result:
        return types.CallToolResult(content=list(parts))

    return run


def _resource(uri: str, kind: str, text: str) -> types.EmbeddedResource:
    inner = types.TextResourceContents(uri=uri, mime_type=kind, text=text)
    return types.EmbeddedResource(type="resource", resource=inner)


def _text(text: str) -> types.TextContent:
    return types.TextContent(type="text", text=text)


async def _logging(asked: Any, _arguments: Mapping[str, Any]) -> Result:
    for text in ("started", "processing data", "completed"):
        await asked.log("info", f"Tool execution {text}")
        await anyio.sleep(_PAUSE)
    return words("Tool with logging executed successfully")


async def _progress(asked: Any, _arguments: Mapping[str, Any]) -> Result:
    for done in (0, 50, 100):
        text = f"Completed step {done} of 100"
        await asked.context.session.report_progress(done, 100, text)
        await anyio.sleep(_PAUSE)
    return words("Progress was reported")


async def _failing(_asked: Any, _arguments: Mapping[str, Any]) -> Result:
    said = "This tool intentionally returns an error for testing"
    return types.CallToolResult(content=[_text(said)], is_error=True)


async def _reconnecting(asked: Any, _arguments: Mapping[str, Any]) -> Result:
    """Ends its stream in the middle; the client comes back for the rest."""
    await asked.log("info", "Before disconnect")
    if asked.context.close_sse_stream is not None:
        await asked.context.close_sse_stream()
    await anyio.sleep(_PAUSE * 4)
    await asked.log("info", "After reconnect")
    return words("Reconnection test completed")


async def _sampling(asked: Any, arguments: Mapping[str, Any]) -> Result:
    message = types.SamplingMessage(role="user", content=_text(str(arguments.get("prompt"))))
    params = types.CreateMessageRequestParams(messages=[message], max_tokens=100)
    request = types.CreateMessageRequest(params=params)
    said = await asked.context.session.send_request(
        request,
        types.CreateMessageResult,
        metadata=ServerMessageMetadata(related_request_id=asked.context.request_id),
    )
    return words(f"LLM response: {getattr(said.content, 'text', '')}")


def _eliciting(properties: _Json, head: str) -> Run:
    async def run(asked: Any, arguments: Mapping[str, Any]) -> Result:
        message = str(arguments.get("message") or "Please say")
        schema = {"type": "object", "properties": properties}
        context = asked.context
        said = await context.session.elicit_form(message, schema, context.request_id)
        content = json.dumps(said.content or {})
        return words(f"{head}: action={said.action}, content={content}")

    return run


async def _lacking(asked: Any, _arguments: Mapping[str, Any]) -> Result:
    able = asked.context.session.client_capabilities
    if able is None or able.sampling is None:
        needs: _Json = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, "it needs sampling", needs)
    return words("It has what is needed")


def _changing(change: object) -> Run:
    async def run(asked: Any, _arguments: Mapping[str, Any]) -> Result:
        await asked.context.lifespan_context.feeds.bus.publish(change)
        return words("It has changed")

    return run


_AGE = {"type": "integer", "description": "User age", "default": 30}
_DEFAULTS: _Json = {
    "name": {"type": "string", "description": "User name", "default": "John Doe"},
    "age": _AGE,
    "score": {"type": "number", "description": "User score", "default": 95.5},
    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    "verified": {"type": "boolean", "description": "Verification status", "default": True},
}
_OPTIONS = ["option1", "option2", "option3"]
_TITLED = [
    {"const": "value1", "title": "First Option"},
    {"const": "value2", "title": "Second Option"},
    {"const": "value3", "title": "Third Option"},
]
_LEGACY = {"enumNames": ["Option One", "Option Two", "Option Three"]}
_ENUMS: _Json = {
    "untitledSingle": {"type": "string", "enum": _OPTIONS},
    "titledSingle": {"type": "string", "oneOf": _TITLED},
    "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], **_LEGACY},
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": _OPTIONS}},
    "titledMulti": {"type": "array", "items": {"anyOf": _TITLED}},
}
_ADDRESS = {"street": {"type": "string"}, "city": {"type": "string"}}
_PLACE = {"$anchor": "addressDef", "type": "object", "properties": _ADDRESS}
_REQUIRES_PHONE, _REQUIRES_EMAIL = {"required": ["phone"]}, {"required": ["email"]}
_BY_PHONE = {"contactMethod": {"const": "phone"}}
_DRAFT: _Json = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {"address": _PLACE},
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [_REQUIRES_PHONE, _REQUIRES_EMAIL]}],
    "if": {"properties": _BY_PHONE, "required": ["contactMethod"]},
    "then": _REQUIRES_PHONE,
    "else": _REQUIRES_EMAIL,
    "additionalProperties": False,
}


async def _draft(_asked: Any, arguments: Mapping[str, Any]) -> Result:
    return words(json.dumps(dict(arguments)))


async def _headers(_asked: Any, arguments: Mapping[str, Any]) -> Result:
    return words(f"region {arguments.get('region')}")


_STRING = {"type": "string"}
_AS_HEADER = {"type": "string", "x-mcp-header": "Region"}
_MIXED = (
    _text("Multiple content types test:"),
    picture(),
    _resource("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
)
_EMBEDDED = _resource(
    "test://embedded-resource", "text/plain", "This is an embedded resource content."
)
_SOUND = types.AudioContent(type="audio", data=_WAV, mime_type="audio/wav")

TOOLS: tuple[Fixture, ...] = (
    fixture("test_simple_text", _shows(_text("This is a simple text response for testing."))),
    fixture("test_image_content", _shows(picture())),
    fixture("test_audio_content", _shows(_SOUND)),
    fixture("test_embedded_resource", _shows(_EMBEDDED)),
    fixture("test_multiple_content_types", _shows(*_MIXED)),
    fixture("test_tool_with_logging", _logging),
    fixture("test_logging_tool", _logging),
    fixture("test_tool_with_progress", _progress),
    fixture("test_error_handling", _failing),
    fixture("test_reconnection", _reconnecting),
    fixture("test_sampling", _sampling, prompt=_STRING),
    fixture(
        "test_elicitation",
        _eliciting({"response": _STRING}, "User response"),
        message=_STRING,
    ),
    fixture("test_elicitation_sep1034_defaults", _eliciting(_DEFAULTS, "Elicitation completed")),
    fixture("test_elicitation_sep1330_enums", _eliciting(_ENUMS, "Elicitation completed")),
    Fixture(
        types.Tool(
            name="json_schema_2020_12_tool", description="every keyword", input_schema=_DRAFT
        ),
        _draft,
    ),
    fixture("test_missing_capability", _lacking),
    fixture("test_trigger_tool_change", _changing(ToolsListChanged())),
    fixture("test_trigger_prompt_change", _changing(PromptsListChanged())),
    fixture("test_header_parameters", _headers, region=_AS_HEADER),
)
