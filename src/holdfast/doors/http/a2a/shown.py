"""Our task in the protocol's words: its state, what it has made, and what was said."""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import UNSET, UnsetType

from holdfast.core import task as t
from holdfast.core.error import HoldfastError
from holdfast.core.foreign import NotJson, decoded
from holdfast.core.gate.hearing import hearing
from holdfast.core.ids import Instant
from holdfast.core.message import (
    Entry,
    File,
    ModelSaid,
    PersonSaid,
    Returned,
    ToolAnswered,
    ToolCall,
)
from holdfast.core.task import Status
from holdfast.core.view import Question, Summary, questions
from holdfast.runtime.house import House
from holdfast.runtime.produced import produced

from .words import Artifact, Message, Part, State, Task, TaskStatus

ANSWER, FILES = "answer", "files"
_LARGEST = 1 << 20
_KEY = "a2a:"
_ASKING = "ask_person"
"""The tool with which the model speaks to whoever gave the task: what it asks was said to them."""
_ENDS = {
    Status.SUCCEEDED: State.COMPLETED,
    Status.FAILED: State.FAILED,
    Status.DEAD_LETTER: State.FAILED,
    Status.CANCELED: State.CANCELED,
}


def key_of(message_id: str, nonce: str) -> str:
    """The key of a task that a message began. It tells the message's id for ever; without a
    `nonce` the same message does not begin another."""
    return f"{_KEY}{nonce}:{message_id}"


def message_of(key: str) -> str:
    """The id of the message that began a task; empty if it was none."""
    return key.removeprefix(_KEY).partition(":")[2] if key.startswith(_KEY) else ""


def state_of(status: Status, asked: Sequence[Question], *, begun: bool) -> State:
    """What waits for words wants input; what waits for a yes wants somebody who may give it."""
    if end := _ENDS.get(status):
        return end
    if status is Status.WAITING and asked:
        free = any(question.free_text for question in asked)
        return State.INPUT_REQUIRED if free else State.AUTH_REQUIRED
    return State.WORKING if begun else State.SUBMITTED


def state(task: t.Task) -> State:
    return state_of(task.status, questions(task), begun=task.attempt > 0)


def status(task: t.Task, at: Instant) -> TaskStatus:
    now = state(task)
    return TaskStatus(state=now, message=_remark(task, now), timestamp=moment(at))


def moment(at: Instant) -> str:
    told = datetime.fromtimestamp(at / 1000, tz=UTC)
    return f"{told:%Y-%m-%dT%H:%M:%S}.{at % 1000:03d}Z"


async def shown(house: House, task: t.Task, *, history: int | None = None) -> Task:
    """The whole task; of its history the last `history` messages (None: all)."""
    said = await _history(house, task, history) if history != 0 else ()
    return Task(
        id=task.id,
        context_id=context(task.id, task.request.session),
        status=status(task, task.updated_at),
        artifacts=await artifacts(task),
        history=said,
        metadata=_metadata(task),
    )


def listed(row: Summary, whole: Task | None) -> Task:
    """A task in a list: from its row, or with what was read of it besides."""
    if whole is not None:
        return whole
    now = state_of(row.status, row.questions, begun=row.attempt > 0)
    told = TaskStatus(state=now, timestamp=moment(row.updated_at))
    return Task(id=row.id, context_id=context(row.id, row.session), status=told)


def context(task: str, session: str) -> str:
    """A task that belongs to no conversation is one by itself."""
    return session or task


async def artifacts(task: t.Task) -> tuple[Artifact, ...]:
    """The answer, and the files that it has made, once it has succeeded."""
    if task.status is not Status.SUCCEEDED or task.answer is None:
        return ()
    answer = Artifact(artifact_id=ANSWER, name="answer", parts=(answer_part(task.answer),))
    files = [_file_part(one.path, one.data) for one in await produced(task, _LARGEST)]
    if not files:
        return (answer,)
    return answer, Artifact(artifact_id=FILES, name="files", parts=tuple(files))


