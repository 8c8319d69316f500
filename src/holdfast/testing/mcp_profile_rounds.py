"""The conformance suite's tools of several rounds: their first answer is a question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mcp_types as types

from .mcp_profile_tools import Fixture, Result, fixture, words

PROMPT = "test_input_required_result_prompt"


def _elicit(message: str, name: str, kind: str = "string") -> types.ElicitRequest:
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    params = types.ElicitRequestFormParams(message=message, requested_schema=schema)
    return types.ElicitRequest(params=params)


def _sample(text: str, most: int) -> types.CreateMessageRequest:
    said = types.TextContent(type="text", text=text)
    message = types.SamplingMessage(role="user", content=said)
    params = types.CreateMessageRequestParams(messages=[message], max_tokens=most)
    return types.CreateMessageRequest(params=params)


def _asks(state: str | None = None, **requests: Any) -> types.InputRequiredResult:
    return types.InputRequiredResult(input_requests=requests, request_state=state)


def _value(given: Any, name: str) -> str:
    """What a person typed; empty if this is no accepted form with it."""
    content = given.content if isinstance(given, types.ElicitResult) else None
    return str((content or {}).get(name) or "")


async def _name(asked: Any, _arguments: Mapping[str, Any]) -> Result:
    if name := _value(asked.inputs.get("user_name"), "name"):
        return words(f"Hello, {name}!")
    return _asks(user_name=_elicit("What is your name?", "name"))


async def _capital(asked: Any, _arguments: Mapping[str, Any]) -> Result:
    if said := asked.inputs.get("capital_question"):
        return words(f"The model says: {getattr(said.content, 'text', '')}")
    return _asks(capital_question=_sample("What is the capital of France?", 100))


async def _roots(asked: Any, _arguments: Mapping[str, Any]) -> Result:
    if said := asked.inputs.get("client_roots"):
        return words(f"Roots: {', '.join(str(root.uri) for root in said.roots)}")
    return _asks(client_roots=types.ListRootsRequest())


async def _confirm(asked: Any, _arguments: Mapping[str, Any]) -> Result:
    if asked.state == "confirm" and asked.inputs.get("confirm"):
        return words("state-ok")
    return _asks("confirm", confirm=_elicit("Please confirm", "ok", "boolean"))


async def _several(asked: Any, _arguments: Mapping[str, Any]) -> Result:
    if {"user_name", "greeting", "client_roots"} <= asked.inputs.keys():
        return words("All three were answered")
    return _asks(
        "several",
        user_name=_elicit("What is your name?", "name"),
        greeting=_sample("Generate a greeting", 50),
        client_roots=types.ListRootsRequest(),
    )


async def _rounds(asked: Any, _arguments: Mapping[str, Any]) -> Result:
    if asked.state.startswith("second:") and asked.inputs.get("step2"):
        color = _value(asked.inputs["step2"], "color")
        return words(f"{asked.state.removeprefix('second:')} likes {color}")
    if asked.state == "first" and (given := asked.inputs.get("step1")):
        asking = _elicit("Step 2: What is your favorite color?", "color")
        return _asks(f"second:{_value(given, 'name')}", step2=asking)
    return _asks("first", step1=_elicit("Step 1: What is your name?", "name"))


async def _able(asked: Any, _arguments: Mapping[str, Any]) -> Result:
    """Asks only for what the client can give."""
    able = asked.context.session.client_capabilities
    possible: dict[str, tuple[Any, Any]] = {
        "user_name": (able.elicitation, _elicit("What is your name?", "name")),
        "greeting": (able.sampling, _sample("Generate a greeting", 50)),
        "client_roots": (able.roots, types.ListRootsRequest()),
    }
    wanted = {name: request for name, (can, request) in possible.items() if can is not None}
    return _asks(None, **wanted) if wanted and not asked.inputs else words("Nothing is asked")


def prompt(asked: Any) -> types.GetPromptResult | types.InputRequiredResult:
    if text := _value(asked.inputs.get("user_context"), "context"):
        said = types.TextContent(type="text", text=f"The context is: {text}")
        return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=said)])
    asking = _elicit("What context should the prompt use?", "context")
    return _asks(user_context=asking)


TOOLS: tuple[Fixture, ...] = (
    fixture("test_input_required_result_elicitation", _name),
    fixture("test_streaming_elicitation", _name),
    fixture("test_input_required_result_sampling", _capital),
    fixture("test_input_required_result_list_roots", _roots),
    fixture("test_input_required_result_request_state", _confirm),
    fixture("test_input_required_result_tampered_state", _confirm),
    fixture("test_input_required_result_multiple_inputs", _several),
    fixture("test_input_required_result_multi_round", _rounds),
    fixture("test_input_required_result_capabilities", _able),
)
