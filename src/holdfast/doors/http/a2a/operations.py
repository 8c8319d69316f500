"""Every operation of the protocol, however it was asked for."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from holdfast.core import task as t
from holdfast.core.error import Refused
from holdfast.core.ids import CallId, SessionId, TaskId
from holdfast.core.view import Summary
from holdfast.ports.journal import Query
from holdfast.runtime import tasks
from holdfast.runtime.following import follow, settled
from holdfast.runtime.owners import within_own
from holdfast.runtime.relaying import relay

from . import asked, card, pushing, shown
from . import words as w
from .asking import Asking, mine
from .faults import InvalidParams, TaskNotCancelable, UnsupportedOperation
from .told import Teller

_PAGE, _MOST = 500, 10_000
_PAGE_SIZES = range(1, 101)
_STAMP = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?Z")
_DIGITS = 16
_UNSAID = ("", "TASK_STATE_UNSPECIFIED")
_STATES = frozenset({*_UNSAID, *w.State})
_NO_PERSON = "this principal may not answer for a person"

Tellings = AsyncGenerator[w.Told, None]


async def send(ask: Asking, sending: w.Sending) -> Callable[[], Awaitable[w.Told]]:
    """Take a message; what is returned waits for the answer. Raises before that if it is none."""
    task = await _taken(ask, sending)
    settings = sending.configuration

    async def answer() -> w.Told:
        if settings.return_immediately:
            found = await ask.house.recorder.load(task)
        else:
            found = (await settled(ask.house, task)).task
        length = settings.history_length
        return w.Told(task=await shown.shown(ask.house, found, history=_length(length)))

    return answer


async def stream(ask: Asking, sending: w.Sending) -> Tellings:
    """Take a message, and tell what becomes of it until it has ended or waits for a person."""
    task = await _taken(ask, sending)
    return _told(ask, task, _length(sending.configuration.history_length), pauses=True)


async def subscribe(ask: Asking, one: w.OneTask) -> Tellings:
    """Tell what becomes of a task, first what it is; to its end, however often it waits."""
    task = await mine(ask, one.id)
    if task.ended:
        hint = "GetTask has all of it"
        raise UnsupportedOperation(f"the task {task.id} has ended", hint=hint)
    return _told(ask, task.id, None, pauses=False)


async def get(ask: Asking, one: w.OneTask) -> w.Task:
    task = await mine(ask, one.id)
    return await shown.shown(ask.house, task, history=_length(one.history_length))


async def cancel(ask: Asking, one: w.OneTask) -> w.Task:
    task = await mine(ask, one.id)
    if task.ended:
        raise TaskNotCancelable(f"the task {task.id} has ended: it is {task.status}")
    try:
        await tasks.cancel(ask.house, task.id, by=ask.by, reason="canceled over A2A")
    except Refused as late:
        raise TaskNotCancelable(str(late)) from late
    return await shown.shown(ask.house, await ask.house.recorder.load(task.id))


async def listing(ask: Asking, wanted: w.Listing) -> w.Listed:
    """The one that moved last first. The token names the last one of the page before."""
    if wanted.page_size not in _PAGE_SIZES:
        raise InvalidParams("pageSize: expected 1 to 100")
    if wanted.status not in _STATES:
        raise InvalidParams(f"status: {wanted.status[:40]} is none of {', '.join(w.State)}")
    if wanted.status_timestamp_after and not _STAMP.fullmatch(wanted.status_timestamp_after):
        raise InvalidParams("statusTimestampAfter: expected a moment like 2026-01-31T12:00:00Z")
    rows = [row for row in await _rows(ask, wanted.context_id) if _is_wanted(row, wanted)]
    rows.sort(key=_place, reverse=True)
    total, after = len(rows), _from_token(wanted.page_token)
    if after is not None:
        rows = [row for row in rows if _place(row) < after]
    page = rows[: wanted.page_size]
    more = len(rows) > len(page)
    return w.Listed(
        tasks=tuple([await _listed(ask, row, wanted) for row in page]),
        next_page_token=_token(page[-1]) if more else "",
        page_size=wanted.page_size,
        total_size=total,
    )


async def extended_card(ask: Asking, _: w.Nothing) -> dict[str, Any]:
    return card.extended(ask.house, ask.base)


# Taking a message.


async def _taken(ask: Asking, sending: w.Sending) -> TaskId:
    """The task that the message begins or answers; durable when this returns."""
    message = asked.checked(sending)
    push = sending.configuration.task_push_notification_config
    if isinstance(push, w.PushConfig):
        pushing.push_of(ask, push)  # what cannot be told must not begin anything
    after = 1
    if message.task_id:
        task = await mine(ask, message.task_id)
        after = len(await ask.house.journal.read(task.id))
        await _answered(ask, task, message)
        task_id = task.id
    else:
        task_id = await _begun(ask, sending)
    if isinstance(push, w.PushConfig):
        await pushing.keep(ask, replace(push, task_id=task_id), after=after)
    return task_id


async def _begun(ask: Asking, sending: w.Sending) -> TaskId:
    house, context = ask.house, sending.message.context_id
    nonce = "" if ask.once else house.clock.new_id("a2a")[-12:]
    if ask.once and (row := await _earlier(ask, sending.message.message_id)):
        return row.id
    sources = asked.sources_of(sending.message, ask.by, person=_person(ask))
    request = await asked.request_of(house, sending.message, by=ask.by, sources=sources)
    key = shown.key_of(sending.message.message_id, nonce)
    session = SessionId(context or house.clock.new_id("context"))
    request = within_own(replace(request, session=session, key=key))
    return (await tasks.submit(house, request)).id


async def _earlier(ask: Asking, message_id: str) -> Summary | None:
    """The task that this same message began before."""
    key = shown.key_of(message_id, "")
    rows = await ask.house.journal.query(Query(by=ask.by, key=key, limit=1))
    return rows[0] if rows else None


async def _answered(ask: Asking, task: t.Task, message: w.Message) -> None:
    house, there = ask.house, shown.context(task.id, task.request.session)
    if message.context_id and message.context_id != there:
        raise InvalidParams(f"the task {task.id} is not in the context {message.context_id}")
    if task.ended:
        hint = "begin another task in the same context"
        raise UnsupportedOperation(f"the task {task.id} has ended", hint=hint)
    match asked.answer_of(message):
        case asked.Approved(call=call, digest=digest, whole_task=whole_task):
            _check_person(ask)
            yes = tasks.Yes(call=CallId(call), digest=digest, by=ask.by, whole_task=whole_task)
            await tasks.approve(house, task.id, yes)
        case asked.Declined(call=call, reason=reason):
            await tasks.refuse(house, task.id, call, by=ask.by, reason=reason)
        case str() as text if sources := asked.sources_of(message, ask.by, person=_person(ask)):
            await relay(house, task.id, text, sources, by=ask.by)
        case str() as text:
            await tasks.say(house, task.id, text, by=ask.by)


def _check_person(ask: Asking) -> None:
    """A yes is a person's: an agent that could say it for its own calls would need no gate."""
    if not (_person(ask) and ask.approves):
        hint = "persons are named in [a2a] persons; or approve it with holdfast approvals"
        raise UnsupportedOperation(_NO_PERSON, code="not_a_person", hint=hint)


