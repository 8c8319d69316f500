"""Tool calls as text, for models that know no other form: how they are told, and how they are read.

The form that is told, and in which the conversation so far is shown:

    <tool_call>
    {"name": "read", "arguments": {"path": "a.txt"}}
    </tool_call>

    <tool_response name="read">
    what the tool said
    </tool_response>

What is read is wider: the same JSON in a ```json, ```tool or ```tool_call block or bare among
words; `tool_name` or `tool` for `name`, `parameters` or `args` for `arguments`, an `id`; lists of
calls; and the wrappings of the native form (`tool_calls`, `function`). A comma too many is
forgiven, single quotes are not: nobody can tell them from apostrophes.
"""

from __future__ import annotations

import itertools
import json

from msgspec.structs import replace

from holdfast.core.context import Prompt
from holdfast.core.ids import CallId
from holdfast.core.message import (
    Entry,
    Failed,
    ModelSaid,
    PersonSaid,
    Refused,
    Returned,
    ToolAnswered,
    ToolCall,
    Unknown,
)
from holdfast.ports.model import ToolSpec

from .call_json import Broken, Wanted

MOST_CALLS = 6
ABOUT_INSTRUCTIONS = 400  # tokens, at most
_INSTRUCTIONS = f"""\
You have tools. To call one, write a block like this, with nothing else in it:

<tool_call>
{{"name": "NAME OF THE TOOL", "arguments": {{"NAME": "VALUE"}}}}
</tool_call>

The arguments are one JSON object that fits the schema of the tool. Several blocks are several \
calls, {MOST_CALLS} at most in one reply. End your reply after the last block: what the tools \
answer comes back in <tool_response> blocks, in the same order. Never write a <tool_response> \
yourself. A reply without a block is your final answer.

The tools, one in each line:
"""


def told(prompt: Prompt, tools: tuple[ToolSpec, ...]) -> Prompt:
    """The prompt for a model without native calls: tools and the earlier calls as text."""
    system = prompt.system
    if tools:
        lines = (
            _json({"name": t.name, "description": t.description, "arguments": t.schema})
            for t in tools
        )
        system = f"{system}\n\n{_INSTRUCTIONS}{chr(10).join(lines)}"
    return replace(prompt, system=system, entries=tuple(map(_as_text, prompt.entries)), tools=False)


def has_calls(prompt: Prompt) -> bool:
    """Whether the conversation holds what only a model with native calls can be shown."""
    return any(
        isinstance(entry, ToolAnswered) or (isinstance(entry, ModelSaid) and entry.calls)
        for entry in prompt.entries
    )


def numbered(found: list[Wanted | Broken], left_out: int, prompt: Prompt) -> tuple[ToolCall, ...]:
    """What was found, as calls with ids of their own; the last one says what was left out."""
    taken = {
        call.id for entry in prompt.entries if isinstance(entry, ModelSaid) for call in entry.calls
    }
    number = len(taken)
    calls: list[ToolCall] = []
    for one in found:
        number += 1
        name = _fresh((one.id if isinstance(one, Wanted) else "") or f"tool-json-{number}", taken)
        taken.add(name)
        calls.append(_call(one, name))
    if left_out:
        more = f" and {left_out - 1} more" if left_out > 1 else ""
        problem = (
            f"only {MOST_CALLS} calls of one reply are run: this one{more} did not run."
            " Send what is still needed in your next reply."
        )
        calls[-1] = replace(calls[-1], problem=problem)
    return tuple(calls)


def _call(found: Wanted | Broken, name: CallId) -> ToolCall:
    match found:
        case Wanted():
            return ToolCall(id=name, tool=found.tool, arguments=found.arguments)
        case Broken():
            problem = f"the call could not be read: {found.reason}. It began: {found.snippet}"
            return ToolCall(id=name, tool=found.tool, arguments={}, problem=problem)


def _fresh(name: str, taken: set[CallId]) -> CallId:
    names = itertools.chain([name], (f"{name}-{count}" for count in itertools.count(2)))
    return next(CallId(one) for one in names if one not in taken)


def _as_text(entry: Entry) -> Entry:
    match entry:
        case ModelSaid(calls=calls) if calls:
            blocks = (_block(call) for call in calls)
            text = "\n".join([*([entry.text] if entry.text else []), *blocks])
            return ModelSaid(text=text)
        case ToolAnswered():
            return PersonSaid(text=_answer(entry))
        case _:
            return entry


def _block(call: ToolCall) -> str:
    said = _json({"name": call.tool, "arguments": call.arguments})
    return f"<tool_call>\n{_defused(said)}\n</tool_call>"


def _answer(entry: ToolAnswered) -> str:
    """An answer that cannot end its own block, whatever the tool returned."""
    match entry.outcome:
        case Returned(text=text):
            said = text
        case Failed(text=text):
            said = f"error: {text}"
        case Refused(reason=reason):
            said = f"refused: {reason}"
        case Unknown(reason=reason):
            said = f"unknown: {reason}"
    if entry.note:
        said = f"{said}\n[house note: {entry.note}]"
    return f"<tool_response name={_defused(_json(entry.tool))}>\n{_defused(said)}\n</tool_response>"


def _defused(text: str) -> str:
    """Text that cannot end the block it stands in; in JSON it still means the same."""
    return text.replace("</tool_", "<\\/tool_")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
