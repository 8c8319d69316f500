"""The routes about money: budgets and costs."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from msgspec import Struct
from pydantic import Field, model_validator

from holdfast.core.ids import Instant
from holdfast.ports.ledger import Cost, CostQuery, Group, Hold, Payer, Scope, Standing, Used
from holdfast.runtime import budgets, tasks

from .bodies import Body, Name, NoQuery, Nothing, Question
from .route import Ask

_GROUPS: tuple[str, ...] = get_args(Group)
_Money = Annotated[float, Field(ge=0, le=1_000_000)]


class Raise(Body):
    """What to add to a budget until its period ends."""

    key: Annotated[str, Field(max_length=500)] = Field(
        description="As `GET /api/v1/budgets` and a refusal name it; `price/<model>` allows "
        "a model without a known price until midnight UTC."
    )
    usd: _Money = Field(default=0.0, description="US dollars.")
    tokens: int = Field(default=0, ge=0, le=10**15)
    calls: int = Field(default=0, ge=0, le=10**12)
    once: Name = Field(default="", description="The same again changes nothing.")


class Settle(Body):
    """What a doubtful call really cost."""

    call: Name = Field(description="Its `id` in `GET /api/v1/budgets`.")
    usd: _Money = Field(description="US dollars; 0: nothing was paid.")


class CostAsk(Question):
    """Which costs to add up."""

    by: tuple[Group, ...] = Field(
        default=(), description=f"Groups, separated by commas: {', '.join(_GROUPS)}."
    )
    since: Name = Field(default="", description="today, week, month, or an ISO date or time.")
    until: Name = Field(default="", description="The same; not included.")
    task: Name = ""
    session: Name = ""
    agent: Name = ""
    team: Name = ""
    role: Name = ""

    @model_validator(mode="before")
    @classmethod
    def _split(cls, given: dict[str, Any]) -> dict[str, Any]:
        words = [word.strip() for word in str(given.get("by", "")).split(",")]
        return {**given, "by": [word for word in words if word]}


class Amount(Struct, frozen=True, kw_only=True):
    """Money, tokens and calls."""

    usd: float
    tokens: int
    calls: int


class Limit(Struct, frozen=True, kw_only=True):
    """The same as limits; null where there is none."""

    usd: float | None
    tokens: int | None
    calls: int | None


class BudgetStanding(Struct, frozen=True, kw_only=True):
    """A budget in its running period; `left` of it and `percent` used, of what is used up most.

    `doubtful` is a part of `used`, `held` is set aside for calls under way, `raised` is a part of
    `limit`.
    """

    key: str
    scope: Scope
    of: str
    per: str
    since: str
    limit: Limit
    raised: Amount
    used: Amount
    doubtful: Amount
    held: Amount
    left: Limit
    percent: float


class DoubtfulCall(Struct, frozen=True, kw_only=True):
    """A call whose answer never came: it may have been paid, at most `usd`."""

    id: str
    at: Instant
    model: str
    task: str
    session: str
    agent: str
    role: str
    usd: float | None
    tokens: int


class BudgetList(Struct, frozen=True, kw_only=True):
    """Every budget as it stands, and the calls in doubt."""

    budgets: tuple[BudgetStanding, ...]
    doubtful: tuple[DoubtfulCall, ...]


class Raised(Struct, frozen=True, kw_only=True):
    """The budget afterwards; null for a model that was allowed without a price."""

    key: str
    budget: BudgetStanding | None


class Settled(Struct, frozen=True, kw_only=True):
    """The doubt has ended."""

    call: str
    usd: float


class CostRow(Struct, frozen=True, kw_only=True):
    """What one group used; `saved_usd` is what reading from caches made cheaper."""

    group: dict[str, str]
    calls: int
    usd: float
    doubtful_usd: float
    doubtful_calls: int
    held_usd: float
    unpriced: int
    saved_usd: float
    input: int
    output: int
    cache_read: int
    cache_write: int
    reasoning: int


class CostPage(Struct, frozen=True, kw_only=True):
    """Costs by group, and all of them together."""

    since: Instant
    until: Instant | None
    rows: tuple[CostRow, ...]
    total: CostRow


async def budget_list(ask: Ask[NoQuery, Nothing]) -> BudgetList:
    rows = await budgets.standings(ask.house)
    doubtful = await budgets.doubtful(ask.house)
    return BudgetList(budgets=tuple(map(_row, rows)), doubtful=tuple(map(_doubt, doubtful)))


async def budget_raise(ask: Ask[NoQuery, Raise]) -> Raised:
    said = ask.body
    more = Used(cost=round(said.usd * 1e6), tokens=said.tokens, calls=said.calls)
    standing = await budgets.top_up(ask.house, said.key, more, by=ask.by, once=said.once)
    return Raised(key=standing.key if standing else said.key, budget=standing and _row(standing))


async def budget_settle(ask: Ask[NoQuery, Settle]) -> Settled:
    said = ask.body
    await budgets.settle(ask.house, said.call, round(said.usd * 1e6), by=ask.by)
    return Settled(call=said.call, usd=said.usd)


async def costs(ask: Ask[CostAsk, Nothing]) -> CostPage:
    wanted, house = ask.query, ask.house
    now = house.clock.now()
    query = CostQuery(
        by=wanted.by,
        since=budgets.moment(wanted.since, now) if wanted.since else 0,
        until=budgets.moment(wanted.until, now) if wanted.until else None,
        payer=Payer(
            task=await tasks.resolve(house, wanted.task) if wanted.task else "",
            session=wanted.session,
            agent=wanted.agent,
            team=wanted.team,
            role=wanted.role,
        ),
    )
    rows, total = await budgets.costs(house, query)
    return CostPage(
        since=query.since,
        until=query.until,
        rows=tuple(_cost(row, query.by) for row in rows),
        total=_cost(total, ()),
    )


def _row(standing: Standing) -> BudgetStanding:
    budget, raised = standing.budget, standing.raised
    limit = {
        kind: None if most is None else most + getattr(raised, kind)
        for kind, most in (
            ("cost", budget.cost),
            ("tokens", budget.tokens),
            ("calls", budget.calls),
        )
    }
    gone = standing.spent.plus(standing.held)
    left = {
        kind: None if most is None else max(0, most - getattr(gone, kind))
        for kind, most in limit.items()
    }
    parts = [
        100 * getattr(standing.spent, kind) / most if most else 100.0
        for kind, most in limit.items()
        if most is not None
    ]
    return BudgetStanding(
        key=standing.key,
        scope=budget.scope,
        of=standing.of or budget.of,
        per=budget.per,
        since=standing.since,
        limit=_limit(limit),
        raised=_amount(raised),
        used=_amount(standing.spent),
        doubtful=_amount(standing.doubtful),
        held=_amount(standing.held),
        left=_limit(left),
        percent=round(max(parts, default=0.0), 1),
    )


def _limit(limit: dict[str, int | None]) -> Limit:
    money = limit["cost"]
    usd = None if money is None else money / 1e6
    return Limit(usd=usd, tokens=limit["tokens"], calls=limit["calls"])


def _amount(used: Used) -> Amount:
    return Amount(usd=used.cost / 1e6, tokens=used.tokens, calls=used.calls)


def _doubt(hold: Hold) -> DoubtfulCall:
    payer, most = hold.payer, hold.most
    return DoubtfulCall(
        id=hold.id,
        at=hold.at,
        model=hold.model,
        task=payer.task,
        session=payer.session,
        agent=payer.agent,
        role=payer.role,
        usd=None if most.cost is None else most.cost / 1e6,
        tokens=most.tokens,
    )


def _cost(row: Cost, by: tuple[Group, ...]) -> CostRow:
    return CostRow(
        group=dict(zip(by, row.group, strict=True)),
        calls=row.calls,
        usd=row.cost / 1e6,
        doubtful_usd=row.doubtful / 1e6,
        doubtful_calls=row.doubtful_calls,
        held_usd=row.held / 1e6,
        unpriced=row.unpriced,
        saved_usd=row.saved / 1e6,
        input=row.input,
        output=row.output,
        cache_read=row.cache_read,
        cache_write=row.cache_write,
        reasoning=row.reasoning,
    )
