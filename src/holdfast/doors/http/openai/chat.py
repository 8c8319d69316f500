"""`/v1/chat/completions`: an answer as a chat completion, whole or in chunks."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.types import ASGIApp

from holdfast.core.error import HoldfastError
from holdfast.core.message import ToolCall, Usage
from holdfast.doors.http.sse import attended

from . import messages
from .answering import ready
from .asked import Asked
from .errors import told
from .stream import Flow, Piece, data
from .wanted import Answer, Used

_FINISH = {"calls": "tool_calls", "length": "length"}
Said = dict[str, Any]


async def complete(asked: Asked) -> Said | ASGIApp:
    wanted = await messages.wanted(asked.body, asked.by, asked.attach)
    wanted = asked.keyed(wanted)
    asked.check_agent(wanted.model)
    work = await ready(asked.house, wanted, asked.by)
    begun = asked.house.clock.now() // 1000
    name = asked.house.clock.new_id("chatcmpl").replace("_", "-")
    if wanted.stream:
        script = Chunks(name, begun, wanted.model, usage=messages.stream_usage(asked.body))
        return Flow(work, script, asked.door)
    answer = await attended(asked.request.receive, lambda: work(lambda _: None))
    return {"id": name, "object": "chat.completion", "created": begun, **_completion(answer)}


def _completion(answer: Answer) -> Said:
    message: Said = {
        "role": "assistant",
        "content": answer.text,
        "refusal": None,
        "annotations": [],
    }
    if answer.calls:
        message |= {"content": answer.text or None, "tool_calls": [*map(_call, answer.calls)]}
    if answer.thought:
        message["reasoning_content"] = answer.thought
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(answer)}
    ours = {"holdfast": _ours(answer)} if answer.task else {}
    return {"model": answer.model, "choices": [choice], "usage": _usage(answer.usage), **ours}


class Chunks:
    """Tells an answer as chunks; with `usage` the last one says what it took."""

    def __init__(self, name: str, begun: int, model: str, *, usage: bool) -> None:
        self._usage = usage
        self._base: Said = {"id": name, "object": "chat.completion.chunk", "created": begun}
        self._base |= {"model": model, **({"usage": None} if usage else {})}

    def opened(self) -> bytes:
        return self._chunk({"role": "assistant", "content": ""})

    def heard(self, piece: Piece) -> bytes:
        if isinstance(piece, Used):
            return self._chunk({}, holdfast={"tool": _tool(piece)})
        chunk = b""
        if piece.thought:
            chunk += self._chunk({"reasoning_content": piece.thought})
        return chunk + self._chunk({"content": piece.text}) if piece.text else chunk

    async def ended(self, answer: Answer) -> bytes:
        said = b"".join(
            self._chunk({"tool_calls": [{"index": place, **_call(call)}]})
            for place, call in enumerate(answer.calls)
        )
        ours = {"holdfast": _ours(answer)} if answer.task else {}
        said += self._chunk({}, _finish(answer), **ours)
        if self._usage:
            said += data({**self._base, "choices": [], "usage": _usage(answer.usage)})
        return said + b"data: [DONE]\n\n"

    def failed(self, error: HoldfastError) -> bytes:
        return data({"error": told(error)})

    def _chunk(self, delta: Said, finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return data({**self._base, "choices": [choice], **more})


def _finish(answer: Answer) -> str:
    return _FINISH.get(answer.finish, "stop")


def _call(call: ToolCall) -> Said:
    function = {"name": call.tool, "arguments": msgspec.json.encode(call.arguments).decode()}
    told: Said = {"id": call.id, "type": "function", "function": function}
    if call.signature:
        told[messages.SIGNED] = {"holdfast": {"signature": call.signature}}
    return told


def _ours(answer: Answer) -> Said:
    """What an agent did for its answer. No client runs it again."""
    return {"task": answer.task, "tools": [*map(_tool, answer.used)]}


def _tool(used: Used) -> Said:
    told: Said = {"id": used.id, "name": used.tool, "arguments": used.arguments}
    return {**told, "state": used.state, **({"output": used.text} if used.text else {})}


def _usage(usage: Usage) -> Said:
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
