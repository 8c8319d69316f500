"""The pages of a ledger in the journal's file, written by its one writer in its commits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from holdfast.core.audit.fact import Fact
from holdfast.core.budget import Reservation
from holdfast.core.ids import Instant, canonical
from holdfast.core.message import Usage
from holdfast.ports.ledger import Cost, CostQuery, Group, Hold, Payer, Used

from .batch import Rows
from .connection import Connection, Value
from .entry import noted
from .ledger import Page
from .ledger_book import Charge, Place, Spot, Sums, Table, bounds
from .trail import Trail

T = TypeVar("T")

_NAMES: dict[Place, str] = {"team": "team", "agent": "agent", "session": "session"}
_GROUPS: dict[Group, str] = {
    "day": "strftime('%Y-%m-%d', at / 1000, 'unixepoch')",
    "week": "strftime('%G-W%V', at / 1000, 'unixepoch')",
    "month": "strftime('%Y-%m', at / 1000, 'unixepoch')",
    "agent": "agent",
    "team": "team",
    "model": "model",
    "role": "role",
    "task": "task",
    "session": "session",
}
_COLUMNS = """id, at, state, task, session, agent, team, "by", role, model, most_tokens, most_cost,
    cost, input, output, cache_read, cache_write, reasoning, saved"""
_COST = """
    count(*) FILTER (WHERE state = 'settled'),
    coalesce(sum(cost) FILTER (WHERE state = 'settled'), 0),
    coalesce(sum(most_cost) FILTER (WHERE state = 'doubtful'), 0),
    count(*) FILTER (WHERE state = 'doubtful'),
    coalesce(sum(most_cost) FILTER (WHERE state = 'held'), 0),
    count(*) FILTER (WHERE state = 'settled' AND cost IS NULL
                     OR state = 'doubtful' AND most_cost IS NULL),
    coalesce(sum(saved), 0), coalesce(sum(input), 0), coalesce(sum(output), 0),
    coalesce(sum(cache_read), 0), coalesce(sum(cache_write), 0), coalesce(sum(reasoning), 0)"""
_FIELDS = (
    *("calls", "cost", "doubtful", "doubtful_calls", "held", "unpriced"),
    *("saved", "input", "output", "cache_read", "cache_write", "reasoning"),
)


class Store(Protocol):
    """What the journal lends: its writer, and its readers in threads of their own."""

    @property
    def trail(self) -> Trail: ...

    async def write(self, rows: Rows) -> None: ...

    def later(self, rows: Rows) -> None: ...

    async def work(self, job: Callable[[Connection], T]) -> T: ...

    def look(self, ask: Callable[[Connection], T]) -> Awaitable[T]: ...


class SqlitePages:
    """Implements `Pages` in the file of a journal."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def reopen(self) -> int:
        return await self._store.work(_doubt)

    async def write(self, page: Page) -> None:
        await self._store.write(_rows(page))

    def later(self, page: Page) -> None:
        self._store.later(_rows(page))

    async def sums(self, table: Table) -> Sums:
        return await self._store.look(partial(_sums, table))

    async def charge(self, hold: str) -> Charge | None:
        sql = f"SELECT {_COLUMNS} FROM charge WHERE id = ?"  # noqa: S608 - our own column names
        rows = await self._store.look(lambda c: c.rows(sql, (hold,)))
        return _charge(rows[0]) if rows else None

    async def doubtful(self, limit: int) -> Sequence[Hold]:
        sql = f"""SELECT {_COLUMNS} FROM charge WHERE state = 'doubtful'
            ORDER BY at DESC, id DESC LIMIT ?"""  # noqa: S608 - as above
        rows = await self._store.look(lambda c: c.rows(sql, (limit,)))
        return tuple(_charge(row).hold for row in rows)

    async def top_up(self, spot: Spot, more: Used, by: str, once: str, at: Instant) -> bool:
        (place, per, since), of = spot
        values = (once, place, of, per, since, more.cost, more.tokens, more.calls, by, at)

        amount = canonical({"cost": more.cost, "tokens": more.tokens, "calls": more.calls})
        told = Fact(kind="budget.raised", at=at, by=by, subject=spot.key, after=amount)

        def add(connection: Connection) -> bool:
            sql = "INSERT INTO top_up VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING"
            with connection.transaction():
                connection.run(sql, values)
                if fresh := connection.changes() > 0:
                    self._store.trail.add(connection, noted(told))
            return fresh

        return await self._store.work(add)

    async def costs(self, query: CostQuery) -> Sequence[Cost]:
        return await self._store.look(partial(_costs, query))


