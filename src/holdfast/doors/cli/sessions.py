"""Conversations."""

from __future__ import annotations

import time

from .client import quote
from .out import ago, dollars, plain
from .reading import count_of, number_of, rows_of, text_of
from .stop import OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json

_HEAD = ("SESSION", "TASKS", "TOKENS", "COST", "LAST", "ABOUT")


def session_list(desk: Desk, given: Given) -> int:
    found = desk.daemon.get("/api/v1/sessions")
    if given.has("json"):
        desk.screen.json(found)
        return OK
    rows: list[Json] = rows_of(found, "sessions")
    rows = rows[: given.count("limit") or 20]
    if rows:
        now = time.time()
        desk.screen.table(_HEAD, [_row(row, now) for row in rows])
    desk.screen.note(f"{len(rows)} session{'' if len(rows) == 1 else 's'} shown")
    return OK


def session_show(desk: Desk, given: Given) -> int:
    found = exchanges(desk, given.word())
    if given.has("json"):
        desk.screen.json({"id": given.word(), "exchanges": found})
        return OK
    for said in found:
        desk.screen.tell(f"{str(said['task'])[-8:]}  {said['status']}  {_when(said)}")
        desk.screen.tell(f"> {plain(str(said['prompt']))}")
        if said.get("answer") is not None:
            desk.screen.answer(str(said["answer"]))
        desk.screen.tell("")
    return OK


def exchanges(desk: Desk, session: str) -> list[Json]:
    """What was said in a session, oldest first. Raises `Stop` where there is none."""
    found = desk.daemon.get(f"/api/v1/sessions/{quote(session)}")
    return rows_of(found, "exchanges")


def _row(row: Json, now: float) -> tuple[str, ...]:
    return (
        str(row["id"]),
        str(row.get("tasks") or 0),
        f"{int(row.get('tokens') or 0):,}",
        dollars(number_of(row, "cost_usd")),
        ago(count_of(row, "last_at"), now),
        text_of(row, "title"),
    )


def _when(said: Json) -> str:
    return ago(count_of(said, "at"), time.time())
