"""The command about the way out: who reached what."""

from __future__ import annotations

import time

from .client import query
from .out import ago, short
from .reading import count_of, rows_of, text_of
from .stop import OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json

_HEAD = ("AGE", "TASK", "AGENT", "WAY", "METHOD", "WHERE", "END", "IN", "OUT")


def log(desk: Desk, given: Given) -> int:
    asked = {name: given.one(name) for name in ("task", "agent", "host")}
    refused = "true" if given.has("refused") else ""
    limit = str(given.count("limit") or 50)
    found = desk.daemon.get(f"/api/v1/egress{query(**asked, refused=refused, limit=limit)}")
    if given.has("json"):
        desk.screen.json(found)
        return OK
    now = time.time()
    rows = [_row(one, now) for one in rows_of(found, "visits")]
    if rows:
        desk.screen.table(_HEAD, rows)
    else:
        desk.screen.note("nobody has asked for anything outside")
    return OK


def _row(visit: Json, now: float) -> tuple[str, ...]:
    host, port = text_of(visit, "host"), count_of(visit, "port")
    where = f"{host}:{port}{text_of(visit, 'path')}" if port else host
    end = text_of(visit, "code") or str(count_of(visit, "status") or "")
    return (
        ago(count_of(visit, "at"), now),
        short(text_of(visit, "task")),
        text_of(visit, "agent"),
        text_of(visit, "tool") or text_of(visit, "kind"),
        text_of(visit, "method"),
        where,
        end or "open",
        f"{count_of(visit, 'received'):,}",
        f"{count_of(visit, 'sent'):,}",
    )