def _doubt(connection: Connection) -> int:
    open_ones = connection.value("SELECT count(*) FROM charge WHERE state = 'held'")
    if open_ones:
        connection.run("UPDATE charge SET state = 'doubtful' WHERE state = 'held'")
    return open_ones


def _rows(page: Page) -> Rows:
    return Rows(
        charges={charge.hold.id: _row(charge) for charge in page.charges},
        gone=page.gone,
        warned=tuple((*spot.table, spot.of, percent, at) for spot, percent, at in page.warned),
    )


def _row(charge: Charge) -> tuple[Value, ...]:
    hold, usage = charge.hold, charge.usage
    payer, most = hold.payer, hold.most
    cost = usage.cost if charge.state == "settled" else None
    return (
        *(hold.id, hold.at, charge.state, payer.task, payer.session, payer.agent, payer.team),
        *(payer.by, payer.role, hold.model, most.tokens, most.cost, cost, usage.input),
        *(usage.output, usage.cache_read, usage.cache_write, usage.reasoning, usage.saved),
    )


def _charge(row: Sequence[Any]) -> Charge:
    hold, at, state, task, session, agent, team, by, role, model, tokens, most, cost, *rest = row
    given, taken, read, written, reasoning, saved = rest
    payer = Payer(task=task, session=session, agent=agent, team=team, by=by, role=role)
    return Charge(
        hold=Hold(
            id=hold, payer=payer, model=model, most=Reservation(tokens=tokens, cost=most), at=at
        ),
        state=state,
        usage=Usage(
            input=given,
            output=taken,
            cache_read=read,
            cache_write=written,
            reasoning=reasoning,
            cost=cost,
            saved=saved,
        ),
    )


def _sums(table: Table, connection: Connection) -> Sums:
    start, end = bounds(table)
    name = _NAMES.get(table.place, "''")
    sql = f"""
        SELECT {name}, state = 'doubtful',
          sum(coalesce(iif(state = 'settled', cost, most_cost), 0)),
          sum(iif(state = 'settled', input + output, most_tokens)), count(*)
        FROM charge WHERE at >= ? AND at < ? AND state <> 'held' GROUP BY 1, 2"""  # noqa: S608 - our own column names
    spent, doubtful = dict[str, Used](), dict[str, Used]()
    priced = table.place == "price"
    for of, doubted, cost, tokens, calls in () if priced else connection.rows(sql, (start, end)):
        used = Used(cost=cost, tokens=tokens, calls=calls)
        spent[of] = spent.get(of, Used()).plus(used)
        if doubted:
            doubtful[of] = used
    if name != "''":
        spent.pop("", None)
        doubtful.pop("", None)
    sql = """SELECT of, sum(cost), sum(tokens), sum(calls) FROM top_up
        WHERE scope = ? AND per = ? AND since = ? GROUP BY of"""
    raised = {
        of: Used(cost=cost, tokens=tokens, calls=calls)
        for of, cost, tokens, calls in connection.rows(sql, table)
    }
    sql = "SELECT of, percent FROM warned WHERE scope = ? AND per = ? AND since = ?"
    return Sums(spent, doubtful, raised, frozenset(connection.rows(sql, table)))


def _costs(query: CostQuery, connection: Connection) -> tuple[Cost, ...]:
    groups = [_GROUPS[by] for by in query.by]
    where, values = ["at >= ?", "at < ?"], list[Value]([query.since, query.until or 1 << 62])
    for name in Payer.__struct_fields__:
        if wanted := getattr(query.payer, name):
            used = "AND task <> ''" if name == "task" else ""
            where.append(f'"{name}" = ? {used}')
            values.append(wanted)
    by = ", ".join(str(n + 1) for n in range(len(groups)))
    sql = f"""SELECT {", ".join([*groups, _COST])} FROM charge
        WHERE {" AND ".join(where)} {f"GROUP BY {by} ORDER BY {by}" if by else ""}"""  # noqa: S608 - our own column names
    return tuple(
        Cost(group=tuple(row[: len(groups)]), **dict(zip(_FIELDS, row[len(groups) :], strict=True)))
        for row in connection.rows(sql, values)
    )
