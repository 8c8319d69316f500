"""The command about boxes: which there are."""

from __future__ import annotations

from .out import short
from .reading import count_of, number_of, part_of, rows_of, text_of
from .stop import OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json

_HEAD = ("BOX", "KIND", "STATE", "AGENT", "OWNER", "MEMORY", "PROCESSES", "WORKSPACE")


def listing(desk: Desk, given: Given) -> int:
    found = desk.daemon.get("/v1/boxes")
    if given.has("json"):
        desk.screen.json(found)
        return OK
    rows = [_row(one) for one in rows_of(found, "boxes")]
    if rows:
        desk.screen.table(_HEAD, rows)
    else:
        desk.screen.note("there are no boxes now: one is made when a command needs it")
    return OK


def _row(box: Json) -> tuple[str, ...]:
    stats = part_of(box, "stats")
    memory, processes = count_of(stats, "memory"), count_of(stats, "processes")
    state = text_of(box, "state")
    if state == "idle":
        state = f"idle {number_of(box, 'idle_seconds'):.0f} s"
    if health := text_of(stats, "health"):
        state = f"{state}, {health}"
    return (
        text_of(box, "id"),
        text_of(box, "kind"),
        state,
        text_of(box, "agent"),
        short(text_of(box, "owner")) or "-",
        f"{memory / (1 << 20):.1f} MiB" if memory >= 0 else "?",
        str(processes) if processes >= 0 else "?",
        text_of(box, "workspace"),
    )
