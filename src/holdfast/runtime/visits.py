"""Who reached what."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from msgspec.structs import replace

from holdfast.core.egress import host_of
from holdfast.core.error import NotAllowed
from holdfast.ports.egress import Visit, VisitQuery

from . import tasks
from .house import House


async def visits(house: House, query: VisitQuery) -> Sequence[Visit]:
    """Newest first. `task` may be cut short; `host` is looked for in its one spelling."""
    if query.task:
        query = replace(query, task=await tasks.resolve(house, query.task))
    with suppress(NotAllowed):  # What was refused may have been no name at all.
        query = replace(query, host=host_of(query.host) if query.host else "")
    return await house.visits.query(query)
