"""What happens, for those who watch more than one task: sessions in order, and all questions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.error import Refused
from holdfast.core.event import CallApproved, CallSettled, Retried, Submitted
from holdfast.core.ids import SessionId, TaskId
from holdfast.core.message import Refused as RefusedCall
from holdfast.core.message import Returned
from holdfast.core.view import Question, Summary
from holdfast.engine.live import ALL, Happened
from holdfast.ports.journal import Query
from holdfast.ports.mcp import ServerState
from holdfast.ports.model import Delta

from . import tasks
from .house import House

_PAGE = 500


class Seen(Struct, frozen=True, kw_only=True):
    """Something that happened in one of several tasks."""

    task: TaskId
    item: Happened | Delta


class Open(Struct, frozen=True, kw_only=True):
    """A question of a task; `outcome` when it is none any more, and `by` whom, if by somebody.

    approved, refused and answered (in words) are what people do; it has expired when nobody did,
    and was withdrawn where its task ended or went on without.
    """

    row: Summary
    question: Question
    outcome: Literal["", "approved", "refused", "answered", "expired", "withdrawn"] = ""
    by: str = ""


class Server(Struct, frozen=True, kw_only=True):
    """How a server of tools is, and which of its tools agents have now."""

    name: str
    state: Literal["trusted", "untrusted", "quarantined", "removed"]
    tools: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    problem: str = ""
    changes: tuple[str, ...] = ()


class Ruling(Struct, frozen=True, kw_only=True):
    """Which configuration and policy are in force; `problem`: why what is in the file is not."""

    config: str
    policy: str
    problem: str = ""


async def of_session(
    house: House, session: SessionId, task: TaskId, after: int
) -> AsyncGenerator[Seen]:
    """Everything in a session behind event `after` of `task`, then what happens, without end.

    `task` empty is from the beginning.

    Tasks of a session run one after the other and are told in that order. What a task does that is
    tried again after a later one has begun is told to those who watch that task.
    """
    with house.live.watching(ALL) as bell:
        while True:
            for row in await _from(house, session, task):
                async for item in tasks.watch(house, row.id, after=after if row.id == task else 0):
                    if isinstance(item, Happened) and row.id == task:
                        after = item.seq
                    elif isinstance(item, Happened):
                        task, after = row.id, item.seq
                    yield Seen(task=row.id, item=item)
            heard = False
            while not heard and not bell.gap:
                heard = any(_begins(item, session) for item in await bell.take())
            bell.gap = False


async def of_questions(house: House) -> AsyncGenerator[Open]:
    """What waits for a person now; then each question that comes, and each that was answered."""
    known: dict[tuple[TaskId, str], Open] = {}
    with house.live.watching(ALL) as bell:
        while True:
            rows = await house.journal.query(Query(asked=True, limit=_PAGE))
            there = {(row.id, one.digest): Open(row=row, question=one) for row, one in _each(rows)}
            for key in [key for key in known if key not in there]:
                gone = known.pop(key)
                yield await _closed(house, gone)
            for key, found in there.items():
                if key not in known:
                    known[key] = found
                    yield found
            await bell.take()
            bell.gap = False


async def of_servers(house: House) -> AsyncGenerator[Server]:
    """How each server of tools is; then each that is another, or has other tools."""
    known: dict[str, Server] = {}
    while True:
        rung = house.in_force.bell.next()
        there = {one.name: _server(house, one) for one in house.servers.all()}
        gone = [Server(name=name, state="removed") for name in known if name not in there]
        gone = [replace(one, agents=known[one.name].agents) for one in gone]
        changed = [one for name, one in there.items() if known.get(name) != one]
        known = there
        for one in (*gone, *changed):
            yield one
        await rung.wait()


async def of_ruling(house: House) -> AsyncGenerator[Ruling]:
    """What is in force; then what is each time that it is another."""
    known: Ruling | None = None
    while True:
        rung, force = house.in_force.bell.next(), house.in_force
        now = Ruling(config=force.config, policy=house.rules.version, problem=force.problem)
        if now != known:
            known = now
            yield now
        await rung.wait()


def _server(house: House, state: ServerState) -> Server:
    """As it is for agents: running or not is its own affair."""
    trusted = state.state == "trusted"
    rows = house.servers.tools(state.name) if trusted else ()
    return Server(
        name=state.name,
        state=state.state,
        tools=tuple(one.tool for one in rows if one.offered),
        agents=state.agents,
        problem=state.problem,
        changes=state.changes,
    )


async def _closed(house: House, gone: Open) -> Open:
    """What became of a question, by the task's own events."""
    row = await house.journal.summary(gone.row.id) or gone.row
    closed = replace(gone, row=row, outcome="withdrawn")
    try:
        events = [one.event for one in await house.journal.read(row.id)]
    except Refused:  # purged
        return closed
    for event in reversed(events):
        match event:
            case CallApproved(call_id=gone.question.call, by=by):
                return replace(closed, outcome="approved", by=by)
            case CallSettled(call_id=gone.question.call, outcome=Returned(), by=by):
                return replace(closed, outcome="answered", by=by)
            case CallSettled(call_id=gone.question.call, outcome=RefusedCall(rule=rule), by=by):
                if rule == "approval expired":
                    return replace(closed, outcome="expired")
                return replace(closed, outcome="refused" if by else "withdrawn", by=by)
            case _:
                pass
    return closed


async def _from(house: House, session: SessionId, task: TaskId) -> Sequence[Summary]:
    """The tasks of a session from `task` on, in the order of their coming."""
    found: list[Summary] = []
    before: TaskId | None = None
    while rows := await house.journal.query(Query(session=session, limit=_PAGE, before=before)):
        found += [row for row in rows if row.id >= task]
        before = rows[-1].id
        if before < task:
            break
    return found[::-1]


def _begins(item: Happened | Delta, session: SessionId) -> bool:
    match item:
        case Happened(event=Submitted(request=request)):
            return request.session == session
        case Happened(event=Retried()):
            return True
        case _:
            return False


def _each(rows: Sequence[Summary]) -> list[tuple[Summary, Question]]:
    return [(row, question) for row in rows for question in row.questions]
