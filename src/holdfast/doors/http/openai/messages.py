"""The messages of a chat as a conversation, and the body of a chat as what is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from holdfast.core.ids import CallId
from holdfast.core.message import Entry, ModelSaid, PersonSaid, Returned, ToolAnswered, ToolCall

from . import fields as f
from .content import Desk, read
from .errors import Wrong
from .wanted import Wanted

_KNOWN = frozenset({
    "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs",
    "max_completion_tokens", "max_tokens", "messages", "metadata", "modalities", "model", "n",
    "parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key",
    "prompt_cache_options", "prompt_cache_retention", "reasoning_effort", "response_format",
    "safety_identifier", "seed", "service_tier", "stop", "store", "stream", "stream_options",
    "temperature", "tool_choice", "tools", "top_k", "top_logprobs", "top_p", "user", "verbosity",
    "web_search_options",
})  # fmt: skip
_REFUSED = {
    "audio": "answers are text.",
    "function_call": "use 'tool_choice'.",
    "functions": "use 'tools'.",
    "logit_bias": "it is not passed on.",
    "web_search_options": "models are asked without a search of their own; agents have one.",
}
_MOST_MESSAGES, _MOST_CHOICES = 10_000, 16
_BEGUN = "[the conversation begins with what you said]"
_CONTINUE = "[go on]"
SIGNED = "extra_content"
"""The field of a call with what its provider wants back unread, as Google's own door names it."""


def stream_usage(body: f.Fields) -> bool:
    """Whether a streamed answer ends with what it took."""
    return f.object_of(body.get("stream_options")).get("include_usage") is True


async def wanted(body: f.Fields, by: str, desk: Desk) -> Wanted:
    """What a chat asks for. Raises `Wrong`."""
    f.check(body, _KNOWN, _REFUSED)
    odds = f.flag(body, "logprobs", False)
    if body.get("top_logprobs") and not odds:
        raise Wrong("'top_logprobs' needs 'logprobs'.", param="top_logprobs")
    if body.get("modalities") not in (None, [], ["text"]):
        raise Wrong("'modalities': answers are text.", param="modalities")
    model = f.model(body)
    tools = tuple(
        _tool(one, place) for place, one in enumerate(f.listed(body.get("tools"), "tools"))
    )
    messages = f.listed(body.get("messages"), "messages")
    if not 0 < len(messages) <= _MOST_MESSAGES:
        what = f"'messages' must be a list of 1 to {_MOST_MESSAGES} messages."
        raise Wrong(what, param="messages", code="missing_parameter" if not messages else "")
    system, entries = await conversation(messages, by, desk)
    most = f.whole(body, "max_completion_tokens", 1, 10_000_000)
    if most is None:
        most = f.whole(body, "max_tokens", 1, 10_000_000)
    return Wanted(
        model=model,
        system=system,
        entries=entries,
        tools=tools,
        choice=f.choice(body.get("tool_choice"), tools),
        parallel=f.flag(body, "parallel_tool_calls", True),
        style=f.style(body, most, f.text(body, "reasoning_effort"), odds=odds),
        shape=f.shape(body.get("response_format"), "response_format"),
        stream=f.flag(body, "stream", False),
        user=f.text(body, "user"),
        count=f.whole(body, "n", 1, _MOST_CHOICES) or 1,
    )


def _tool(one: f.Fields, place: int) -> Any:
    at, inner = f"tools[{place}]", one.get("function")
    if one.get("type") != "function" or not isinstance(inner, dict):
        what = f"'{at}' must be a function: other tools are not run here for a model."
        raise Wrong(what, param=f"{at}.type", code="unsupported_parameter")
    return f.tool(cast("f.Fields", inner), f"{at}.function")


async def conversation(
    messages: Sequence[f.Fields], by: str, desk: Desk
) -> tuple[str, tuple[Entry, ...]]:
    """What the model is told before all else, and the turns."""
    system: list[str] = []
    entries: list[Entry] = []
    names: dict[str, str] = {}
    for place, message in enumerate(messages):
        at = f"messages[{place}]"
        words, files = await read(message.get("content"), f"{at}.content", desk)
        match message.get("role"):
            case "system" | "developer":
                system.append(words)
            case "user":
                entries.append(PersonSaid(text=words, by=by, files=files))
            case "assistant":
                said = ModelSaid(text=words, calls=_calls(message, at))
                names |= {call.id: call.tool for call in said.calls}
                entries.append(said)
            case "tool":
                call = f.text(message, "tool_call_id")
                told = Returned(text=words)
                tool = names.get(call, "")
                entries.append(ToolAnswered(call_id=CallId(call), tool=tool, outcome=told))
            case other:
                known = "system, developer, user, assistant or tool"
                raise Wrong(f"'{at}.role' is {other!r}; it must be {known}.", param=f"{at}.role")
    return whole(system, entries, by)


def whole(system: list[str], entries: list[Entry], by: str) -> tuple[str, tuple[Entry, ...]]:
    """A conversation that every provider takes: a person begins, and it is the model's turn."""
    if not entries and system:  # instructions alone are what is asked
        entries = [PersonSaid(text=system.pop(), by=by)]
    if entries and isinstance(entries[0], ModelSaid):
        entries = [PersonSaid(text=_BEGUN, by=by), *entries]
    last = entries[-1] if entries else None
    if isinstance(last, ModelSaid) and not last.calls:
        entries = [*entries, PersonSaid(text=_CONTINUE, by=by)]
    return "\n\n".join(filter(None, system)), tuple(entries)


def _calls(message: f.Fields, at: str) -> tuple[ToolCall, ...]:
    if message.get("function_call"):
        raise Wrong(f"'{at}.function_call': use 'tool_calls'.", param=f"{at}.function_call")
    calls: list[ToolCall] = []
    for place, one in enumerate(f.listed(message.get("tool_calls"), f"{at}.tool_calls")):
        where, fields = f"{at}.tool_calls[{place}]", f.object_of(one.get("function"))
        call = ToolCall(
            id=CallId(f.text(one, "id")),
            tool=f.text(fields, "name"),
            arguments=f.arguments(fields.get("arguments"), f"{where}.function.arguments"),
            signature=signature(one.get(SIGNED)),
        )
        if not (call.id and call.tool):
            raise Wrong(f"'{where}' must have an id and a function with a name.", param=where)
        calls.append(call)
    return tuple(calls)


def signature(extra: object) -> str:
    """What a call's provider gave with it, if the client has kept it."""
    found = f.object_of(f.object_of(extra).get("holdfast")).get("signature")
    return found if isinstance(found, str) else ""
