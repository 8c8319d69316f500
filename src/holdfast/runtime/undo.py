"""Undo what a task changed in its folder, and say what of its doings stays.

An undo is what a person does: no tool offers it, no model can ask for it. It is written down before
it begins, finished when it is cut off, and can be undone itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from msgspec import Struct

from holdfast.core.audit.fact import Fact
from holdfast.core.error import Invalid, NotFound, Refused
from holdfast.core.event import CallSettled, CallStarted, ChecksDue, Replied, TopUpRequested
from holdfast.core.ids import Instant, TaskId
from holdfast.core.message import EffectClass, Failed, ToolCall
from holdfast.core.task import ENDED
from holdfast.core.view import Summary
from holdfast.ports.journal import Query, Recorded

from . import tasks
from .house import House
from .undoing import Outcome, Past, PutBack, Told, Wish

_UNDO = re.compile(r"(.+)\.([1-9][0-9]{0,8})")
_MOST_TARGET = 160
_MOST_CHILDREN = 500
_FOR_GOOD = "it cannot be undone"
_UNTOLD = "nothing was written down of what it changed"
_DID_NOT_RUN = frozenset({"not_kept", "secret_not_here", "other_path", "no_such_tool"})


class UndoneFile(Struct, frozen=True, kw_only=True):
    """A place that was put back: restored to what it held, made again, or taken away."""

    path: str
    what: Literal["restored", "recreated", "removed"]
    kind: str


class LeftFile(Struct, frozen=True, kw_only=True):
    """A place that was left alone, and why."""

    path: str
    why: str


class Lasting(Struct, frozen=True, kw_only=True):
    """A call whose effect stays, and why. `target` is what it was about."""

    call: str
    tool: str
    target: str
    why: str


class PastUndo(Struct, frozen=True, kw_only=True):
    """An earlier undo; `of` is the undo that it took back, if any. `over`: it was finished."""

    id: str
    at: Instant
    by: str
    places: int
    over: bool
    call: str = ""
    of: str = ""


class Undo(Struct, frozen=True, kw_only=True):
    """What an undo did, or without an `id`, would do. Its `id` names it as a task's id does: to be
    undone itself. `resumed`: one that had been cut off was finished. `apart` are folders in which
    nobody looked what commands changed; `children` changed files, too, each with an undo of its
    own."""

    task: TaskId
    id: str = ""
    of: str = ""
    resumed: bool = False
    files: tuple[UndoneFile, ...] = ()
    left: tuple[LeftFile, ...] = ()
    lasting: tuple[Lasting, ...] = ()
    apart: tuple[str, ...] = ()
    children: tuple[TaskId, ...] = ()
    past: tuple[PastUndo, ...] = ()


def parted(ref: str) -> tuple[str, int]:
    """A task's id, or that of an undo: the task's with a point and a number from 1."""
    found = _UNDO.fullmatch(ref)
    return (found[1], int(found[2])) if found else (ref, 0)


async def outlook(house: House, task_id: TaskId, wish: Wish) -> Undo:
    """What `undo` would do now, and what cannot be undone. Changes nothing."""
    row = await _ended(house, task_id)
    call = await _call(house, task_id, wish)
    folder = Path(row.workspace)
    found = await house.undoing.outlook(task_id, folder, call=call, of=wish.of)
    return await _said(house, row, found, call)


async def undo(house: House, task_id: TaskId, wish: Wish) -> Undo:
    """Put back what the task changed, newest first, where nobody else has changed it since.

    Raises `Refused` for a task that is still at work, and while another undo is under way.
    """
    row = await _ended(house, task_id)
    call = await _call(house, task_id, wish)
    wish = Wish(by=wish.by, at=house.clock.now(), call=call, of=wish.of)
    agreed = partial(_witnessed, house, row, wish)
    found = await house.undoing.undo(task_id, Path(row.workspace), wish, agreed)
    return await _said(house, row, found, call)


async def _witnessed(house: House, row: Summary, wish: Wish, found: Outcome) -> None:
    """The audit knows of it before anything is touched."""
    fact = Fact(
        kind="task.undone",
        at=wish.at,
        by=wish.by,
        task=row.id,
        agent=row.agent,
        call=wish.call,
        subject=_name(row.id, found.number),
        before=_name(row.id, found.of),
        count=len(found.steps),
        digest=found.digest,
        code="resumed" if found.resumed else "",
    )
    await house.audit.append(fact)


async def _ended(house: House, task_id: TaskId) -> Summary:
    row = await tasks.show(house, task_id)
    if row.status not in ENDED:
        hint = f"holdfast task cancel {task_id[-8:]}"
        raise Refused(f"{task_id} is {row.status}: cancel it first", code="not_ended", hint=hint)
    return row


async def _call(house: House, task_id: TaskId, wish: Wish) -> str:
    """The one call of the task that is meant: its id, or how that begins."""
    given = wish.call
    if not given:
        return ""
    if wish.of:
        message = "an earlier undo is taken back as a whole: leave the call out"
        raise Invalid(message, code="undo_is_whole")
    ran = [one.id for one in _ran(await house.journal.read(task_id))]
    found = [one for one in ran if one == given] or [one for one in ran if one.startswith(given)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(ran[:20]) or "none"
    what = "no call" if not found else "more than one call"
    message = f"{what} of {task_id} that ran is called {given}; there are: {known}"
    raise NotFound(message, code="call_not_found")


async def _said(house: House, row: Summary, found: Outcome, call: str) -> Undo:
    known = await house.undoing.told(row.id)
    lasting = () if found.of else await _lasting(house, row.id, known)
    return Undo(
        task=row.id,
        id=_name(row.id, found.number),
        of=_name(row.id, found.of),
        resumed=found.resumed,
        files=tuple(map(_file, found.steps)),
        left=tuple(LeftFile(path=one.path, why=one.why) for one in found.left),
        lasting=tuple(one for one in lasting if not call or one.call == call),
        apart=() if found.of else tuple(known.apart),
        children=() if found.of or call else await _children(house, row.id),
        past=tuple(_past(row.id, one) for one in known.past),
    )


async def _lasting(house: House, task_id: TaskId, known: Told) -> Sequence[Lasting]:
    """Calls that ran and do more than look, of which it is not known what they changed."""
    found: list[Lasting] = []
    for call in _ran(await house.journal.read(task_id)):
        files = call.names_paths or call.source == "box"
        why = known.calls.get(call.id, _UNTOLD if files else _FOR_GOOD)
        if why and call.effect is not EffectClass.READS:
            target = call.target[:_MOST_TARGET]
            found.append(Lasting(call=call.id, tool=call.tool, target=target, why=why))
    return found


def _ran(past: Sequence[Recorded]) -> list[ToolCall]:
    """The calls that were begun and not stopped before they could do anything."""
    calls: dict[str, ToolCall] = {}
    begun: dict[str, None] = {}
    for recorded in past:
        match recorded.event:
            case Replied(judged=judged) | ChecksDue(judged=judged) | TopUpRequested(judged=judged):
                calls |= {one.call.id: one.call for one in judged}
            case CallStarted(call_id=call_id):
                begun[call_id] = None
            case CallSettled(call_id=call_id, outcome=Failed(code=code)) if code in _DID_NOT_RUN:
                begun.pop(call_id, None)
            case _:
                pass
    return [calls[one] for one in begun if one in calls]


async def _children(house: House, task_id: TaskId) -> tuple[TaskId, ...]:
    rows = await house.journal.query(Query(parent=task_id, limit=_MOST_CHILDREN))
    return tuple([row.id for row in rows if (await house.undoing.told(row.id)).entries])


def _file(step: PutBack) -> UndoneFile:
    kind = step.was.kind if step.now.kind == "none" else step.now.kind
    if step.now.kind == "none":
        return UndoneFile(path=step.path, what="removed", kind=kind)
    what = "recreated" if step.was.kind == "none" else "restored"
    return UndoneFile(path=step.path, what=what, kind=kind)


def _past(task_id: TaskId, past: Past) -> PastUndo:
    begun = past.begun
    return PastUndo(
        id=_name(task_id, begun.number),
        at=begun.at,
        by=begun.by,
        places=len(begun.steps),
        over=past.over,
        call=begun.call,
        of=_name(task_id, begun.of),
    )


def _name(task_id: TaskId, number: int) -> str:
    return f"{task_id}.{number}" if number else ""
