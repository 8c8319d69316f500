"""The route about the way out: who reached what."""

from __future__ import annotations

from msgspec import Struct
from pydantic import Field

from holdfast.ports.egress import Visit, VisitQuery
from holdfast.runtime.visits import visits

from .bodies import Name, Nothing, Question
from .route import Ask


class VisitAsk(Question):
    """Which requests to list."""

    task: Name = ""
    agent: Name = ""
    host: str = Field(default="", max_length=1000)
    refused: bool = Field(default=False, description="Only those that were refused or failed.")
    limit: int = Field(default=50, ge=1, le=500)
    before: Name = Field(default="", description="The `next` of the page before.")


class VisitPage(Struct, frozen=True, kw_only=True):
    """Requests to the outside, newest first; `next` is null on the last page."""

    visits: tuple[Visit, ...]
    next: str | None = None


async def visit_list(ask: Ask[VisitAsk, Nothing]) -> VisitPage:
    wanted = ask.query
    query = VisitQuery(
        task=wanted.task,
        agent=wanted.agent,
        host=wanted.host,
        refused=wanted.refused,
        limit=wanted.limit + 1,
        before=wanted.before,
    )
    found = tuple(await visits(ask.house, query))
    rows = found[: wanted.limit]
    return VisitPage(visits=rows, next=rows[-1].id if len(found) > len(rows) else None)
