"""What answers look like."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import asdict

from holdfast.core.event import encode
from holdfast.core.ids import CallId, Instant, SessionId, TaskId
from holdfast.core.message import Reply, Thought, Try, Usage
from holdfast.core.task import Status
from holdfast.core.view import Question, Summary
from holdfast.engine.live import Happened
from holdfast.ports.choosing import Card
from holdfast.ports.connections import Connection, Offer
from holdfast.ports.journal import Recorded
from holdfast.ports.model import ModelHealth
from holdfast.runtime.approvals import Why

_SHORT = 8


class TaskRow(Summary, frozen=True, kw_only=True, omit_defaults=True):
    """A task's summary; `short` is the end of its id and names it as well.

    `thinking` is what the model thought, where `show_thinking` says that people are to see it;
    `heard` is from where words came that could be behind the answer; `advice`, where it was asked
    for, what in these words reads like orders to a model, or like data on its way out. All only of
    one task.
    """

    cost_usd: float
    short: str
    thinking: str = ""
    heard: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()


class TaskPage(Struct, frozen=True, kw_only=True):
    """Tasks, newest first; `next` is the `before` of the next page. `counts` are over all tasks."""

    tasks: tuple[TaskRow, ...]
    next: TaskId | None
    counts: dict[Status, int]


class EventRow(Struct, frozen=True, kw_only=True):
    """One event; `kind` says what `data` holds."""

    seq: int
    at: Instant
    kind: str
    data: Raw


class EventPage(Struct, frozen=True, kw_only=True):
    """Events in order; `last` is the `after` of the next page."""

    events: tuple[EventRow, ...]
    last: int


class OpenQuestion(Question, frozen=True, kw_only=True):
    """A question with its task; the `rule` that asks, and one that would allow it (`suggested`).

    `nobodys`: the values in it that no person has said; a yes with `vouch` takes them over.
    `advice`: what in the words of strangers that its task has heard reads like orders.
    `for_whom` says who may answer; empty: whoever may answer at all.
    """

    task: TaskId
    title: str
    session: SessionId
    workspace: str
    by: str
    rule: str
    suggested: str
    nobodys: tuple[str, ...]
    advice: tuple[str, ...]
    for_whom: tuple[str, ...] = ()


class Approvals(Struct, frozen=True, kw_only=True):
    """Everything that waits for a person."""

    approvals: tuple[OpenQuestion, ...]


class Verified(Struct, frozen=True, kw_only=True):
    """Whether the chain of a task is whole and its summary is what the events say."""

    task: TaskId
    ok: bool
    events: int
    problems: tuple[str, ...]


class Replayed(Struct, frozen=True, kw_only=True):
    """Whether deciding again from what was recorded gives the same events."""

    task: TaskId
    same: bool
    events: int
    status: Status
    answer: str | None
    differences: tuple[dict[str, Any], ...]


class Session(Struct, frozen=True, kw_only=True):
    """A conversation."""

    id: SessionId
    tasks: int
    tokens: int
    cost_usd: float
    title: str
    started_at: Instant
    last_at: Instant


class Sessions(Struct, frozen=True, kw_only=True):
    """Conversations, newest first."""

    sessions: tuple[Session, ...]


class Exchange(Struct, frozen=True, kw_only=True):
    """One question and its answer."""

    task: TaskId
    status: Status
    at: Instant
    prompt: str
    answer: str | None


class Exchanges(Struct, frozen=True, kw_only=True):
    """What was said in one session, oldest first."""

    session: str
    exchanges: tuple[Exchange, ...]


class StatusPage(Struct, frozen=True, kw_only=True):
    """How the daemon is. Sizes in bytes; `statements` the database has run, None if not counted.

    `config_problem` says why a changed configuration was not taken; the last good one stays.
    `servers` are servers of tools that are not used until somebody looks at them.
    """

    version: str
    home: str
    pid: int
    listening: tuple[str, ...]
    started_at: Instant
    uptime_seconds: float
    counts: dict[Status, int]
    running: int
    lanes: int
    model: str
    policy: str
    config: str
    config_problem: str
    statements: int | None
    database_bytes: int
    rss_bytes: int
    servers: tuple[str, ...] = ()


class ModelList(Struct, frozen=True, kw_only=True):
    """The models there are, what each role has, and the one that tasks get that name none."""

    default: str
    models: tuple[str, ...]
    roles: dict[str, str]
    cards: tuple[Card, ...]


class ModelHealthList(Struct, frozen=True, kw_only=True):
    """How each model is that has been asked, by name."""

    models: tuple[ModelHealth, ...]


class ConnectionList(Struct, frozen=True, kw_only=True):
    """What is connected, the preferred first, and what could be."""

    connections: tuple[Connection, ...]
    offers: tuple[Offer, ...]


class LoginState(Struct, frozen=True, kw_only=True):
    """The connection that the login made; null while the person has not finished it."""

    connection: Connection | None


class ProposedCall(Struct, frozen=True, kw_only=True):
    """A tool call that the model wants; `problem` says why it cannot be run as it is."""

    id: CallId
    tool: str
    arguments: dict[str, Any]
    problem: str
    signature: str


class Answered(Struct, frozen=True, kw_only=True):
    """A model's whole reply. `finish` is stop, calls or length; `tried` led to it, in order.

    `cost_usd` is None where no price is known. `problem`: why the answer has not the wanted shape.
    """

    text: str
    thoughts: tuple[Thought, ...]
    calls: tuple[ProposedCall, ...]
    usage: Usage
    cost_usd: float | None
    model: str
    finish: str
    tried: tuple[Try, ...]
    problem: str


class Vectors(Struct, frozen=True, kw_only=True):
    """A vector for each text, in their order. `cost_usd` is None where no price is known."""

    model: str
    vectors: tuple[tuple[float, ...], ...]
    usage: Usage
    cost_usd: float | None


class BackupDone(Struct, frozen=True, kw_only=True):
    """Where the copy is."""

    path: str
    bytes: int


class Purged(Struct, frozen=True, kw_only=True):
    """How many tasks were made unreadable."""

    purged: int


class Stopping(Struct, frozen=True, kw_only=True):
    """The daemon stops once this is sent."""

    stopping: bool


class Healthy(Struct, frozen=True, kw_only=True):
    """It answers."""

    ok: bool
    version: str


class Problem(Struct, frozen=True, kw_only=True):
    """Every answer with a status of 400 or more, as RFC 9457 has them: `code` is stable, `detail`
    says what and where, `hint` what to do.

    Where a model was asked, `tried` says which ones and what came of each.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str
    tried: tuple[Try, ...] | UnsetType = UNSET


