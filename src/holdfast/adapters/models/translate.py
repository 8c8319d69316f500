"""Our entries as the library's messages, and its responses as our replies."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct
from pydantic_ai import messages as m
from pydantic_ai.tools import ToolDefinition

from holdfast.core.context import Prompt
from holdfast.core.ids import CallId
from holdfast.core.message import (
    Entry,
    Failed,
    File,
    HouseSaid,
    ModelSaid,
    PersonSaid,
    Refused,
    Returned,
    Thought,
    ToolAnswered,
    ToolCall,
    Unknown,
)
from holdfast.ports.model import ToolSpec

_SIGNATURE = "thought_signature"
_FIELDS = {"reasoning", "reasoning_content"}
_SEALED = ("id", "signature", "provider_details")
_TEXTS = {"application/json", "application/xml", "application/yaml", "application/x-yaml"}
_NOTHING = Returned(text="[no result]")
_Words = str | Sequence[m.UserContent]


class Voice(Struct, frozen=True, kw_only=True):
    """How one provider wants things said.

    `name` is the provider's name here, `system` the library's. `thinking` is how its thoughts go
    back to it: in the `field` they came in, `signed`, as a signature `ahead` of what follows, or
    `sealed` with all that came with them. `redacted` is the library's name for a thought without
    words. `flags_errors`: a failed tool is marked as such. `needs_tools`: the tools of a
    conversation must be declared even when none may be called. `tells_odds`: it can say how likely
    each token of its answer was.
    """

    name: str
    system: str
    thinking: Literal["field", "signed", "ahead", "sealed"]
    redacted: str = "redacted_thinking"
    flags_errors: bool = False
    needs_tools: bool = False
    tells_odds: bool = False


class Answer(Struct, frozen=True, kw_only=True):
    """The parts of a response that are ours."""

    text: str
    thoughts: tuple[Thought, ...]
    calls: tuple[ToolCall, ...]


def to_messages(
    prompt: Prompt, voice: Voice, files: Mapping[str, bytes] | None = None
) -> list[m.ModelMessage]:
    """The conversation, one message per change of speaker. `files` are the bytes by digest."""
    shown = files or {}
    told: list[m.ModelMessage] = [m.ModelRequest(parts=[m.SystemPromptPart(prompt.system)])]
    for entry in whole(prompt.entries):
        last = told[-1]
        if isinstance(entry, ModelSaid):
            parts = _said(entry, voice)
            if isinstance(last, m.ModelResponse):
                last.parts = [*last.parts, *parts]
            elif parts:
                told.append(m.ModelResponse(parts=parts, provider_name=voice.system))
        elif isinstance(last, m.ModelRequest):
            last.parts = _joined([*last.parts, _heard(entry, voice, shown)])
        else:
            told.append(m.ModelRequest(parts=[_heard(entry, voice, shown)]))
    return told


def whole(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Every call with its answer right after it, and no other answers: providers insist."""
    answers: dict[CallId, deque[ToolAnswered]] = {}
    for entry in entries:
        if isinstance(entry, ToolAnswered):
            answers.setdefault(entry.call_id, deque()).append(entry)
    told: list[Entry] = []
    for entry in entries:
        if isinstance(entry, ToolAnswered):
            continue
        told.append(entry)
        for call in entry.calls if isinstance(entry, ModelSaid) else ():
            known = answers.get(call.id)
            nothing = ToolAnswered(call_id=call.id, tool=call.tool, outcome=_NOTHING)
            told.append(known.popleft() if known else nothing)
    return tuple(told)


def to_tools(tools: Sequence[ToolSpec]) -> list[ToolDefinition]:
    return [
        ToolDefinition(
            name=tool.name,
            description=tool.description,
            parameters_json_schema=tool.schema,
            strict=False,
        )
        for tool in tools
    ]


