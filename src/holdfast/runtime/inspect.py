"""Look into one task: transcript, bundle, whether its history is whole, whether it replays."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from holdfast.core.event import CallSettled, CallStarted, Event, Replied, encode
from holdfast.core.evolve import fold
from holdfast.core.ids import GENESIS, TaskId, link
from holdfast.core.message import (
    HouseSaid,
    ModelSaid,
    PersonSaid,
    ToolAnswered,
    words,
)
from holdfast.core.replay import replay as replayed
from holdfast.core.task import Task
from holdfast.core.view import encode as encode_summary
from holdfast.core.view import summary
from holdfast.ports.journal import Recorded

from .house import House

BUNDLE_VERSION = 1
_PRETTY = msgspec.json.Encoder(order="deterministic")


async def verify(house: House, task_id: TaskId) -> dict[str, Any]:
    """Recompute the chain of one task and refold it; `ok` is False with the `problems` named."""
    past = await house.journal.read(task_id)
    problems: list[str] = []
    head = GENESIS
    for recorded in past:
        kind = type(recorded.event).__name__
        head = link(head, kind, recorded.at, encode(recorded.event))
        if head != recorded.link:
            problems.append(f"the chain breaks at event {recorded.seq} ({kind})")
            break
    row = await house.journal.summary(task_id)
    if row is None or encode_summary(row) != encode_summary(summary(_task(past))):
        problems.append("the summary is not what the events say")
    return {"task": task_id, "ok": not problems, "events": len(past), "problems": problems}


async def replay(house: House, task_id: TaskId) -> dict[str, Any]:
    """Decide the task again from its recorded replies and results, and compare."""
    past = await house.journal.read(task_id)
    history = [(recorded.at, recorded.event) for recorded in past]
    task, differences = replayed(history, house.rules)
    return {
        "task": task_id,
        "same": not differences,
        "events": len(past),
        "status": task.status,
        "answer": task.answer,
        "differences": [msgspec.to_builtins(difference) for difference in differences],
    }


async def bundle(house: House, task_id: TaskId) -> Mapping[str, bytes]:
    """Everything about one task as files: request, transcript, calls, events, answer, facts."""
    past = await house.journal.read(task_id)
    task = _task(past)
    row = summary(task)
    meta = {
        "bundle_version": BUNDLE_VERSION,
        "holdfast": house.version,
        "task": task.id,
        "status": task.status,
        "submitted_at": task.submitted_at,
        "ended_at": task.updated_at if task.ended else None,
        "duration_ms": max(0, task.updated_at - task.submitted_at) if task.ended else None,
        "events": len(past),
        "chain": past[-1].link,
        "policy": task.policy,
        "agent_revision": task.request.agent.revision,
        "prompt_sha256": hashlib.sha256(task.request.prompt.encode()).hexdigest(),
        "models": sorted({r.event.model for r in past if isinstance(r.event, Replied)}),
        "spent": msgspec.to_builtins(task.spent),
        "fault": msgspec.to_builtins(row.fault),
        "tool_calls": len(_calls(past)),
    }
    files = {
        "input.json": _json(msgspec.to_builtins(task.request)),
        "prompt.md": task.request.prompt.encode(),
        "transcript.md": transcript(task).encode(),
        "toolcalls.jsonl": b"".join(_PRETTY.encode(call) + b"\n" for call in _calls(past)),
        "events.jsonl": b"".join(_line(recorded) for recorded in past),
        "output.md": (task.answer or "").encode(),
        "summary.json": _json(msgspec.to_builtins(row)),
        "meta.json": _json(meta),
    }
    # A secret may have become known only after it was said.
    return {name: house.secrets.redact(data.decode()).encode() for name, data in files.items()}


def transcript(task: Task) -> str:
    """The conversation of a task as Markdown."""
    parts = [f"# {task.id}\n"]
    for entry in task.transcript:
        match entry:
            case PersonSaid():
                parts.append(f"## {entry.by or 'person'}\n\n{entry.text}\n")
            case ModelSaid():
                calls = "".join(
                    f"\n- `{call.id}` {call.tool} `{msgspec.json.encode(call.arguments).decode()}`"
                    for call in entry.calls
                )
                parts.append(f"## model\n\n{entry.text}{calls}\n")
            case ToolAnswered():
                kind = type(entry.outcome).__name__.lower()
                note = f"\n\n> {entry.note}" if entry.note else ""
                body = f"```\n{words(entry.outcome)}\n```"
                parts.append(f"### {entry.call_id} {entry.tool}: {kind}\n\n{body}{note}\n")
            case HouseSaid():
                parts.append(f"## house\n\n{entry.text}\n")
    return "\n".join(parts)


def _task(past: Sequence[Recorded]) -> Task:
    return fold(recorded.event for recorded in past)


def _calls(past: Sequence[Recorded]) -> list[dict[str, Any]]:
    """Every proposed call with its verdict, when it ran, how long, and its outcome."""
    found: dict[str, dict[str, Any]] = {}
    for recorded in past:
        match recorded.event:
            case Replied(judged=judged):
                for one in judged:
                    found[one.call.id] = {
                        "id": one.call.id,
                        "tool": one.call.tool,
                        "arguments": one.call.arguments,
                        "verdict": msgspec.to_builtins(one.verdict),
                    }
            case CallStarted(call_id=call_id) if call_id in found:
                found[call_id]["started_at"] = recorded.at
            case CallSettled(call_id=call_id, outcome=outcome) if call_id in found:
                call = found[call_id]
                call["settled_at"] = recorded.at
                if "started_at" in call:
                    call["duration_ms"] = recorded.at - call["started_at"]
                call["outcome"] = msgspec.to_builtins(outcome)
            case _:
                pass
    return list(found.values())


def event_json(event: Event) -> dict[str, Any]:
    """An event as plain data with its kind."""
    return {"kind": type(event).__name__, "data": msgspec.to_builtins(event)}


def _line(recorded: Recorded) -> bytes:
    head = {"seq": recorded.seq, "at": recorded.at, "link": recorded.link}
    return _PRETTY.encode({**head, **event_json(recorded.event)}) + b"\n"


def _json(value: Any) -> bytes:
    return msgspec.json.format(_PRETTY.encode(value), indent=2) + b"\n"
