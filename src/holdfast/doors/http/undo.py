"""The routes of undoing what a task changed."""

from __future__ import annotations

from pydantic import Field

from holdfast.runtime import undo as undoing
from holdfast.runtime.undo import Undo, parted
from holdfast.runtime.undoing import Wish

from .bodies import Body, Name, NoQuery, Nothing, Question
from .route import Ask, Entry

_PATH = "/api/v1/tasks/{ref}/undo"
_ONE = "Only what this call changed; empty: all calls."


class ToUndo(Body):
    """What to undo. `ref` names a task, or an undo of one: its id with a point and a number."""

    call: Name = Field(default="", description=_ONE)


class UndoAsk(Question):
    """What would be undone."""

    call: Name = Field(default="", description=_ONE)


async def undo(ask: Ask[NoQuery, ToUndo]) -> Undo:
    ref, of = parted(ask.path("ref"))
    wish = Wish(by=ask.by, call=ask.body.call, of=of)
    return await undoing.undo(ask.house, await ask.task(ref), wish)


async def outlook(ask: Ask[UndoAsk, Nothing]) -> Undo:
    ref, of = parted(ask.path("ref"))
    wish = Wish(by=ask.by, call=ask.query.call, of=of)
    return await undoing.outlook(ask.house, await ask.task(ref), wish)


UNDO_ROUTES: tuple[Entry, ...] = (
    Entry(
        "POST",
        _PATH,
        undo,
        "Put back the files that an ended task changed, newest first, where nobody else has "
        "changed them since; of an undo (`TASK.1`): take it back. What was left alone is in "
        "`left`, calls whose effects stay are in `lasting`.",
        Undo,
        body=ToUndo,
        errors=(409, 503),
    ),
    Entry(
        "GET",
        _PATH,
        outlook,
        "What an undo would do now, what cannot be undone, and the undos that there were.",
        Undo,
        query=UndoAsk,
        errors=(409, 503),
    ),
)