def used_tools(prompt: Prompt) -> tuple[ToolSpec, ...]:
    """The tools that the conversation mentions, for providers that insist on knowing them."""
    names = {
        call.tool: None
        for entry in prompt.entries
        if isinstance(entry, ModelSaid)
        for call in entry.calls
    }
    return tuple(ToolSpec(name=name, description="", schema={"type": "object"}) for name in names)


def from_response(response: m.ModelResponse, voice: Voice) -> Answer:
    texts: list[str] = []
    thoughts: list[Thought] = []
    calls: list[ToolCall] = []
    for part in response.parts:
        match part:
            case m.TextPart():
                texts.append(part.content)
                if (ahead := _detail(part)) and voice.thinking == "ahead":
                    thoughts.append(Thought(text="", signature=ahead, provider=voice.name))
            case m.ThinkingPart():
                if thought := _thought(part, voice):
                    thoughts.append(thought)
            case m.ToolCallPart():
                calls.append(_call(part, voice))
            case _:
                continue
    return Answer(text=_unicode("".join(texts)), thoughts=tuple(thoughts), calls=tuple(calls))


def odds_of(response: m.ModelResponse) -> tuple[dict[str, Any], ...]:
    """How likely each token of the answer was, if it was said: of the whole, or of its parts."""
    parts = (part for part in response.parts if isinstance(part, m.TextPart))
    told: list[dict[str, Any]] = []
    for details in (response.provider_details, *(part.provider_details for part in parts)):
        told += (details or {}).get("logprobs") or ()
    return tuple(told)


def _heard(
    entry: Entry, voice: Voice, files: Mapping[str, bytes]
) -> m.ToolReturnPart | m.UserPromptPart:
    match entry:
        case PersonSaid(files=()):
            return m.UserPromptPart(entry.text)
        case PersonSaid():
            shown = [_shown(file, files[file.digest]) for file in entry.files]
            return m.UserPromptPart([*shown, entry.text] if entry.text else shown)
        case HouseSaid():
            return m.UserPromptPart(f"[house note: {entry.text}]")
        case ToolAnswered():
            return _answered(entry, voice)
        case ModelSaid():
            raise TypeError("the model's own words are not heard")


def _answered(entry: ToolAnswered, voice: Voice) -> m.ToolReturnPart:
    failed = isinstance(entry.outcome, Failed)
    match entry.outcome:
        case Returned(text=text):
            said = text
        case Failed(text=text):
            said = text if voice.flags_errors else f"error: {text}"
        case Refused(reason=reason):
            said = f"refused: {reason}"
        case Unknown(reason=reason):
            said = f"unknown: {reason}"
    if entry.note:
        said = f"{said}\n[house note: {entry.note}]"
    return m.ToolReturnPart(
        tool_name=entry.tool,
        content=said,
        tool_call_id=entry.call_id,
        outcome="failed" if failed and voice.flags_errors else "success",
    )


def _shown(file: File, content: bytes) -> str | m.BinaryContent:
    """Text is told as words with its name; anything else is shown as it is."""
    if is_text(file.media_type):
        return f"--- file {file.name} ---\n\n{content.decode('utf-8', 'replace')}"
    return m.BinaryContent(content, media_type=file.media_type, identifier=file.name)


def is_text(media_type: str) -> bool:
    kind = media_type.partition(";")[0].strip().lower()
    return kind.startswith("text/") or kind in _TEXTS or kind.endswith(("+json", "+xml"))


def _joined(parts: Sequence[m.ModelRequestPart]) -> list[m.ModelRequestPart]:
    """Words that follow words become one part."""
    *before, last = parts
    if before and isinstance(last, m.UserPromptPart):
        previous = before[-1]
        if isinstance(previous, m.UserPromptPart):
            before[-1] = m.UserPromptPart(_together(previous.content, last.content))
            return before
    return list(parts)


def _together(first: _Words, second: _Words) -> _Words:
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    firsts = [first] if isinstance(first, str) else first
    seconds = [second] if isinstance(second, str) else second
    return [*firsts, *seconds]


