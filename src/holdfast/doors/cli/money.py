"""The commands about money: budgets and costs."""

from __future__ import annotations

import csv
import io
import math
import os
import time

from .client import query
from .out import ago, dollars, short
from .reading import count_of, number_of, part_of, rows_of, text_of
from .stop import OK, Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json

_FIELDS = (
    *("calls", "usd", "doubtful_usd", "doubtful_calls", "held_usd", "unpriced", "saved_usd"),
    *("input", "output", "cache_read", "cache_write", "reasoning"),
)
_BUDGETS = ("BUDGET", "USED", "HELD", "LEFT", "LIMIT", "%")
_DOUBTS = ("CALL", "AGE", "AT MOST", "TASK", "MODEL")


def budget_list(desk: Desk, given: Given) -> int:
    found = desk.daemon.get("/api/v1/budgets")
    if given.has("json"):
        desk.screen.json(found)
        return OK
    rows = [row for one in rows_of(found, "budgets") for row in _budget(one)]
    if rows:
        desk.screen.table(_BUDGETS, rows)
    else:
        desk.screen.note("no budgets: write [[budget]] into config.toml to set one")
    doubts, now = rows_of(found, "doubtful"), time.time()
    if doubts:
        desk.screen.tell("")
        desk.screen.tell("May have been paid, and count in full:")
        desk.screen.table(_DOUBTS, [_doubt(one, now) for one in doubts])
        desk.screen.note("what one really cost: holdfast budget settle CALL USD")
    return OK


def budget_raise(desk: Desk, given: Given) -> int:
    body: Json = {
        "key": given.word(0),
        "usd": _money(given.word(1) or "0"),
        "tokens": given.count("tokens") or 0,
        "calls": given.count("calls") or 0,
        "once": os.urandom(16).hex(),
    }
    found = desk.daemon.post("/api/v1/budgets/raise", body, repeatable=True)
    if given.has("json"):
        desk.screen.json(found)
    elif found.get("budget"):
        desk.screen.table(_BUDGETS, _budget(part_of(found, "budget")))
    else:
        desk.screen.tell(f"{found['key']} is allowed until 00:00 UTC")
    return OK


def budget_settle(desk: Desk, given: Given) -> int:
    body: Json = {"call": given.word(0), "usd": _money(given.word(1))}
    found = desk.daemon.post("/api/v1/budgets/settle", body)
    if given.has("json"):
        desk.screen.json(found)
    else:
        desk.screen.tell(f"{found['call']} cost {dollars(number_of(found, 'usd'))}")
    return OK


def costs(desk: Desk, given: Given) -> int:
    by = given.one("by") or "day"
    names = ("task", "session", "agent", "team", "role", "until")
    asked = {name: given.one(name) for name in names}
    since = given.one("since") or ("" if asked["task"] or asked["session"] else "month")
    found = desk.daemon.get(f"/api/v1/costs{query(by=by, since=since, **asked)}")
    groups = [name.strip() for name in by.split(",") if name.strip()]
    if given.has("json"):
        desk.screen.json(found)
    elif given.has("csv"):
        desk.screen.tell(_csv(groups, rows_of(found, "rows")))
    else:
        rows = [(*(_name(row, g) for g in groups), *_cost(row)) for row in rows_of(found, "rows")]
        total = ("all", *([""] * (len(groups) - 1)), *_cost(part_of(found, "total")))
        head = (*(group.upper() for group in groups), "CALLS", "IN", "OUT", "SAVED", "COST")
        desk.screen.table(head, [*rows, total])
    return OK


def summary(desk: Desk) -> list[tuple[str, str]]:
    """Today, this week, this month; by model; what caches saved."""
    rows: list[tuple[str, str]] = []
    for name, since in (("today", "today"), ("7 days", "week"), ("month", "month")):
        total = part_of(desk.daemon.get(f"/api/v1/costs{query(since=since)}"), "total")
        calls, tokens = count_of(total, "calls"), count_of(total, "input")
        tokens += count_of(total, "output")
        rows.append((name, f"{money(total)} for {tokens:,} tokens in {calls:,} calls"))
    found = desk.daemon.get("/api/v1/costs?by=model&since=month")
    total = part_of(found, "total")
    whole = number_of(total, "usd")
    models = sorted(rows_of(found, "rows"), key=lambda row: -number_of(row, "usd"))
    for row in models:
        share = 100 * number_of(row, "usd") / whole if whole else 0
        model = text_of(part_of(row, "group"), "model")
        rows.append(("", f"{money(row)} ({share:.0f} %) {model}"))
    rows.append(("saved", f"{dollars(number_of(total, 'saved_usd'))} by prompt caches, this month"))
    return rows


def money(row: Json) -> str:
    """An amount of money, and what makes it uncertain."""
    doubt, unpriced = number_of(row, "doubtful_usd"), count_of(row, "unpriced")
    told = dollars(number_of(row, "usd"))
    told += f" + {dollars(doubt)} in doubt" if doubt else ""
    return told + (f" + {unpriced:,} calls without a price" if unpriced else "")


def _budget(row: Json) -> list[tuple[str, ...]]:
    """One line per limit: in money, in tokens, in calls."""
    told: list[tuple[str, ...]] = []
    for kind, unit in (("usd", ""), ("tokens", " tokens"), ("calls", " calls")):
        limit = part_of(row, "limit").get(kind)
        if limit is None:
            continue
        used = part_of(row, "used")[kind]
        parts = [part_of(row, name)[kind] for name in ("used", "held", "left")]
        shown = [dollars(n) if kind == "usd" else f"{n:,}{unit}" for n in (*parts, limit)]
        percent = f"{100 * used / limit:.0f}" if limit else "100"
        told.append((str(row["key"]), *shown, percent))
    return told


def _doubt(row: Json, now: float) -> tuple[str, ...]:
    most = "unknown" if row.get("usd") is None else dollars(number_of(row, "usd"))
    task = short(text_of(row, "task")) or "-"
    return str(row["id"]), ago(count_of(row, "at"), now), most, task, text_of(row, "model")


def _cost(row: Json) -> tuple[str, ...]:
    saved = number_of(row, "saved_usd")
    counts = (f"{count_of(row, name):,}" for name in ("calls", "input", "output"))
    return (*counts, dollars(saved) if saved else "-", money(row))


def _name(row: Json, group: str) -> str:
    name = text_of(part_of(row, "group"), group) or "-"
    return short(name) if group == "task" else name


def _csv(groups: list[str], rows: list[Json]) -> str:
    to = io.StringIO()
    writer = csv.writer(to, lineterminator="\n")
    writer.writerow([*groups, *_FIELDS])
    for row in rows:
        names = [text_of(part_of(row, "group"), group) for group in groups]
        writer.writerow([*names, *(row.get(field, 0) for field in _FIELDS)])
    return to.getvalue().rstrip("\n")


def _money(text: str) -> float:
    try:
        amount = float(text.removeprefix("$"))
    except ValueError:
        amount = math.nan
    if not 0 <= amount < math.inf:
        raise Stop(f"{text!r} is not an amount of dollars, for example 2.50", name="usage")
    return amount
