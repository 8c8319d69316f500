"""The commands that answer at once: status, the list of tasks, the version."""

from __future__ import annotations

import time

from .client import query
from .dispatch import load
from .out import ago, dollars, line, short, span
from .reading import count_of, number_of, part_of, rows_of, text_of, texts_of
from .stop import OK
from .version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json

_HEAD = ("ID", "STATUS", "AGE", "STEPS", "TOKENS", "COST", "TASK")


def version(desk: Desk, given: Given) -> int:
    if given.has("json"):
        desk.screen.json({"version": VERSION})
    else:
        desk.screen.tell(f"holdfast {VERSION}")
    return OK


def task_list(desk: Desk, given: Given) -> int:
    wanted = query(
        status=given.one("status").upper(),
        session=given.one("session"),
        limit=given.count("limit") or 20,
        before=given.one("before"),
    )
    found = desk.daemon.get(f"/api/v1/tasks{wanted}")
    rows: list[Json] = rows_of(found, "tasks")
    if given.has("json"):
        desk.screen.json(found)
    elif rows:
        desk.screen.table(_HEAD, task_rows(rows, time.time()))
        if found.get("next"):
            desk.screen.note(f"older ones: holdfast task list --before {found['next']}")
    else:
        desk.screen.note("no tasks")
    return OK


def task_rows(rows: list[Json], now: float) -> list[tuple[str, ...]]:
    return [
        (
            short(str(row["id"])),
            state(row),
            ago(count_of(row, "submitted_at"), now),
            str(spent(row, "steps")),
            f"{spent(row, 'tokens'):,}",
            cost(row),
            text_of(row, "title"),
        )
        for row in rows
    ]


def state(row: Json) -> str:
    """The status; a question that waits for a person is worth saying."""
    return f"{row['status']}?" if row.get("questions") else str(row["status"])


def spent(row: Json, what: str) -> int:
    return int(part_of(row, "spent").get(what) or 0)


def cost(row: Json) -> str:
    """Money. Replies without a known price make it a lower bound, or say nothing at all."""
    money = number_of(row, "cost_usd")
    if not spent(row, "unpriced") or not spent(row, "tokens"):
        return dollars(money)
    return f"{dollars(money)} or more" if money else "unknown"


def status(desk: Desk, given: Given) -> int:
    if given.has("live") and not given.has("json"):
        code: int = load("live").live(desk, given)
        return code
    found = desk.daemon.get("/api/v1/status")
    if given.has("json"):
        desk.screen.json(found)
        return OK
    for name, value in describe(found):
        desk.screen.tell(f"{name:<12}{value}")
    if given.has("costs"):
        told: list[tuple[str, str]] = load("money").summary(desk)
        for name, value in told:
            desk.screen.tell(f"{name:<12}{value}")
    return OK


def describe(found: Json) -> list[tuple[str, str]]:
    """What a status says, one fact a line."""
    counts: Json = part_of(found, "counts")
    told = ", ".join(f"{count} {name.lower()}" for name, count in counts.items() if count)
    lanes = f"{found.get('running', 0)} of {found.get('lanes', 0)} lanes busy"
    problem = str(found.get("config_problem") or "")
    waiting = [line(one) for one in texts_of(found, "servers")]
    there = next((one for one in texts_of(found, "listening") if one.startswith("http")), "")
    for everywhere in ("//0.0.0.0:", "//[::]:"):  # no name that one can ask for
        there = there.replace(everywhere, "//localhost:")
    size, memory = count_of(found, "database_bytes"), count_of(found, "rss_bytes")
    return [
        ("daemon", f"version {found.get('version')}, process {found.get('pid')}"),
        ("up", span(number_of(found, "uptime_seconds"))),
        ("home", line(str(found.get("home")))),
        ("listening", line(", ".join(texts_of(found, "listening") or ["nowhere"]))),
        *([("openai", f"base URL {line(there)}/v1")] if there else []),
        ("model", line(str(found.get("model") or "none"))),
        ("policy", line(str(found.get("policy") or "none"))),
        *([("not taken", line(problem))] if problem else []),
        *([("mcp", f"{'; '.join(waiting)}: holdfast mcp list")] if waiting else []),
        ("tasks", f"{told or 'none'}; {lanes}"),
        ("size", f"{size / 1e6:.1f} MB on disk, {memory / 1e6:.0f} MB in memory"),
    ]