def _said(entry: ModelSaid, voice: Voice) -> list[m.ModelResponsePart]:
    parts: list[m.ModelResponsePart] = [
        part for thought in entry.thoughts if (part := _remembered(thought, voice))
    ]
    if entry.text:
        parts.append(m.TextPart(entry.text))
    parts += [_called(call, voice) for call in entry.calls]
    return parts


def _remembered(thought: Thought, voice: Voice) -> m.ThinkingPart | None:
    """A thought as its own provider wants it back; None for any other provider's."""
    if thought.provider != voice.name or not thought.signature:
        return None
    signature = thought.signature
    if voice.thinking == "field":
        if signature not in _FIELDS:
            return None
        return m.ThinkingPart(thought.text, id=signature, provider_name=voice.system)
    if voice.thinking == "sealed":
        kept = cast("dict[str, Any]", json.loads(signature))
        return m.ThinkingPart(thought.text, provider_name=voice.system, **kept)
    if voice.thinking == "ahead" and thought.text:
        details = {_SIGNATURE: signature}
        return m.ThinkingPart(thought.text, provider_name=voice.system, provider_details=details)
    return m.ThinkingPart(
        thought.text,
        id=voice.redacted if voice.thinking == "signed" and not thought.text else None,
        signature=signature,
        provider_name=voice.system,
    )


def _called(call: ToolCall, voice: Voice) -> m.ToolCallPart:
    details: dict[str, Any] | None = None
    if call.signature:
        signed = cast("dict[str, Any]", json.loads(call.signature))
        details = signed["details"] if signed["provider"] == voice.name else None
    return m.ToolCallPart(
        tool_name=call.tool,
        args=call.arguments,
        tool_call_id=call.id,
        provider_name=voice.system if details else None,
        provider_details=details,
    )


def _thought(part: m.ThinkingPart, voice: Voice) -> Thought | None:
    match voice.thinking:
        case "field":
            # What came in tags inside the text belongs nowhere else.
            signature = part.id if part.id in _FIELDS else ""
        case "signed":
            signature = part.signature
        case "sealed":
            kept = {name: value for name in _SEALED if (value := getattr(part, name))}
            signature = json.dumps(kept, sort_keys=True) if kept else ""
        case "ahead":
            signature = part.signature or _detail(part)
    if not part.content and not signature:
        return None
    return Thought(text=_unicode(part.content), signature=signature or "", provider=voice.name)


def _call(part: m.ToolCallPart, voice: Voice) -> ToolCall:
    arguments, problem = _arguments(part.args)
    signature = ""
    if part.provider_details:
        signed = {"provider": voice.name, "details": part.provider_details}
        signature = json.dumps(signed, sort_keys=True)
    return ToolCall(
        id=CallId(part.tool_call_id),
        tool=_unicode(part.tool_name),
        arguments=arguments,
        problem=problem,
        signature=signature,
    )


def _arguments(args: str | dict[str, Any] | None) -> tuple[dict[str, Any], str]:
    """The arguments as an object; or none, and what is wrong with them."""
    try:
        value: object = args if isinstance(args, dict) else json.loads(args or "{}")
        msgspec.json.encode(value)
    except UnicodeEncodeError:
        return {}, "the arguments are not valid JSON: they hold text that is not Unicode"
    except (ValueError, RecursionError) as wrong:
        return {}, f"the arguments are not valid JSON: {wrong}"
    if not isinstance(value, dict):
        return {}, "the arguments are not valid JSON: not an object"
    return cast("dict[str, Any]", value), ""


def _unicode(text: str) -> str:
    """Pairs that came in halves are joined; a half alone becomes a mark."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _detail(part: m.TextPart | m.ThinkingPart) -> str:
    found: object = (part.provider_details or {}).get(_SIGNATURE)
    return found if isinstance(found, str) else ""
