"""What a page hears of a run: moments of a task, turned into the protocol's events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from holdfast.core import event as e
from holdfast.core.message import ModelSaid, words
from holdfast.core.task import JudgedCall, Status, Task
from holdfast.core.view import Question, questions
from holdfast.ports.model import Delta
from holdfast.runtime import lent
from holdfast.runtime.following import Moment, awaits

from .going import call_name
from .words import Run, own_state

Event = dict[str, Any]
_SIMPLE_YES = {
    "type": "object",
    "properties": {"approved": {"type": "boolean"}, "reason": {"type": "string"}},
    "required": ["approved"],
}
_WORDS = {
    "type": "object",
    "properties": {"text": {"type": "string"}},
    "required": ["text"],
}


class Telling:
    """One run on its way. Everything that is opened is closed before the run ends."""

    def __init__(self, run: Run, first: Moment) -> None:
        self._run = run
        self._task, self._status = first.task.id, first.task.status
        self._turn = 0
        self._text, self._open = "", ""
        self._thinks = ""
        self._messages: list[Event] = [dict(one) for one in run.messages]
        self._calls = {call for turn in _turns(first.task) for call in _ids(turn)}
        self._lent = {tool.name for tool in first.task.request.lent}
        state = own_state(run.state)
        self._state: Event = state if isinstance(state, dict) else {}

    def begin(self, task: Task) -> Iterator[Event]:
        yield self._of("RUN_STARTED")
        yield {"type": "STATE_SNAPSHOT", "snapshot": {**self._state, **_state(task)}}

    def of(self, moment: Moment) -> Iterator[Event]:
        """What a moment means; nothing for what does not show."""
        if moment.heard is not None:
            yield from self._heard(moment.heard)
            return
        match moment.event:
            case e.Replied(said=said, judged=judged):
                yield from self._replied(said, judged)
            case e.TopUpRequested(judged=judged) | e.ChecksDue(judged=judged):
                yield from self._proposed(judged, "")
            case e.CallSettled(call_id=call, outcome=outcome, sources=sources):
                if sources != (lent.SOURCE,):  # what the page said itself it has
                    yield from self._settled(call, words(outcome))
            case _:
                pass
        if moment.task.status is not self._status:
            self._status = moment.task.status
            yield from self._closed()
            change = {"op": "replace", "path": "/status", "value": str(self._status)}
            yield {"type": "STATE_DELTA", "delta": [change]}

    def end(self, task: Task) -> Iterator[Event]:
        """How the run ended, if it has: the task is over, or waits for a person."""
        if not (task.ended or awaits(task)):
            return
        yield from self._closed()
        if task.status in (Status.FAILED, Status.DEAD_LETTER):
            fault = task.fault
            message = fault.message if fault else "the task failed"
            yield {"type": "RUN_ERROR", "message": message, "code": fault.code if fault else ""}
            return
        outcome = _outcome(task)
        result = {"task": task.id, "answer": task.answer or ""}
        yield self._of("RUN_FINISHED") | {"outcome": outcome, "result": result}

    def _of(self, kind: str) -> Event:
        return {"type": kind, "threadId": self._run.thread_id, "runId": self._run.run_id}

    # A reply on its way.

    def _heard(self, heard: Delta) -> Iterator[Event]:
        if heard.reset:
            yield from self._void()
        if heard.thought:
            if not self._thinks:
                self._thinks = f"{self._task}.{self._turn}.thought.{len(self._messages)}"
                yield {"type": "REASONING_START", "messageId": self._thinks}
                yield {
                    "type": "REASONING_MESSAGE_START",
                    "messageId": self._thinks,
                    "role": "reasoning",
                }
            yield {
                "type": "REASONING_MESSAGE_CONTENT",
                "messageId": self._thinks,
                "delta": heard.thought,
            }
        if heard.text:
            yield from self._thought()
            yield from self._said(heard.text)

    def _said(self, text: str) -> Iterator[Event]:
        if not self._open:
            self._open = f"{self._task}.{self._turn}.{len(self._messages)}"
            yield {"type": "TEXT_MESSAGE_START", "messageId": self._open, "role": "assistant"}
        self._text += text
        yield {"type": "TEXT_MESSAGE_CONTENT", "messageId": self._open, "delta": text}

    def _void(self) -> Iterator[Event]:
        """What was heard of the reply is none of it: the page gets the messages as they stand."""
        was = self._open
        yield from self._closed(keep=False)
        if was:
            yield {"type": "MESSAGES_SNAPSHOT", "messages": list(self._messages)}

    def _replied(self, said: ModelSaid, judged: Sequence[JudgedCall]) -> Iterator[Event]:
        """What is on the disk counts: what was heard is completed, or taken back."""
        if not said.text.startswith(self._text):
            yield from self._void()
        if rest := said.text[len(self._text) :]:
            yield from self._thought()
            yield from self._said(rest)
        parent = self._open
        yield from self._closed()
        self._turn += 1
        yield from self._proposed(judged, parent)

    def _thought(self) -> Iterator[Event]:
        if self._thinks:
            yield {"type": "REASONING_MESSAGE_END", "messageId": self._thinks}
            yield {"type": "REASONING_END", "messageId": self._thinks}
            self._thinks = ""

    def _closed(self, *, keep: bool = True) -> Iterator[Event]:
        yield from self._thought()
        if self._open:
            yield {"type": "TEXT_MESSAGE_END", "messageId": self._open}
            if keep:
                message = {"id": self._open, "role": "assistant", "content": self._text}
                self._messages.append(message)
        self._open = self._text = ""

    # Calls.

    def _proposed(self, judged: Sequence[JudgedCall], parent: str) -> Iterator[Event]:
        for one in judged:
            call = one.call
            self._calls.add(call.id)
            name, tool = call_name(self._task, call.id), self._named(call.tool)
            begun: Event = {"type": "TOOL_CALL_START", "toolCallId": name, "toolCallName": tool}
            yield begun | ({"parentMessageId": parent} if parent else {})
            said = msgspec.json.encode(call.arguments).decode()
            yield {"type": "TOOL_CALL_ARGS", "toolCallId": name, "delta": said}
            yield {"type": "TOOL_CALL_END", "toolCallId": name}
            self._remember(parent, name, tool, said)

    def _named(self, tool: str) -> str:
        return lent.plain(tool) if tool in self._lent else tool

    def _remember(self, parent: str, call: str, tool: str, said: str) -> None:
        made = {"id": call, "type": "function", "function": {"name": tool, "arguments": said}}
        for message in self._messages:
            if parent and message.get("id") == parent:
                message.setdefault("toolCalls", []).append(made)
                return
        self._messages.append({"id": f"{call}.call", "role": "assistant", "toolCalls": [made]})

    def _settled(self, call: str, said: str) -> Iterator[Event]:
        if call not in self._calls:
            return
        name = call_name(self._task, call)
        message = f"{name}.result"
        self._messages.append({"id": message, "role": "tool", "toolCallId": name, "content": said})
        yield {
            "type": "TOOL_CALL_RESULT",
            "messageId": message,
            "toolCallId": name,
            "content": said,
            "role": "tool",
        }


def _outcome(task: Task) -> Event:
    """What a run leads to; a run that leaves only calls for the page is done."""
    if task.status is Status.CANCELED:
        return {"type": "cancelled"}
    if task.ended:
        return {"type": "success"}
    owed = lent.owed(task)
    asked = [interrupt(task, one) for one in questions(task) if one.call not in owed]
    if asked:
        return {"type": "interrupt", "interrupts": asked}
    return {"type": "success", "pendingToolCallIds": [call_name(task.id, one) for one in owed]}


def interrupt(task: Task, asked: Question) -> Event:
    """What a person is asked, so that exactly this can be answered."""
    found: Event = {
        "id": f"{task.id}/{asked.digest}/{asked.call}",
        "reason": "input_required" if asked.free_text else "approval_required",
        "message": asked.question,
        "toolCallId": call_name(task.id, asked.call),
        "responseSchema": _WORDS if asked.free_text else _SIMPLE_YES,
        "metadata": {"tool": asked.tool, "target": asked.target, "labels": list(asked.labels)},
    }
    if asked.until:
        found["metadata"]["until"] = asked.until
    return found


def _state(task: Task) -> Event:
    return {"task": task.id, "status": str(task.status), "agent": task.request.agent.name}


def _turns(task: Task) -> list[ModelSaid]:
    return [entry for entry in task.transcript if isinstance(entry, ModelSaid)]


def _ids(turn: ModelSaid) -> list[str]:
    return [call.id for call in turn.calls]