def _person(ask: Asking) -> bool:
    return ask.house.in_force.a2a.is_person(ask.by)


# Looking.


async def _told(ask: Asking, task_id: TaskId, history: int | None, *, pauses: bool) -> Tellings:
    async with aclosing(follow(ask.house, task_id)) as moments:
        teller: Teller | None = None
        async for moment in moments:
            if teller is None:
                teller = Teller(moment)
                whole = await shown.shown(ask.house, moment.task, history=history)
                yield w.Told(task=whole)
            else:
                for one in await teller.of(moment):
                    yield one
            state = shown.state(moment.task)
            if state in w.TERMINAL or (pauses and state in w.INTERRUPTED):
                return


async def _rows(ask: Asking, context: str) -> list[Summary]:
    """The newest 10,000 at most."""
    found, before = list[Summary](), None
    session = SessionId(context) if context else None
    while len(found) < _MOST:
        query = Query(by=ask.by, session=session, limit=_PAGE, before=before)
        rows = await ask.house.journal.query(query)
        found += rows
        if len(rows) < _PAGE:
            break
        before = rows[-1].id
    return found


def _is_wanted(row: Summary, wanted: w.Listing) -> bool:
    state = shown.state_of(row.status, row.questions, begun=row.attempt > 0)
    unsaid = wanted.status in _UNSAID
    late = shown.moment(row.updated_at) >= wanted.status_timestamp_after
    return (unsaid or state == wanted.status) and late


async def _listed(ask: Asking, row: Summary, wanted: w.Listing) -> w.Task:
    length = 0 if wanted.history_length is UNSET else _length(wanted.history_length)
    if not wanted.include_artifacts and not length:
        return shown.listed(row, None)
    task = await ask.house.recorder.load(row.id)
    whole = await shown.shown(ask.house, task, history=length)
    if not wanted.include_artifacts:
        whole = w.Task(
            id=whole.id, context_id=whole.context_id, status=whole.status, history=whole.history
        )
    return shown.listed(row, whole)


def _length(told: int | UnsetType) -> int | None:
    if isinstance(told, UnsetType):
        return None
    if told < 0:
        raise InvalidParams("historyLength: expected 0 or more")
    return told


def _place(row: Summary) -> tuple[int, str]:
    return row.updated_at, row.id


def _token(row: Summary) -> str:
    return base64.urlsafe_b64encode(f"{row.updated_at}:{row.id}".encode()).decode()


def _from_token(token: str) -> tuple[int, str] | None:
    if not token:
        return None
    at = task = ""
    with suppress(ValueError, binascii.Error):
        at, _, task = base64.urlsafe_b64decode(token.encode()).decode().partition(":")
    if not (at.isdecimal() and len(at) < _DIGITS):
        raise InvalidParams("pageToken: that is none of ours")
    return int(at), task
