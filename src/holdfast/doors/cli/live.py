"""`status --live`: what is going on, drawn anew every second."""

from __future__ import annotations

import time

from .client import query
from .listing import cost, describe, spent, state
from .out import ago, line, short, span
from .reading import count_of, rows_of, text_of
from .stop import INTERRUPTED, OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json

_EVERY = 1.0
_TITLE = 60
_RECENT = 5
_CLEAR = "\x1b[H\x1b[2J"
_AT_WORK = "RUNNING,CLAIMED,WAITING,RETRY_WAIT,QUEUED"
_ENDED = "SUCCEEDED,FAILED,CANCELED,DEAD_LETTER"


def live(desk: Desk, given: Given) -> int:
    """Until Ctrl-C on a terminal; one frame where nobody watches."""
    if not desk.screen.out_is_terminal:
        desk.screen.tell("\n".join(frame(desk, time.time())))
        return OK
    try:
        while True:
            text = "\r\n".join(frame(desk, time.time()))
            desk.screen.draw(_CLEAR + text + "\r\n")
            time.sleep(_EVERY)
    except KeyboardInterrupt:
        return INTERRUPTED


def frame(desk: Desk, now: float) -> list[str]:
    found = desk.daemon.get("/api/v1/status")
    facts = dict(describe(found))
    working = _tasks(desk, _AT_WORK, 10)
    recent = _tasks(desk, _ENDED, _RECENT)
    lines = [f"holdfast {found.get('version')}, up {facts['up']}, {facts['tasks']}", ""]
    lines += ["at work:"] if working else ["nothing is at work", ""]
    for row in working:
        lines += [*_task(desk, row, now), ""]
    lines += ["lately:"] if recent else []
    return lines + [f"  {_past(desk, row, now)}" for row in recent]


def _tasks(desk: Desk, status: str, limit: int) -> list[Json]:
    return rows_of(desk.daemon.get(f"/api/v1/tasks{query(status=status, limit=limit)}"), "tasks")


def _task(desk: Desk, row: Json, now: float) -> list[str]:
    age = span(max(0.0, now - count_of(row, "submitted_at") / 1000))
    used = (
        f"step {spent(row, 'steps')}, {spent(row, 'calls')} calls, {spent(row, 'tokens'):,} tokens"
    )
    lines = [
        f"  {desk.screen.cut(str(row.get('title') or ''), _TITLE)}",
        f"    {short(str(row['id']))}  {state(row)}  {used}, {cost(row)}, {age}",
    ]
    lines += [f"    asks: {line(str(q.get('question')))}" for q in rows_of(row, "questions")]
    return lines


def _past(desk: Desk, row: Json, now: float) -> str:
    title = desk.screen.cut(text_of(row, "title"), _TITLE)
    when = ago(count_of(row, "updated_at"), now)
    return f"{short(str(row['id']))}  {row['status']:<12}{cost(row):<9} {when:<10}{title}"
