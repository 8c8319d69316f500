"""The commands about trust: how far, in which domain, and how it went."""

from __future__ import annotations

import time

from .client import query
from .out import ago, line, short
from .reading import count_of, rows_of, text_of, texts_of
from .stop import OK, Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json

_LEVELS = ("DOMAIN", "AGENT", "LEVEL", "SINCE", "BY", "WHAT IT MEANS")
_RECORDS = ("DOMAIN", "LEVEL", "ACTS", "STOOD", "ACCURACY", "ADVICE")
_ACTS = ("WHEN", "DOMAIN", "TASK", "CALL", "TOOL", "HOW", "")
_NONE = "the policy names no domains: docs/guides/trust.md says how"
_ADVICE = {
    "not enough": "not enough to say",
    "raise": "raise it",
    "keep": "keep it",
    "lower": "lower it",
}


def show(desk: Desk, given: Given) -> int:
    agent, domain = given.one("agent"), given.word(0)
    found = desk.daemon.get(f"/api/v1/trust{query(domain=domain, agent=agent)}")
    if given.has("json"):
        desk.screen.json(found)
        return OK
    rows = rows_of(found, "domains")
    if not rows:
        desk.screen.note(_NONE)
        return OK
    _told(desk, rows)
    if domain:
        _described(desk, rows[0])
    return OK


def grant(desk: Desk, given: Given) -> int:
    body = {
        "domain": given.word(0),
        "level": given.word(1),
        "agent": given.one("agent"),
        "reason": given.one("reason"),
    }
    return _changed(desk, given, desk.daemon.post("/api/v1/trust/grant", body, repeatable=True))


def revoke(desk: Desk, given: Given) -> int:
    body = {"domain": given.word(0), "agent": given.one("agent")}
    return _changed(desk, given, desk.daemon.post("/api/v1/trust/revoke", body, repeatable=True))


def audit(desk: Desk, given: Given) -> int:
    days = given.count("days") if given.has("days") else 30
    if not days:
        raise Stop("--days is how many days back: 1 or more", name="usage")
    wanted = query(domain=given.word(0), agent=given.one("agent"), days=str(days))
    found = desk.daemon.get(f"/api/v1/trust/audit{wanted}")
    if given.has("json"):
        desk.screen.json(found)
        return OK
    records = rows_of(found, "records")
    if not records:
        desk.screen.note(_NONE)
        return OK
    screen, now = desk.screen, time.time()
    screen.tell(f"In the last {days} days:")
    screen.table(_RECORDS, list(map(_record, records)))
    if acts := [act for record in records for act in rows_of(record, "latest")]:
        screen.tell("")
        screen.table(_ACTS, [_act(one, now) for one in acts])
    return OK


def _changed(desk: Desk, given: Given, row: Json) -> int:
    if given.has("json"):
        desk.screen.json(row)
    else:
        _told(desk, [row])
    return OK


def _told(desk: Desk, rows: list[Json]) -> None:
    now = time.time()
    desk.screen.table(_LEVELS, [_level(one, now) for one in rows])
    for row in rows:
        if row.get("stale"):
            name = text_of(row, "domain")
            text = f"{name} has changed since it was granted: grant it again, if you still mean it"
            desk.screen.note(line(text), mark="bad")


def _level(row: Json, now: float) -> tuple[str, ...]:
    since = count_of(row, "since")
    return (
        line(text_of(row, "domain")),
        line(text_of(row, "agent")) or "all",
        text_of(row, "level"),
        ago(since, now) if since else "never granted",
        line(text_of(row, "by")),
        text_of(row, "means"),
    )


def _described(desk: Desk, row: Json) -> None:
    """What belongs to a domain."""
    if about := text_of(row, "about"):
        desk.screen.tell(line(about))
    for calls in rows_of(row, "calls"):
        said = [
            f"{name} {', '.join(texts_of(calls, name))}"
            for name in ("tools", "effects", "paths", "hosts", "methods", "agents", "principals")
            if texts_of(calls, name)
        ]
        commands: list[list[str]] = calls.get("command") or []
        said += [f"command {' '.join(words)}" for words in commands]
        desk.screen.tell(f"  its calls: {line('; '.join(said))}")


def _record(row: Json) -> tuple[str, ...]:
    share = row.get("accuracy")
    acts, right = count_of(row, "acts"), count_of(row, "right")
    return (
        line(text_of(row, "domain")),
        text_of(row, "level"),
        str(acts),
        str(right),
        f"{share:.0%}" if isinstance(share, (int, float)) else "",
        _ADVICE.get(text_of(row, "advice"), text_of(row, "advice")),
    )


def _act(row: Json, now: float) -> tuple[str, ...]:
    why, by = text_of(row, "overridden"), line(text_of(row, "by"))
    how = f"approved by {by}" if row.get("asked") and not why else "on its own"
    return (
        ago(count_of(row, "at"), now),
        line(text_of(row, "domain")),
        short(text_of(row, "task")),
        line(text_of(row, "call")),
        line(text_of(row, "tool")),
        "asked" if row.get("asked") and why else how,
        f"[overridden] {why} by {by}" if why else "",
    )
