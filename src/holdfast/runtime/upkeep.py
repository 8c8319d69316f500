"""Keep the installation in order: back up, purge, forget; and what was said in sessions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio

from holdfast.core.error import Invalid, NotFound, Refused
from holdfast.core.ids import SessionId, TaskId
from holdfast.core.task import ENDED
from holdfast.ports.journal import Query

from . import bridging, uploads
from .house import House

DAY = 86_400_000
_PAGE = 500
_BATCH = 64


async def backup(house: House, to: Path) -> dict[str, Any]:
    """A consistent copy of the journal, and of what else a restored home needs, in the new file
    `to`, while everything goes on."""
    if not to.is_absolute():
        raise Invalid(f"the backup path {to} is not absolute", code="bad_path")
    if await anyio.Path(to).exists():
        raise Refused(f"{to} exists: a backup never overwrites", code="exists")
    if not await anyio.Path(to.parent).is_dir():
        raise Invalid(f"the folder {to.parent} does not exist", code="bad_path")
    await house.journal.backup(to)
    size = (await anyio.Path(to).stat()).st_size
    return {"path": str(to), "bytes": size}


async def purge(
    house: House, *, tasks: Sequence[TaskId] = (), session: str = "", by: str, reason: str
) -> int:
    """Overwrite what tasks, or all tasks of a session, said. Only ended tasks; irrevocable."""
    wanted = list(tasks)
    if session:
        said = await _of_session(house, SessionId(session))
        if not said:
            raise NotFound(f"there is no session {session}", code="session_not_found")
        wanted += said
    known: list[TaskId] = []
    for task_id in wanted:
        row = await house.journal.summary(task_id)
        if row is None:
            continue
        if row.status not in ENDED:
            raise Refused(f"{task_id} is {row.status}: cancel it first", code="not_ended")
        known.append(task_id)
    gone = await house.journal.purge(wanted, by=by, reason=reason, at=house.clock.now())
    await house.responses.purge(tuple(known))
    house.recorder.drop(wanted)
    for task_id in known:
        for push in house.pushes.all(task_id):
            await house.pushes.drop(task_id, push.id)
        await house.undoing.forget(task_id)
    return gone


async def forget(house: House, days: int) -> int:
    """Delete tasks that ended more than `days` days ago, visits, kept answers and files of clients.

    0 keeps all but the answers, which are never kept for long, and files that have expired.
    """
    before = house.clock.now() - days * DAY if days else 0
    await house.responses.tidy(before)
    await uploads.tidy(house, before)
    if not days:
        return 0
    await house.visits.forget(before)
    gone = await house.journal.forget(before)
    await _forget_undos(house)
    await bridging.forget(house, before)
    return gone


async def _forget_undos(house: House) -> None:
    """What is written down about tasks that are no more."""
    for task_id in await house.undoing.tasks():
        if await house.journal.summary(task_id) is None:
            await house.undoing.forget(task_id)


async def shrink(house: House, limit: int) -> int:
    """Delete the oldest ended tasks until the journal holds at most `limit` bytes; how many."""
    gone = 0
    while await house.journal.used() > limit:
        oldest = await house.journal.oldest(_BATCH)
        if not oldest:
            break
        gone += await house.journal.forget(oldest[-1].updated_at + 1)
    if gone:
        await _forget_undos(house)
    return gone


async def collect(house: House) -> tuple[int, int]:
    """Delete the blobs of which nobody speaks any more; how many, and their bytes.

    What was put or asked for within a day stays, whoever speaks of it: whoever wants to may still
    be about to. Cut off at any moment, it has deleted nothing that anybody speaks of.
    """
    # From here on whatever is put or renewed stays, however long the rest of this takes.
    before = house.clock.now() - DAY
    names = await house.blobs.stale(before)
    for place in house.mentions:
        if not names:
            return 0, 0
        names = await place.unmentioned(names)
    return await house.blobs.drop(names, before)


async def sessions(house: House) -> list[dict[str, Any]]:
    """All sessions of the last tasks, newest first: how many tasks, what they spent."""
    found: dict[str, dict[str, Any]] = {}
    for row in await house.journal.query(Query(limit=_PAGE)):
        if not row.session:
            continue
        fresh = {"id": row.session, "tasks": 0, "tokens": 0, "cost_usd": 0.0, "title": row.title}
        one = found.setdefault(row.session, {**fresh, "last_at": row.updated_at})
        one["tasks"] += 1
        one["tokens"] += row.spent.tokens
        one["cost_usd"] += row.spent.cost / 1e6
        one["title"] = row.title
        one["started_at"] = row.submitted_at
    return list(found.values())


async def exchanges(house: House, session: str) -> list[dict[str, Any]]:
    """What was said in one session, oldest first."""
    rows = await house.journal.query(Query(session=SessionId(session), limit=_PAGE))
    said: list[dict[str, Any]] = []
    for row in reversed(rows):
        try:
            prompt = (await house.recorder.load(row.id)).request.prompt
        except Refused:
            prompt = "[purged]"
        said.append(
            {
                "task": row.id,
                "status": row.status,
                "at": row.submitted_at,
                "prompt": prompt,
                "answer": row.answer,
            }
        )
    return said


async def _of_session(house: House, session: SessionId) -> list[TaskId]:
    found: list[TaskId] = []
    before: TaskId | None = None
    while rows := await house.journal.query(Query(session=session, limit=_PAGE, before=before)):
        found += [row.id for row in rows]
        before = rows[-1].id
    return found
