"""What happens, for those who watch more than one task: sessions in order, and all questions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from msgspec import Struct

from holdfast.core.event import Retried, Submitted
from holdfast.core.ids import SessionId, TaskId
from holdfast.core.view import Question, Summary
from holdfast.engine.live import ALL, Happened
from holdfast.ports.journal import Query
from holdfast.ports.model import Delta

from . import tasks
from .house import House

_PAGE = 500


class Seen(Struct, frozen=True, kw_only=True):
    """Something that happened in one of several tasks."""

    task: TaskId
    item: Happened | Delta


class Open(Struct, frozen=True, kw_only=True):
    """A question of a task; `answered` when it is none any more."""

    row: Summary
    question: Question
    answered: bool = False


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
                row = await house.journal.summary(gone.row.id) or gone.row
                yield Open(row=row, question=gone.question, answered=True)
            for key, found in there.items():
                if key not in known:
                    known[key] = found
                    yield found
            await bell.take()
            bell.gap = False


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
