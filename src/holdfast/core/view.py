"""What may be seen of a task, computed from its state: the summary row, and when it is next due."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from .budget import Spent
from .gate.policy import Ask
from .ids import CallId, Instant, SessionId, TaskId
from .message import Change
from .task import CallState, Fault, Human, OpenCall, Status, Task, Timer, bound

TITLE = 120
_URGENT = 10
_AGEING = 30_000
_ENCODER = msgspec.json.Encoder(order="deterministic")


class Question(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A call that waits for a person. `digest` must come back with the approval.

    `labels` say where what led to it came from.
    """

    call: CallId
    tool: str
    target: str
    question: str
    digest: str
    until: Instant = 0
    free_text: bool = False
    labels: tuple[str, ...] = ()


class Summary(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row about one task: all that lists, queues and inboxes need. Rebuilt by refolding.

    `rank` orders the queue, smallest first. `wake_at` is when time alone will move the task, or
    None; 0 means now. Times in milliseconds, `spent.cost` in micro-dollars.
    """

    id: TaskId
    status: Status
    title: str = ""
    agent: str = ""
    by: str = ""
    session: SessionId = SessionId("")
    parent: TaskId | None = None
    workspace: str = ""
    priority: int = 0
    key: str = ""
    submitted_at: Instant = 0
    updated_at: Instant = 0
    rank: int = 0
    wake_at: Instant | None = None
    attempt: int = 0
    fence: int = 0
    owner: str = ""
    spent: Spent = Spent()
    answer: str | None = None
    fault: Fault | None = None
    questions: tuple[Question, ...] = ()
    changes: tuple[Change, ...] = ()
    children: tuple[TaskId, ...] = ()


def summary(task: Task) -> Summary:
    """The summary of a task. The same events give the same bytes (see `encode`)."""
    request = task.request
    return Summary(
        id=task.id,
        status=task.status,
        title=_title(request.prompt),
        agent=request.agent.name,
        by=request.by,
        session=request.session,
        parent=request.parent.task if request.parent else None,
        workspace=request.workspace,
        priority=request.priority,
        key=request.key,
        submitted_at=task.submitted_at,
        updated_at=task.updated_at,
        rank=rank(request.priority, task.queued_at),
        wake_at=wake_at(task),
        attempt=task.attempt,
        fence=task.fence,
        owner=task.owner,
        spent=task.spent,
        answer=task.answer,
        fault=None if task.status is Status.SUCCEEDED else task.fault,
        questions=questions(task),
        changes=task.changes,
        children=task.children,
    )


def _title(prompt: str) -> str:
    """Its first words. A row is made at every event, so the rest of a long prompt is not split."""
    return " ".join(prompt.split(None, TITLE)[:TITLE])[:TITLE]


def encode(row: Summary) -> bytes:
    """The stored form of a summary: canonical JSON."""
    return _ENCODER.encode(row)


def rank(priority: int, queued_at: Instant) -> int:
    """Where a task stands in the queue, smallest first.

    One step of priority is worth 30 s of waiting, so that low priority waits longer but never
    for ever; priorities of 10 and above go before all others and are not overtaken by age.
    """
    if priority >= _URGENT:
        return queued_at - (10**15 + priority * 10**13)
    return queued_at - priority * _AGEING


def wake_at(task: Task) -> Instant | None:
    """When time alone will move this task: 0 for now, None for never."""
    if task.ended:
        if task.children:
            return 0
        return min((delivery.due for delivery in task.deliveries.values()), default=None)
    if task.status is Status.RETRY_WAIT:
        return task.retry_at
    return min((at for opened in task.calls.values() if (at := _due(opened))), default=None)


def _due(opened: OpenCall) -> Instant | None:
    match opened:
        case OpenCall(state=CallState.ASKED, verdict=Ask(until=until)):
            return until
        case OpenCall(state=CallState.WAITING, wait=Timer(until=until)):
            return until
        case _:
            return None


def questions(task: Task) -> tuple[Question, ...]:
    """What a person is asked, in order."""
    found: list[Question] = []
    for opened in task.calls.values():
        call = opened.call
        match opened:
            case OpenCall(state=CallState.ASKED, verdict=Ask(question=question, until=until)):
                free = False
            case OpenCall(state=CallState.WAITING, wait=Human(question=question)):
                until, free = 0, True
            case _:
                continue
        found.append(
            Question(
                call=call.id,
                tool=call.tool,
                target=call.target,
                question=question,
                digest=bound(task, opened),
                until=until,
                free_text=free,
                labels=call.labels,
            )
        )
    return tuple(found)
