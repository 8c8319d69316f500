"""A task's question as a form in a host, and the person's answer to it."""

from __future__ import annotations

import json

import mcp_types as types

from holdfast.core.message import ToolCall
from holdfast.core.task import TOP_UP
from holdfast.core.view import Question
from holdfast.doors.cli.out import plain

from .caller import Caller, Declined

_ONCE, _TASK, _NO = "Yes, this once", "Yes, for the whole task", "No"
_ROOM = 4_000


def form(task: str, question: Question, call: ToolCall | None) -> types.ElicitRequestFormParams:
    """What is asked, with the exact arguments of the call, as far as a person can take it in."""
    if question.free_text:
        answer = {"type": "string", "title": "Answer"}
        return _form(f"{question.question}\n\nTask {task}", {"answer": answer}, "answer")
    lines = [question.question, "", f"{question.tool} {question.target}".rstrip()]
    if call and call.tool != TOP_UP:
        told = json.dumps(dict(call.arguments), ensure_ascii=False, indent=1)
        more = f"\n({len(told) - _ROOM} more characters)" if len(told) > _ROOM else ""
        lines.append(told[:_ROOM] + more)
    if question.labels:
        lines.append(f"What led to it came from: {', '.join(question.labels)}")
    lines.append(f"Task {task}")
    decision = {"type": "string", "title": "Decision", "enum": [_ONCE, _TASK, _NO]}
    reason = {"type": "string", "title": "Reason, if no"}
    return _form("\n".join(lines), {"decision": decision, "reason": reason}, "decision")


def _form(message: str, properties: object, needed: str) -> types.ElicitRequestFormParams:
    schema = {"type": "object", "properties": properties, "required": [needed]}
    return types.ElicitRequestFormParams(message=plain(message), requested_schema=schema)


async def answered(caller: Caller, task: str, question: Question, said: types.ElicitResult) -> None:
    """Do as the person says. Who closes the form has said nothing: the question stays open."""
    content = said.content or {}
    if said.action != "accept":
        return
    target = f"/api/v1/tasks/{task}/calls/{question.call}"
    try:
        if question.free_text and (answer := str(content.get("answer") or "").strip()):
            await caller.ask("POST", f"/api/v1/tasks/{task}/say", {"text": answer})
        elif content.get("decision") in {_ONCE, _TASK}:
            whole = content["decision"] == _TASK
            body = {"digest": question.digest, "whole_task": whole}
            await caller.ask("POST", f"{target}/approve", body)
        elif content.get("decision") == _NO:
            await caller.ask(
                "POST", f"{target}/refuse", {"reason": str(content.get("reason") or "")}
            )
    except Declined:
        return  # somebody else answered first, or may not: the task's row tells