def answer_part(text: str) -> Part:
    """Values where the answer is nothing but an object or a list in JSON, else text."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            found = decoded(text)
        except NotJson:
            return Part(text=text)
        return Part(data=found, media_type="application/json")
    return Part(text=text)


def _file_part(path: str, data: bytes | None) -> Part:
    name = path.rpartition("/")[2]
    where: dict[str, Any] | UnsetType = {"path": path} if name != path else UNSET
    if data is None:
        text = f"[{path}: too large to be handed over, or gone]"
        return Part(text=text, filename=name, metadata=where)
    media_type = mimetypes.guess_type(path, strict=True)[0] or "application/octet-stream"
    return Part(raw=data, filename=name, media_type=media_type, metadata=where)


def _remark(task: t.Task, now: State) -> Message | UnsetType:
    """What is to be said with a state: the questions, or why it failed."""
    if now in (State.INPUT_REQUIRED, State.AUTH_REQUIRED):
        asked = questions(task)
        texts = tuple(Part(text=question.question) for question in asked)
        values = Part(data={"questions": [_question(one) for one in asked]})
        return _said(task, "question", (*texts, values))
    if now is State.FAILED and task.fault is not None:
        return _said(task, "fault", (Part(text=task.fault.message),))
    return UNSET


def _question(one: Question) -> dict[str, Any]:
    told: dict[str, Any] = {"call": one.call, "tool": one.tool, "freeText": one.free_text}
    if not one.free_text:
        told |= {"target": one.target, "digest": one.digest, "labels": list(one.labels)}
    return told | ({"until": moment(one.until)} if one.until else {})


def _said(task: t.Task, about: str, parts: tuple[Part, ...]) -> Message:
    return Message(
        message_id=f"{task.id}.{about}.{len(task.transcript)}",
        context_id=context(task.id, task.request.session),
        task_id=task.id,
        role="ROLE_AGENT",
        parts=parts,
    )


def _metadata(task: t.Task) -> dict[str, Any] | UnsetType:
    """From where outside something may be behind what it says: whoever reads it should know."""
    sources = sorted(hearing(task).influences)
    return {"holdfast": {"sources": sources}} if sources else UNSET


async def _history(house: House, task: t.Task, most: int | None) -> tuple[Message, ...]:
    """What people and the model said to each other; what tools did stays here."""
    found: list[Message] = []
    context_id = context(task.id, task.request.session)
    for place, entry in enumerate(task.transcript):
        parts = await _parts(house, entry)
        if not parts:
            continue
        first = message_of(task.request.key) if place == 0 else ""
        found.append(
            Message(
                message_id=first or f"{task.id}.{place}",
                context_id=context_id,
                task_id=task.id,
                role="ROLE_AGENT" if isinstance(entry, ModelSaid) else "ROLE_USER",
                parts=parts,
            )
        )
    return tuple(found if most is None else found[-most:])


async def _parts(house: House, entry: Entry) -> tuple[Part, ...]:
    """What was said; a question in words, and its answer, are said like anything else."""
    match entry:
        case PersonSaid(text=text, files=files):
            return (Part(text=text), *[await _shown_file(house, one) for one in files])
        case ModelSaid(text=text, calls=calls):
            texts = (text, *(_question_in(call) for call in calls if call.tool == _ASKING))
            return tuple(Part(text=one) for one in texts if one.strip())
        case ToolAnswered(tool=tool, outcome=Returned(text=text)) if tool == _ASKING:
            return (Part(text=text),)
        case _:
            return ()


def _question_in(call: ToolCall) -> str:
    asked = call.arguments.get("question")
    return asked if isinstance(asked, str) else ""


async def _shown_file(house: House, file: File) -> Part:
    if file.size > _LARGEST:
        return Part(text=f"[{file.name}: {file.size:,} bytes]", filename=file.name)
    try:
        data = await house.blobs.get(file.digest)
    except HoldfastError:
        return Part(text=f"[{file.name}: not there any more]", filename=file.name)
    return Part(raw=data, filename=file.name, media_type=file.media_type)
