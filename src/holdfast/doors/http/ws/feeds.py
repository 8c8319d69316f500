"""Subscriptions: what happened since a cursor, and what happens, as notifications."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from fnmatch import fnmatchcase
from typing import Any

import anyio
from msgspec import Struct
from msgspec.structs import asdict

from holdfast.core.error import Refused
from holdfast.core.ids import SessionId, TaskId
from holdfast.doors.http.answers import event_row, open_question
from holdfast.doors.http.route import Door
from holdfast.engine.live import Happened
from holdfast.ports.journal import Query
from holdfast.ports.model import Delta
from holdfast.runtime import approvals, feed, tasks
from holdfast.runtime.conversing import agents
from holdfast.runtime.feed import Open, Ruling, Seen, Server

from .asking import DENIED, PARAMS, Fault
from .post import Post

_MOST = 64


class Wanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be heard of: a task, or a session. `after` is the last cursor that was seen."""

    task: str = ""
    session: str = ""
    after: str = ""
    deltas: bool = False


class Feeds:
    """The subscriptions of one socket."""

    def __init__(self, door: Door, post: Post) -> None:
        self._door, self._house, self._post = door, door.house, post
        self._scopes: dict[str, anyio.CancelScope] = {}
        self._count = 0

    def begin(self) -> tuple[str, anyio.CancelScope]:
        """A number for one more, and what ends it. Raises `Fault`."""
        if len(self._scopes) >= _MOST:
            raise Fault(DENIED, f"a socket has at most {_MOST} subscriptions", code="too_many")
        self._count += 1
        name, scope = f"s{self._count}", anyio.CancelScope()
        self._scopes[name] = scope
        return name, scope

    def end(self, name: str) -> bool:
        scope = self._scopes.pop(name, None)
        if scope is not None:
            scope.cancel()
        return scope is not None

    async def events(self, wanted: Wanted) -> AsyncGenerator[Seen]:
        """Raises `Fault` where the cursor leads to what is there no more."""
        task, after = await self._place(wanted)
        if wanted.session:
            return feed.of_session(self._house, SessionId(wanted.session), task, after)
        return self._of_task(task, after)

    async def tell(self, name: str, seen: Seen, *, deltas: bool) -> None:
        """One notification of a subscription."""
        if isinstance(seen.item, Happened):
            row = event_row(seen.item)
            cursor = f"{seen.task}:{row.seq}"
            told = {**asdict(row), "subscription": name, "task": seen.task, "cursor": cursor}
            await self._post.notify("event", **told)
        elif deltas:
            await self._post.notify("delta", subscription=name, task=seen.task, **_piece(seen.item))

    async def ask(self, name: str, one: Open) -> None:
        """One notification about a question."""
        why = await approvals.why(self._house, one.row.id, one.question.call)
        told: dict[str, Any] = {"approval": open_question(one.row, one.question, why)}
        if one.outcome:
            told |= {"outcome": one.outcome, "by": one.by}
        method = "approval.updated" if one.outcome else "approval.required"
        await self._post.notify(method, subscription=name, **told)

    async def news(self, name: str, one: Server | Ruling) -> None:
        """One notification about the house itself."""
        method = "tools.updated" if isinstance(one, Server) else "config.updated"
        await self._post.notify(method, subscription=name, **asdict(one))

    def servers(self) -> AsyncGenerator[Server]:
        return feed.of_servers(self._house)

    def ruling(self) -> AsyncGenerator[Ruling]:
        return feed.of_ruling(self._house)

    def is_for(self, one: Server | Ruling, may_use: Callable[[str], bool]) -> bool:
        """A key that is for some agents hears of the servers that these may use."""
        if isinstance(one, Ruling):
            return True
        names = [name for name in agents(self._house) if may_use(name)]
        return any(fnmatchcase(name, pattern) for name in names for pattern in one.agents)

    def questions(self) -> AsyncGenerator[Open]:
        return feed.of_questions(self._house)

    async def _of_task(self, task: TaskId, after: int) -> AsyncGenerator[Seen]:
        async with aclosing(tasks.watch(self._house, task, after=after)) as items:
            async for item in items:
                yield Seen(task=task, item=item)

    async def _place(self, wanted: Wanted) -> tuple[TaskId, int]:
        """Where to go on. Raises `Fault`."""
        task, after = _cursor(wanted.after)
        if wanted.session:
            query = Query(session=SessionId(wanted.session), limit=1)
            if not task and not await self._house.journal.query(query):
                hint = "tasks.create with this session begins it"
                raise Fault(DENIED, "there is no such session", code="session_not_found", hint=hint)
        elif task in ("", wanted.task):
            task = TaskId(wanted.task)
        else:
            raise Fault(PARAMS, "`after` is a cursor of another task", code="invalid")
        if after and not await self._kept(task, after, wanted.session):
            hint = "subscribe without `after`, and take all as new"
            what = f"nothing is kept any more of what {wanted.after} stands for"
            raise Fault(DENIED, what, code="replay_gap", hint=hint)
        return task, after

    async def _kept(self, task: TaskId, after: int, session: str) -> bool:
        row = await self._house.journal.summary(task)
        if row is None or (session and row.session != session):
            return False
        try:
            return bool(await tasks.events(self._house, task, after=after - 1, limit=1))
        except Refused:  # purged
            return False


def _cursor(text: str) -> tuple[TaskId, int]:
    if not text:
        return TaskId(""), 0
    task, _, number = text.rpartition(":")
    if not task or not number.isdecimal() or len(number) > 15:
        raise Fault(PARAMS, f"{text!r} is no cursor", code="invalid")
    return TaskId(task), int(number)


def _piece(delta: Delta) -> dict[str, Any]:
    if delta.reset:
        return {"reset": True}
    told = {"text": delta.text, "thought": delta.thought, "call": delta.call, "note": delta.note}
    return {key: value for key, value in told.items() if value}
