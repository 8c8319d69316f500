"""The input of a response as a conversation, and its body as what is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from holdfast.core.ids import CallId
from holdfast.core.message import Entry, ModelSaid, PersonSaid, Returned, ToolAnswered, ToolCall
from holdfast.ports.model import ToolSpec

from . import fields as f
from .content import Desk, read
from .errors import Wrong
from .messages import SIGNED, signature, whole
from .wanted import Wanted

Items = Sequence[f.Fields]
_KNOWN = frozenset({
    "background", "context_management", "conversation", "frequency_penalty", "include", "input",
    "instructions", "max_output_tokens", "max_tool_calls", "metadata", "model", "moderation",
    "parallel_tool_calls", "presence_penalty", "previous_response_id", "prompt",
    "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning",
    "safety_identifier", "service_tier", "store", "stream", "stream_options", "temperature",
    "text", "tool_choice", "tools", "top_logprobs", "top_p", "truncation", "user",
})  # fmt: skip
_REFUSED = {
    "context_management": "conversations are not shortened for plain models.",
    "conversation": "use 'previous_response_id'.",
    "max_tool_calls": "a plain model's calls are yours; an agent has limits of its own.",
    "moderation": "there is none here.",
    "prompt": "no prompts are kept here; use 'instructions' and 'input'.",
}
_MOST_ITEMS = 10_000
_ODDS = "message.output_text.logprobs"
# What an answer may hold beside words and calls: for people, and not for the next turn.
_PASSED_OVER = frozenset({"reasoning", "mcp_call", "mcp_list_tools"})


def given(body: f.Fields) -> Items:
    """The input as items."""
    told = body.get("input")
    if isinstance(told, str):
        told = [{"type": "message", "role": "user", "content": told}]
    items = f.listed(told, "input")
    if not 0 < len(items) <= _MOST_ITEMS:
        what = f"'input' must be a text or a list of 1 to {_MOST_ITEMS} items."
        raise Wrong(what, param="input", code="" if items else "missing_parameter")
    return items


async def wanted(body: f.Fields, items: Items, by: str, desk: Desk) -> Wanted:
    """What a response asks for, `items` being the whole conversation. Raises `Wrong`."""
    f.check(body, _KNOWN, _REFUSED)
    if body.get("truncation") not in (None, "disabled"):
        what = "'truncation': a conversation that is too long is refused."
        raise Wrong(what, param="truncation", code="unsupported_parameter")
    model = f.model(body)
    tools = tuple(_tool(one, at) for at, one in enumerate(f.listed(body.get("tools"), "tools")))
    system, entries = await _conversation(items, by, desk)
    effort = f.text(f.object_of(body.get("reasoning")), "effort")
    most = f.whole(body, "max_output_tokens", 1, 10_000_000)
    odds = _ODDS in f.texts(body, "include") or bool(body.get("top_logprobs"))
    return Wanted(
        model=model,
        system="\n\n".join(filter(None, (f.text(body, "instructions"), system))),
        entries=entries,
        tools=tools,
        choice=f.choice(body.get("tool_choice"), tools),
        parallel=f.flag(body, "parallel_tool_calls", True),
        style=f.style(body, most, effort, odds=odds),
        shape=f.shape(f.object_of(body.get("text")).get("format"), "text.format"),
        stream=f.flag(body, "stream", False),
        user=f.text(body, "user"),
    )


def _tool(one: f.Fields, place: int) -> ToolSpec:
    if one.get("type") != "function":
        what = f"'tools[{place}]' must be a function: other tools are not run here for a model."
        raise Wrong(what, param=f"tools[{place}].type", code="unsupported_parameter")
    return f.tool(one, f"tools[{place}]")


async def _conversation(items: Items, by: str, desk: Desk) -> tuple[str, tuple[Entry, ...]]:
    system: list[str] = []
    entries: list[Entry] = []
    for place, item in enumerate(items):
        at = f"input[{place}]"
        match f.text(item, "type") or "message":
            case "message":
                await _message(item, at, (system, entries, by), desk)
            case "function_call":
                _add_call(entries, _call(item, at))
            case "function_call_output":
                entries.append(await _output(item, at, entries, desk))
            case kind if kind in _PASSED_OVER:
                continue
            case other:
                what = f"'{at}': items of the type {other!r} are not understood."
                raise Wrong(what, param=f"{at}.type")
    return whole(system, entries, by)


async def _message(
    item: f.Fields, at: str, into: tuple[list[str], list[Entry], str], desk: Desk
) -> None:
    system, entries, by = into
    words, files = await read(item.get("content"), f"{at}.content", desk)
    match item.get("role"):
        case "system" | "developer":
            system.append(words)
        case "user":
            entries.append(PersonSaid(text=words, by=by, files=files))
        case "assistant":
            entries.append(ModelSaid(text=words))
        case other:
            what = f"'{at}.role' is {other!r}; it must be user, assistant, system or developer."
            raise Wrong(what, param=f"{at}.role")


def _add_call(entries: list[Entry], call: ToolCall) -> None:
    """To the turn that is being said; calls of one turn follow one another."""
    last = entries[-1] if entries else None
    if isinstance(last, ModelSaid):
        entries[-1] = replace(last, calls=(*last.calls, call))
    else:
        entries.append(ModelSaid(calls=(call,)))


def _call(item: f.Fields, at: str) -> ToolCall:
    call = ToolCall(
        id=CallId(f.text(item, "call_id")),
        tool=f.text(item, "name"),
        arguments=f.arguments(item.get("arguments"), f"{at}.arguments"),
        signature=signature(item.get(SIGNED)),
    )
    if not (call.id and call.tool):
        raise Wrong(f"'{at}' must have a call_id and a name.", param=at)
    return call


async def _output(item: f.Fields, at: str, entries: list[Entry], desk: Desk) -> ToolAnswered:
    call = f.text(item, "call_id")
    said = (entry for entry in entries if isinstance(entry, ModelSaid))
    names = {one.id: one.tool for entry in said for one in entry.calls}
    words, files = await read(item.get("output"), f"{at}.output", desk)
    if files:
        raise Wrong(f"'{at}.output' must be text.", param=f"{at}.output")
    tool = names.get(CallId(call), "")
    return ToolAnswered(call_id=CallId(call), tool=tool, outcome=Returned(text=words))


def echoed(body: f.Fields, asked: Wanted) -> dict[str, Any]:
    """What a response repeats of its request."""
    text = f.object_of(body.get("text"))
    style, reasoning = asked.style, f.object_of(body.get("reasoning"))
    return {
        "instructions": f.text(body, "instructions") or None,
        "max_output_tokens": style.max_output or None,
        "max_tool_calls": None,
        "metadata": f.labels(body, "metadata"),
        "parallel_tool_calls": asked.parallel,
        "previous_response_id": f.text(body, "previous_response_id") or None,
        "store": f.flag(body, "store", True),
        "background": f.flag(body, "background", False),
        "temperature": 1.0 if style.temperature is None else style.temperature,
        "top_p": 1.0 if style.top_p is None else style.top_p,
        "presence_penalty": style.presence_penalty or 0.0,
        "frequency_penalty": style.frequency_penalty or 0.0,
        "top_logprobs": style.logprobs or 0,
        "text": {"format": _echoed_format(text.get("format"), asked)},
        "tool_choice": _echoed_choice(asked.choice),
        "tools": [_echoed_tool(one) for one in asked.tools],
        "reasoning": {"effort": f.text(reasoning, "effort") or None, "summary": None},
        "truncation": "disabled",
        "service_tier": "default",
        "safety_identifier": f.text(body, "safety_identifier") or None,
        "prompt_cache_key": f.text(body, "prompt_cache_key") or None,
        **({"user": asked.user} if asked.user else {}),
    }


def _echoed_format(given: object, asked: Wanted) -> dict[str, Any]:
    shape = asked.shape
    if shape is None or f.object_of(given).get("type") == "json_object":
        return {"type": "text" if shape is None else "json_object"}
    return {
        "type": "json_schema",
        "name": shape.name,
        "schema": shape.schema,
        "strict": shape.strict,
    }


def _echoed_choice(choice: str) -> str | dict[str, Any]:
    if choice.startswith("="):
        return {"type": "function", "name": choice[1:]}
    return choice or "auto"


def _echoed_tool(tool: ToolSpec) -> dict[str, Any]:
    told = {"type": "function", "name": tool.name, "description": tool.description}
    return {**told, "parameters": tool.schema, "strict": False}
