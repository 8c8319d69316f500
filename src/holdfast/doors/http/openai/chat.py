"""`/v1/chat/completions`: an answer as a chat completion, whole or in chunks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.types import ASGIApp

from holdfast.core.error import HoldfastError
from holdfast.core.message import ToolCall
from holdfast.doors.http.sse import attended

from . import messages
from .answering import ready
from .asked import Asked
from .errors import told
from .stream import Among, Flow, Piece, data
from .wanted import Answer, Used, Wanted

_FINISH = {"calls": "tool_calls", "length": "length"}
Said = dict[str, Any]


async def complete(asked: Asked) -> Said | ASGIApp:
    wanted = await messages.wanted(asked.body, asked.by, asked)
    wanted = asked.keyed(wanted)
    asked.check_agent(wanted.model)
    work = await ready(asked.house, wanted, asked.by)
    begun = asked.house.clock.now() // 1000
    name = asked.house.clock.new_id("chatcmpl").replace("_", "-")
    if wanted.stream:
        script = Chunks(name, begun, wanted, usage=messages.stream_usage(asked.body))
        return Flow(work, script, asked.door)
    answer = await attended(asked.request.receive, lambda: work(lambda _: None))
    return {"id": name, "object": "chat.completion", "created": begun, **_completion(answer)}


def _completion(answer: Answer) -> Said:
    answers = (answer, *answer.others)
    choices = [{"index": place, **_choice(one)} for place, one in enumerate(answers)]
    ours = {"holdfast": _ours(answer)} if answer.task else {}
    return {"model": answer.model, "choices": choices, "usage": _usage(answers), **ours}


def _choice(answer: Answer) -> Said:
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
    return {"message": message, "logprobs": _odds(answer), "finish_reason": _finish(answer)}


class Chunks:
    """Tells answers as chunks; with `usage` the last one says what they took."""

    def __init__(self, name: str, begun: int, wanted: Wanted, *, usage: bool) -> None:
        self._usage, self._count = usage, wanted.count
        self._base: Said = {"id": name, "object": "chat.completion.chunk", "created": begun}
        self._base |= {"model": wanted.model, **({"usage": None} if usage else {})}

    def opened(self) -> bytes:
        first = {"role": "assistant", "content": ""}
        return b"".join(self._chunk(place, first) for place in range(self._count))

    def heard(self, piece: Piece, place: int = 0) -> bytes:
        if isinstance(piece, Among):
            return self.heard(piece.piece, piece.place)
        if isinstance(piece, Used):
            return self._chunk(place, {}, holdfast={"tool": _tool(piece)})
        chunk = b""
        if piece.thought:
            chunk += self._chunk(place, {"reasoning_content": piece.thought})
        return chunk + self._chunk(place, {"content": piece.text}) if piece.text else chunk

    async def ended(self, answer: Answer) -> bytes:
        answers = (answer, *answer.others)
        said = b"".join(self._end(place, one) for place, one in enumerate(answers))
        if self._usage:
            said += data({**self._base, "choices": [], "usage": _usage(answers)})
        return said + b"data: [DONE]\n\n"

    def _end(self, place: int, answer: Answer) -> bytes:
        said = b"".join(
            self._chunk(place, {"tool_calls": [{"index": number, **_call(call)}]})
            for number, call in enumerate(answer.calls)
        )
        ours = {"holdfast": _ours(answer)} if answer.task else {}
        return said + self._chunk(place, {}, answer, **ours)

    def failed(self, error: HoldfastError) -> bytes:
        return data({"error": told(error)})

    def _chunk(self, place: int, delta: Said, end: Answer | None = None, **more: Any) -> bytes:
        """With the `end` of an answer its last chunk, which has the odds of all of it."""
        choice: Said = {"index": place, "delta": delta, "logprobs": None, "finish_reason": None}
        if end is not None:
            choice |= {"logprobs": _odds(end), "finish_reason": _finish(end)}
        return data({**self._base, "choices": [choice], **more})


def _odds(answer: Answer) -> Said | None:
    return {"content": list(answer.odds), "refusal": None} if answer.odds else None


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


def _usage(answers: Sequence[Answer]) -> Said:
    """What all of them took."""
    used = [answer.usage for answer in answers]
    prompt, completion = sum(one.input for one in used), sum(one.output for one in used)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": sum(one.cache_read for one in used)},
        "completion_tokens_details": {"reasoning_tokens": sum(one.reasoning for one in used)},
    }
