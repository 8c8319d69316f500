"""The questions a journal answers, as SQL. Each is one statement on one connection."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import msgspec

from holdfast.core.error import Broken, NotFound
from holdfast.core.ids import Instant, TaskId
from holdfast.core.task import ENDED, Status
from holdfast.core.view import Summary
from holdfast.ports.journal import Query, Recorded

from . import entry
from .connection import Connection

_SUMMARY = msgspec.json.Decoder(Summary)
READ = """
    SELECT purged, seq, at, kind, body, link
    FROM task LEFT JOIN event ON event.task = task.id AND seq > ?
    WHERE id = ? ORDER BY seq LIMIT ?"""
READY = """
    SELECT summary FROM task AS t INDEXED BY task_ready
    WHERE status = 'QUEUED' AND agent NOT IN (SELECT value FROM json_each(?))
    AND (session = '' OR NOT EXISTS (
      SELECT 1 FROM task AS earlier INDEXED BY task_open
      WHERE earlier.session = t.session AND earlier.id < t.id
      AND earlier.status IN ('QUEUED', 'CLAIMED', 'RUNNING', 'WAITING', 'RETRY_WAIT')
      AND earlier.session <> ''))
    ORDER BY rank, id LIMIT ?"""
DUE = """
    SELECT id FROM task INDEXED BY task_due
    WHERE wake_at IS NOT NULL AND wake_at <= ? ORDER BY wake_at, id LIMIT ?"""
NEXT_DUE = "SELECT min(wake_at) FROM task WHERE wake_at IS NOT NULL"
LOST = """
    SELECT id FROM task INDEXED BY task_held
    WHERE status IN ('CLAIMED', 'RUNNING') AND (lease_until < ? OR owner = nullif(?, ''))
    ORDER BY id LIMIT ?"""
FIND = """
    SELECT id FROM task WHERE id >= :text AND id < :text || char(0x10FFFF)
    UNION SELECT id FROM task WHERE substr(id, -length(:text)) = :text
    ORDER BY id LIMIT 10"""
OVER = f"""
    SELECT id FROM task
    WHERE status IN ({", ".join(f"'{status}'" for status in sorted(ENDED))})
    AND updated_at < ? AND wake_at IS NULL"""  # noqa: S608 - the names of the statuses

OLDEST = f"{OVER} ORDER BY updated_at, id LIMIT ?".replace("SELECT id", "SELECT summary", 1)


def read(connection: Connection, task: TaskId, after: int, limit: int) -> tuple[Recorded, ...]:
    """Raises `NotFound`, or `Refused` for a purged stream. `limit` -1 is none."""
    rows = connection.rows(READ, (after, task, limit))
    if not rows:
        raise NotFound(f"there is no task {task}", code="task_not_found")
    if rows[0][0]:
        raise entry.purged_error(task)
    if rows[0][1] is None:
        return ()
    return tuple(entry.recorded(*row[1:]) for row in rows)


def summary(connection: Connection, task: TaskId) -> Summary | None:
    text = connection.value("SELECT summary FROM task WHERE id = ?", (task,))
    return None if text is None else _decoded(text)


def find(connection: Connection, text: str) -> tuple[TaskId, ...]:
    found = tuple(row[0] for row in connection.rows(FIND, {"text": text})) if text else ()
    return (TaskId(text),) if text in found else found


def query(connection: Connection, wanted: Query) -> tuple[Summary, ...]:
    conditions = _conditions(wanted)
    where = " AND ".join(["1", *conditions])
    values = [value for values in conditions.values() for value in values]
    sql = f"SELECT summary FROM task WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608 - `where` is made of the texts below
    rows = connection.rows(sql, (*values, wanted.limit))
    return tuple(_decoded(row[0]) for row in rows)


def _conditions(wanted: Query) -> dict[str, Sequence[str]]:
    """SQL conditions and their values. The `<> ''` let the partial indexes serve."""
    found: dict[str, Sequence[str]] = {}
    if wanted.status:
        found[f"status IN ({', '.join('?' * len(wanted.status))})"] = wanted.status
    if wanted.session is not None:
        used = "<>" if wanted.session else "="
        found[f"session = ? AND session {used} ''"] = (wanted.session,)
    if wanted.parent is not None:
        found["parent = ?"] = (wanted.parent,)
    if wanted.agent:
        found["agent = ?"] = (wanted.agent,)
    if wanted.by:
        found['"by" = ?'] = (wanted.by,)
    if wanted.key:
        found['"key" = ? AND "key" <> \'\''] = (wanted.key,)
    if wanted.before is not None:
        found["id < ?"] = (wanted.before,)
    if wanted.asked:
        found["asked = 1"] = ()
    return found


def count(connection: Connection) -> Mapping[Status, int]:
    rows = connection.rows("SELECT status, count(*) FROM task GROUP BY status")
    return {Status(status): number for status, number in rows}


def ready(connection: Connection, limit: int, skip_agents: Sequence[str]) -> tuple[Summary, ...]:
    rows = connection.rows(READY, (json.dumps(list(skip_agents)), limit))
    return tuple(_decoded(row[0]) for row in rows)


def due(connection: Connection, now: Instant, limit: int) -> tuple[TaskId, ...]:
    return tuple(row[0] for row in connection.rows(DUE, (now, limit)))


def next_due(connection: Connection) -> Instant | None:
    return connection.value(NEXT_DUE)


def lost(connection: Connection, now: Instant, limit: int, owner: str) -> tuple[TaskId, ...]:
    return tuple(row[0] for row in connection.rows(LOST, (now, owner, limit)))


def over(connection: Connection, before: Instant, after: str, limit: int) -> tuple[TaskId, ...]:
    """Tasks that ended before, with nothing left to do for them, and ids greater than `after`."""
    rows = connection.rows(f"{OVER} AND id > ? ORDER BY id LIMIT ?", (before, after, limit))
    return tuple(row[0] for row in rows)


def oldest(connection: Connection, limit: int) -> tuple[Summary, ...]:
    rows = connection.rows(OLDEST, (1 << 62, limit))
    return tuple(_decoded(row[0]) for row in rows)


def used(connection: Connection) -> int:
    """Pages in use; what was deleted is used again before the file grows."""
    pages = connection.value("PRAGMA page_count") - connection.value("PRAGMA freelist_count")
    return pages * connection.value("PRAGMA page_size")


def still_over(
    connection: Connection, tasks: Sequence[TaskId], before: Instant
) -> tuple[TaskId, ...]:
    among = f"{OVER} AND id IN (SELECT value FROM json_each(?))"  # noqa: S608 - a constant
    rows = connection.rows(among, (before, json.dumps(tasks)))
    return tuple(row[0] for row in rows)


def _decoded(text: bytes) -> Summary:
    try:
        return _SUMMARY.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Broken(f"a summary cannot be read: {error}", code="damaged_summary") from error
