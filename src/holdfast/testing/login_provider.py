"""A provider that answers whoever has a live token of the issuer, in three protocols."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from .login_issuer import Answer, Issuer, said

TEXT = "Hello from a login."


def provider_answer(issuer: Issuer, method: str, path: str, headers: dict[str, str]) -> Answer:
    token = headers.get("authorization", "").removeprefix("Bearer ")
    if token not in issuer.live:
        message = f"Incorrect token provided: {token}"  # some do quote it
        return said(401, error={"message": message, "type": "authentication_error"})
    match method, path.removeprefix("/v1").removeprefix("/backend-api/codex"):
        case "GET", "/models":
            return said(200, object="list", data=[{"id": "m1"}, {"id": "m2"}])
        case "POST", "/chat/completions":
            return 200, "text/event-stream", _events(_chat(), named=False)
        case "POST", "/responses":
            return 200, "text/event-stream", _events(_responses(), named=True)
        case "POST", "/messages":
            return 200, "text/event-stream", _events(_messages(), named=True)
        case _:
            return said(404, error={"message": f"nothing is at {path}"})


def _events(parts: Iterable[dict[str, Any]], *, named: bool) -> bytes:
    lines = [
        (f"event: {part['type']}\n" if named else "") + f"data: {json.dumps(part)}\n\n"
        for part in parts
    ]
    return "".join([*lines, "" if named else "data: [DONE]\n\n"]).encode()


def _chat() -> Iterable[dict[str, Any]]:
    shape: dict[str, Any] = {"id": "c1", "created": 1, "model": "m1"}
    chunk = {**shape, "object": "chat.completion.chunk"}
    delta = {"role": "assistant", "content": TEXT}
    yield {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    yield {**chunk, "choices": [], "usage": usage}


def _responses() -> Iterable[dict[str, Any]]:
    part = {"type": "output_text", "text": "", "annotations": list[Any]()}
    item: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "content": []}
    whole = {**item, "status": "completed", "content": [{**part, "text": TEXT}]}
    response: dict[str, Any] = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "m1",
        "output": [],
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "status": "in_progress",
    }
    at: dict[str, Any] = {"output_index": 0, "item_id": "msg_1"}
    usage: dict[str, Any] = {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 12,
    }
    done = {**response, "status": "completed", "output": [whole], "usage": usage}
    steps: list[dict[str, Any]] = [
        {"type": "response.created", "response": response},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", **at, "content_index": 0, "part": part},
        {
            "type": "response.output_text.delta",
            **at,
            "content_index": 0,
            "delta": TEXT,
            "logprobs": [],
        },
        {"type": "response.output_item.done", "output_index": 0, "item": whole},
        {"type": "response.completed", "response": done},
    ]
    for number, step in enumerate(steps):
        yield {**step, "sequence_number": number}


def _messages() -> Iterable[dict[str, Any]]:
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m1",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 1},
    }
    yield {"type": "message_start", "message": message}
    yield {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "text", "text": ""},
    }
    delta = {"type": "text_delta", "text": TEXT}
    yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    yield {"type": "message_delta", "delta": end, "usage": {"output_tokens": 3}}
    yield {"type": "message_stop"}
