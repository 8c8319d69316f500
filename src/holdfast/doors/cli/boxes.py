"""The command about the boxes in which commands run."""

from __future__ import annotations

from .out import short
from .reading import count_of, number_of, part_of, rows_of, text_of
from .stop import OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json

_HEAD = ("BOX", "KIND", "TASK", "AGENT", "STATE", "MEMORY", "PROCESSES", "CPU", "HEALTH", "FOLDER")


def listed(desk: Desk, given: Given) -> int:
    found = desk.daemon.get("/api/v1/boxes")
    if given.has("json"):
        desk.screen.json(found)
        return OK
    rows = [_row(one) for one in rows_of(found, "boxes")]
    if rows:
        desk.screen.table(_HEAD, rows)
    else:
        desk.screen.note("there is no box now: one is made when a task runs its first command")
    return OK


def _row(box: Json) -> tuple[str, ...]:
    stats, state = part_of(box, "stats"), text_of(box, "state")
    memory, processes = number_of(stats, "memory"), count_of(stats, "processes")
    seconds = number_of(stats, "cpu_seconds")
    idle = f" {number_of(box, 'idle_seconds'):.0f} s" if state == "idle" else ""
    return (
        text_of(box, "id"),
        text_of(box, "kind"),
        short(text_of(box, "owner")) or "-",
        text_of(box, "agent"),
        state + idle,
        f"{memory / (1 << 20):.0f} MiB" if memory >= 0 else "-",
        str(processes) if processes >= 0 else "-",
        f"{seconds:.1f} s" if seconds >= 0 else "-",
        text_of(part_of(stats, "health"), "state") or "-",
        text_of(box, "workspace"),
    )
