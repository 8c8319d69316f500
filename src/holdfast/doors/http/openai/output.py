"""The output of a response: its items as they come about, and the event of each step."""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.core.message import ToolCall, Usage

from .messages import SIGNED
from .stream import Among, Piece
from .wanted import Answer, Used

Said = dict[str, Any]
_LABEL = "holdfast"


class Output:
    """Hears an answer piece by piece. The same pieces make the same items, streamed or not."""

    def __init__(self, name: str) -> None:
        self._suffix = name.partition("_")[2]
        self.items: list[Said] = []
        self._open: Said | None = None
        self._used: dict[str, int] = {}

    def heard(self, piece: Piece) -> list[Said]:
        if isinstance(piece, Among):
            raise TypeError("a response is one answer")
        if isinstance(piece, Used):
            return [*self._closed(), *self._tool(piece)]
        events: list[Said] = []
        if piece.thought:
            events += self._more("reasoning", piece.thought)
        if piece.text:
            events += self._more("message", piece.text)
        return events

    def ended(self, answer: Answer) -> list[Said]:
        """Closes what is open and adds the calls that are the client's."""
        if self._open is not None and self._open["type"] == "message":
            self._open["content"][0]["logprobs"] = list(answer.odds)
        events = self._closed("incomplete" if answer.finish == "length" else "completed")
        for call in answer.calls:
            events += self._call(call)
        return events

    def _more(self, kind: str, text: str) -> list[Said]:
        events: list[Said] = []
        if self._open is not None and self._open["type"] != kind:
            events += self._closed()
        if self._open is None:
            if not (text := text.lstrip("\n")):
                return events
            events += self._opened(kind)
        item, at = self._open or {}, len(self.items) - 1
        place = {"item_id": item["id"], "output_index": at}
        if kind == "message":
            item["content"][0]["text"] += text
            event: Said = {"type": "response.output_text.delta", "content_index": 0}
            event["logprobs"] = []
        else:
            item["summary"][0]["text"] += text
            event = {"type": "response.reasoning_summary_text.delta", "summary_index": 0}
        return [*events, {**event, **place, "delta": text}]

    def _opened(self, kind: str) -> list[Said]:
        if kind == "message":
            item = self._item("msg", "message", role="assistant", status="in_progress", content=[])
            part: Said = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            event: Said = {"type": "response.content_part.added", "content_index": 0}
        else:
            item = self._item("rs", "reasoning", summary=[])
            part = {"type": "summary_text", "text": ""}
            event = {"type": "response.reasoning_summary_part.added", "summary_index": 0}
        added = self._added(item)
        item["content" if kind == "message" else "summary"] = [part]
        self._open = item
        place = {"item_id": item["id"], "output_index": len(self.items) - 1}
        return [added, {**event, **place, "part": dict(part)}]

    def _closed(self, status: str = "completed") -> list[Said]:
        item, self._open = self._open, None
        if item is None:
            return []
        place = {"item_id": item["id"], "output_index": self.items.index(item)}
        if item["type"] == "message":
            item["status"] = status
            (part,) = item["content"]
            at = {**place, "content_index": 0}
            done: Said = {"type": "response.output_text.done", **at, "logprobs": part["logprobs"]}
            end = {"type": "response.content_part.done", **at, "part": dict(part)}
        else:
            (part,) = item["summary"]
            at = {**place, "summary_index": 0}
            done = {"type": "response.reasoning_summary_text.done", **at}
            end = {"type": "response.reasoning_summary_part.done", **at, "part": dict(part)}
        return [{**done, "text": part["text"]}, end, self._done(item)]

    def _call(self, call: ToolCall) -> list[Said]:
        arguments = msgspec.json.encode(call.arguments).decode()
        item = self._item("fc", "function_call", call_id=call.id, name=call.tool, arguments="")
        item["status"] = "in_progress"
        if call.signature:
            item[SIGNED] = {"holdfast": {"signature": call.signature}}
        added = self._added(item)
        item |= {"arguments": arguments, "status": "completed"}
        at = {"item_id": item["id"], "output_index": len(self.items) - 1}
        kind = "response.function_call_arguments"
        return [
            added,
            {"type": f"{kind}.delta", **at, "delta": arguments},
            {"type": f"{kind}.done", **at, "name": call.tool, "arguments": arguments},
            self._done(item),
        ]

    def _tool(self, used: Used) -> list[Said]:
        """A tool that the house ran, as one of a server that OpenAI would have run it on."""
        if used.id not in self._used:
            return self._begun(used)
        at = self._used[used.id]
        item = self.items[at]
        good = used.state == "returned"
        item["status"] = "completed" if good else "failed"
        item["output" if good else "error"] = used.text
        kind = "response.mcp_call.completed" if good else "response.mcp_call.failed"
        return [{"type": kind, "item_id": item["id"], "output_index": at}, self._done(item)]

    def _begun(self, used: Used) -> list[Said]:
        arguments = msgspec.json.encode(used.arguments).decode()
        item = self._item("mcp", "mcp_call", server_label=_LABEL, name=used.tool, arguments="")
        item |= {"status": "in_progress", "output": None, "error": None}
        added = self._added(item)
        item["arguments"] = arguments
        at = {"item_id": item["id"], "output_index": len(self.items) - 1}
        self._used[used.id] = len(self.items) - 1
        done = {"type": "response.mcp_call_arguments.done", **at, "arguments": arguments}
        return [added, {"type": "response.mcp_call.in_progress", **at}, done]

    def _item(self, short: str, kind: str, **more: Any) -> Said:
        item = {"id": f"{short}_{self._suffix}_{len(self.items)}", "type": kind, **more}
        self.items.append(item)
        return item

    def _added(self, item: Said) -> Said:
        at = self.items.index(item)
        return {"type": "response.output_item.added", "output_index": at, "item": dict(item)}

    def _done(self, item: Said) -> Said:
        at = self.items.index(item)
        return {"type": "response.output_item.done", "output_index": at, "item": dict(item)}


def usage_of(usage: Usage) -> Said:
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write,
        },
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.tokens,
    }