def answered(reply: Reply) -> Answered:
    return Answered(
        text=reply.text,
        thoughts=reply.thoughts,
        calls=tuple(
            ProposedCall(
                id=call.id,
                tool=call.tool,
                arguments=call.arguments,
                problem=call.problem,
                signature=call.signature,
            )
            for call in reply.calls
        ),
        usage=reply.usage,
        cost_usd=None if reply.usage.cost is None else reply.usage.cost / 1e6,
        model=reply.model,
        finish=reply.finish,
        tried=reply.tried,
        problem=reply.problem,
    )


def task_row(row: Summary, thinking: str = "", heard: tuple[str, ...] = ()) -> TaskRow:
    cost, short = row.spent.cost / 1e6, row.id[-_SHORT:]
    return TaskRow(**asdict(row), cost_usd=cost, short=short, thinking=thinking, heard=heard)


def event_row(item: Recorded | Happened) -> EventRow:
    event = item.event
    return EventRow(seq=item.seq, at=item.at, kind=type(event).__name__, data=Raw(encode(event)))


def open_question(row: Summary, question: Question, why: Why) -> OpenQuestion:
    return OpenQuestion(
        **asdict(question),
        task=row.id,
        title=row.title,
        session=row.session,
        workspace=row.workspace,
        by=row.by,
        rule=why.rule,
        suggested=why.suggested,
        nobodys=why.nobodys,
        advice=why.advice,
        for_whom=why.for_whom,
    )
