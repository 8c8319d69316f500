"""Where the money went, how the budgets stand, and what a person changes about them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from holdfast.core.audit.fact import Fact
from holdfast.core.budget import dollars
from holdfast.core.command import ResumeAsking
from holdfast.core.error import Invalid, NotFound, Refused
from holdfast.core.ids import Instant, TaskId
from holdfast.core.message import Usage
from holdfast.core.task import TOP_UP
from holdfast.engine.record import Recorder
from holdfast.ports.journal import Journal, Query
from holdfast.ports.ledger import Cost, CostQuery, Hold, Standing, Used

from .house import House

_log = logging.getLogger("holdfast.ledger")
_WEEK = timedelta(days=6)
_PAGE = 200
_ALL = 1 << 31
PRICE = "price/"


async def standings(house: House) -> Sequence[Standing]:
    """Every budget as it stands now."""
    return await house.ledger.standings()


async def doubtful(house: House) -> Sequence[Hold]:
    """The newest calls that may have been paid, though their answer never came."""
    return await house.ledger.doubtful()


async def top_up(house: House, key: str, more: Used, *, by: str, once: str) -> Standing | None:
    """Add to a budget until its period ends; for `price/<model>` allow it until midnight UTC."""
    if more == Used() and not key.startswith(PRICE):
        raise Invalid("say by how much: money, tokens or calls", code="nothing_to_add")
    standing = await house.ledger.top_up(key, more, by=by, once=once or house.clock.new_id("raise"))
    if standing is None and not key.startswith(PRICE):
        raise Refused(
            f"the period of {key} is over: there is nothing to raise any more", code="period_over"
        )
    await resume(house.journal, house.recorder, standing.key if standing else key)
    return standing


async def resume(journal: Journal, recorder: Recorder, key: str = "") -> None:
    """Let every task go on that waits for money under `key`, or under any budget."""
    before: TaskId | None = None
    while rows := await journal.query(Query(asked=True, limit=_PAGE, before=before)):
        for row in rows:
            if any(asked.tool == TOP_UP for asked in row.questions):
                with suppress(Refused):
                    await recorder.tell(row.id, ResumeAsking(budget=key))
        before = rows[-1].id


async def settle(house: House, call: str, cost: int, *, by: str) -> None:
    """End the doubt about a call with what it really cost, in micro-dollars; 0: nothing was paid.

    Raises `NotFound` for a call that is not in doubt: one that is under way is ended by its answer.
    """
    doubts = await house.ledger.doubtful(_ALL)
    doubt = next((one for one in doubts if one.id == call), None)
    if doubt is None:
        hint = "`holdfast budget list` names those that are"
        raise NotFound(f"no call {call} is in doubt", code="hold_not_open", hint=hint)
    told = Fact(kind="budget.settled", at=house.clock.now(), by=by, subject=call, after=str(cost))
    await house.audit.append(told)
    if cost:
        await house.ledger.settle(call, Usage(input=doubt.most.tokens, cost=cost))
    else:
        await house.ledger.release(call)
    await resume(house.journal, house.recorder)
    _log.info("%s says that %s cost %s", by or "somebody", call, dollars(cost))


async def costs(house: House, query: CostQuery) -> tuple[Sequence[Cost], Cost]:
    """One row per group, and the sum of all."""
    rows = await house.ledger.costs(query)
    if not query.by:
        return (), rows[0]
    whole = CostQuery(since=query.since, until=query.until, payer=query.payer)
    return rows, (await house.ledger.costs(whole))[0]


def moment(text: str, now: Instant) -> Instant:
    """`today`, `week` (seven days with today), `month` or an ISO date, as its first moment in UTC.

    Raises `Invalid`.
    """
    today = datetime.fromtimestamp(now / 1000, UTC).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    match text:
        case "today":
            begin = today
        case "week":
            begin = today - _WEEK
        case "month":
            begin = today.replace(day=1)
        case _:
            begin = _parsed(text)
    return round(begin.timestamp() * 1000)


def _parsed(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        hint = "for example 2026-11-21, 2026-11-21T09:00:00+01:00, today, week or month"
        raise Invalid(f"{text!r} is not a day or a time", code="bad_time", hint=hint) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
