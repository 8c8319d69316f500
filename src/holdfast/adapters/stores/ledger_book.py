"""The arithmetic of budgets, in memory: what fits, what is used, which threshold was crossed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import Literal, NamedTuple

from msgspec import Struct

from holdfast.core.budget import Reservation, dollars
from holdfast.core.error import Invalid
from holdfast.core.ids import Instant
from holdfast.core.message import Usage
from holdfast.ports.ledger import (
    Budget,
    Hold,
    OverBudget,
    Payer,
    Period,
    Standing,
    Unpriced,
    Used,
    Warned,
)

_DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1).toordinal()
_KEY = re.compile(
    r"(?:installation|(?P<scope>team|agent|session)/(?P<of>.+?))"
    r"/(?:(?P<per>day|month)(?:/(?P<since>[\d-]+))?|total)"
)

Place = Literal["installation", "team", "agent", "session", "price"]
NOTHING = Used()


class Table(NamedTuple):
    """All that is known of one scope in one period: `since` is 2026-11-21, 2026-11 or empty."""

    place: Place
    per: Period
    since: str


class Spot(NamedTuple):
    """One line of a table: what one budget, or one allowed price, is about."""

    table: Table
    of: str

    @property
    def key(self) -> str:
        place, per, since = self.table
        return "/".join(part for part in (place, self.of, per, since) if part)


class Charge(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One try of one call, as it stands. `light`: nothing is at stake before it is settled."""

    hold: Hold
    state: Literal["held", "settled", "doubtful"] = "held"
    usage: Usage = Usage()
    light: bool = False

    @property
    def counts(self) -> Used:
        """What it takes from a budget now."""
        if self.state == "settled":
            return Used(cost=self.usage.cost or 0, tokens=self.usage.tokens, calls=1)
        return _need(self.hold.most)


class Sums(NamedTuple):
    """What a store knows of a table: by name what is spent, what of it is doubtful, what was added;
    and the thresholds that were told."""

    spent: Mapping[str, Used]
    doubtful: Mapping[str, Used]
    raised: Mapping[str, Used]
    warned: frozenset[tuple[str, int]]


class _Line:
    """The sums of one name in one period."""

    __slots__ = ("doubtful", "held", "raised", "spent", "warned")

    def __init__(self) -> None:
        self.spent = self.doubtful = self.held = self.raised = NOTHING
        self.warned = set[int]()

    def add(self, charge: Charge) -> None:
        if charge.state == "held":
            self.held = self.held.plus(charge.counts)
            return
        self.spent = self.spent.plus(charge.counts)
        if charge.state == "doubtful":
            self.doubtful = self.doubtful.plus(charge.counts)

    def take(self, charge: Charge) -> None:
        if charge.state == "held":
            self.held = self.held.minus(charge.counts)
            return
        self.spent = self.spent.minus(charge.counts)
        if charge.state == "doubtful":
            self.doubtful = self.doubtful.minus(charge.counts)


class Book:
    """The budgets in force, the open holds, and the sums of the periods that matter now."""

    def __init__(self) -> None:
        self.open: dict[str, Charge] = {}
        self._budgets: dict[tuple[Place, str, Period], Budget] = {}
        self._pairs: tuple[tuple[Place, Period], ...] = ()
        self._unpriced: Unpriced = "ask"
        self._tables: dict[Table, dict[str, _Line]] = {}

    def enforce(self, budgets: Sequence[Budget], unpriced: Unpriced) -> None:
        self._budgets = {(b.scope, _of(b), b.per): b for b in budgets}
        self._pairs = tuple(dict.fromkeys((b.scope, b.per) for b in budgets))
        self._unpriced = unpriced
        wanted = {*self._pairs, ("price", "day")}
        self._tables = {t: lines for t, lines in self._tables.items() if t[:2] in wanted}

    def running(self, now: Instant) -> tuple[Table, ...]:
        """The tables of all budgets in the periods of `now`."""
        return tuple(Table(place, per, since(per, now)) for place, per in self._pairs)

    def unknown(self, tables: Sequence[Table]) -> tuple[Table, ...]:
        return tuple(table for table in tables if table not in self._tables)

    def needed(self, hold: Hold) -> tuple[Table, ...]:
        """The tables without which it cannot be judged."""
        if not self._pairs and hold.most.cost is not None:
            return ()
        tables = tuple(spot.table for spot, _ in self._applying(hold.payer, hold.at))
        return tables if hold.most.cost is not None else (*tables, _price(hold).table)

    def learn(self, table: Table, sums: Sums) -> None:
        """Begin a table with what is stored, and the holds that are open. Older periods go."""
        older = [one for one in self._tables if one[:2] == table[:2] and one.since < table.since]
        for one in older:
            del self._tables[one]
        lines = self._tables[table] = {}
        for of, used in sums.spent.items():
            _line(lines, of).spent = used
        for of, used in sums.doubtful.items():
            _line(lines, of).doubtful = used
        for of, used in sums.raised.items():
            _line(lines, of).raised = used
        for of, percent in sums.warned:
            _line(lines, of).warned.add(percent)
        for charge in self.open.values():
            if (of := _name(table, charge.hold)) is not None:
                _line(lines, of).add(charge)

    def at_stake(self, hold: Hold) -> bool:
        """Whether it may cost something, or a budget counts it though it does not."""
        return hold.most.cost != 0 or any(
            budget.tokens is not None or budget.calls is not None
            for _, budget in self._applying(hold.payer, hold.at)
        )

    def fits(self, hold: Hold) -> bool:
        """Whether there is room now; False: there will be, when calls under way have ended.

        Raises `OverBudget` when there is none even then.
        """
        if hold.most.cost is None:
            self._refuse_unpriced(hold)
        need, room = _need(hold.most), True
        for spot, budget in self._applying(hold.payer, hold.at):
            line = self._tables[spot.table].get(spot.of)
            if line is None:
                line = _Line()
            over = _over(budget, line, need)
            if over:
                raise _refusal(spot, budget, line, need)
            room = room and not _over(budget, line, need, line.held)
        return room

    def move(self, before: Charge | None, after: Charge | None) -> None:
        """A charge has become another one; None: it is not there yet, or any more."""
        one = after or before
        if one is None:
            return
        for table, lines in self._tables.items():
            of = _name(table, one.hold)
            if of is None:
                continue
            line = _line(lines, of)
            if before is not None:
                line.take(before)
            if after is not None:
                line.add(after)
        if after is not None and after.state == "held":
            self.open[after.hold.id] = after
        else:
            self.open.pop(one.hold.id, None)

    def crossed(self, hold: Hold) -> tuple[tuple[Spot, Warned], ...]:
        """The thresholds that were crossed and not told yet: they are told now."""
        found: list[tuple[Spot, Warned]] = []
        for spot, budget in self._applying(hold.payer, hold.at):
            line = self._tables.get(spot.table, {}).get(spot.of)
            if line is None:
                continue
            for percent in budget.warn:
                text = _crossing(spot, budget, line, percent)
                if text and percent not in line.warned:
                    line.warned.add(percent)
                    found.append((spot, Warned(key=spot.key, percent=percent, text=text)))
        return tuple(found)

    def spot(self, key: str, now: Instant) -> Spot:
        """What a key names; without a period, the running one. Raises `Invalid`."""
        if key.startswith("price/") and key != "price/":
            return Spot(Table("price", "day", since("day", now)), key.removeprefix("price/"))
        found = _KEY.fullmatch(key)
        if found is not None and found["of"] == "*":
            name = f"like {key.replace('*', 'NAME', 1)}"
            hint = "`[[budget]]` in the configuration changes what all may use"
            raise Invalid(f"{key} is nobody's: name one, {name}", code="unknown_budget", hint=hint)
        if found is not None:
            place: Place = found["scope"] or "installation"  # pyright: ignore[reportAssignmentType]
            per: Period = found["per"] or "total"  # pyright: ignore[reportAssignmentType]
            spot = Spot(Table(place, per, found["since"] or since(per, now)), found["of"] or "")
            if self._budget(spot) is not None:
                return spot
        raise Invalid(
            f"there is no budget {key}",
            code="unknown_budget",
            hint="`holdfast budget list` shows the keys of all",
        )

    def top_up(self, spot: Spot, more: Used) -> None:
        if spot.table in self._tables:
            line = _line(self._tables[spot.table], spot.of)
            line.raised = line.raised.plus(more)

    def standing(self, spot: Spot) -> Standing | None:
        """How it stands, as far as its table is known."""
        budget, lines = self._budget(spot), self._tables.get(spot.table)
        if budget is None or lines is None:
            return None
        line = lines.get(spot.of) or _Line()
        return Standing(
            key=spot.key,
            budget=budget,
            of=spot.of,
            since=spot.table.since,
            spent=line.spent,
            doubtful=line.doubtful,
            held=line.held,
            raised=line.raised,
        )

    def standings(self, now: Instant) -> tuple[Standing, ...]:
        """Every budget with a name, and everyone whom a budget for all has counted."""
        found: dict[str, Standing] = {}
        for (place, name, per), budget in self._budgets.items():
            table = Table(place, per, since(per, now))
            for of in sorted(self._tables.get(table, {})) if name == "*" else [name]:
                if standing := self.standing(Spot(table, of)):
                    found.setdefault(standing.key, standing)
            spot = Spot(table, name)
            if name == "*" and not any(s.budget is budget for s in found.values()):
                found[spot.key] = Standing(key=spot.key, budget=budget, of=name, since=table.since)
        return tuple(found.values())

    def _applying(self, payer: Payer, at: Instant) -> Iterator[tuple[Spot, Budget]]:
        for place, per in self._pairs:
            of = whose(place, payer)
            if of is None:
                continue
            spot = Spot(Table(place, per, since(per, at)), of)
            budget = self._budget(spot)
            if budget is not None:
                yield spot, budget

    def _budget(self, spot: Spot) -> Budget | None:
        (place, per, _), of = spot
        return self._budgets.get((place, of, per)) or self._budgets.get((place, "*", per))

    def _refuse_unpriced(self, hold: Hold) -> None:
        spot = _price(hold)
        if self._tables[spot.table].get(spot.of) is not None:
            return
        money = any(b.cost is not None for _, b in self._applying(hold.payer, hold.at))
        if self._unpriced == "allow" and not money:
            return
        key, final = f"price/{hold.model}", self._unpriced == "deny"
        allow = f"; or `holdfast budget raise {key}` allows it until 00:00 UTC"
        raise OverBudget(
            f"no price is known for {hold.model}, so no budget can hold for it",
            key=key,
            short=Used(calls=1),
            final=final,
            hint=f'set one in [models.price."{hold.model}"]{"" if final else allow}',
        )


@lru_cache(maxsize=64)
def _of_day(number: int, per: Period) -> str:
    whole = date.fromordinal(_EPOCH + number).isoformat()
    return whole if per == "day" else whole[:7]


def since(per: Period, at: Instant) -> str:
    """The name of the period that `at` is in, by the calendar of UTC."""
    return "" if per == "total" else _of_day(at // _DAY_MS, per)


def bounds(table: Table) -> tuple[Instant, Instant]:
    """Its first moment, and the first after it."""
    if table.per == "total":
        return 0, 1 << 62
    year, month, day = (int(part) for part in (*table.since.split("-"), "1")[:3])
    first = date(year, month, day).toordinal()
    if table.per == "day":
        end = first + 1
    else:
        end = date(year + month // 12, month % 12 + 1, 1).toordinal()
    return (first - _EPOCH) * _DAY_MS, (end - _EPOCH) * _DAY_MS


def _of(budget: Budget) -> str:
    return "" if budget.scope == "installation" else budget.of


def _price(hold: Hold) -> Spot:
    return Spot(Table("price", "day", since("day", hold.at)), hold.model)


def _name(table: Table, hold: Hold) -> str | None:
    """Whose line in this table a charge belongs to; None: it does not belong there."""
    if table.place == "price" or since(table.per, hold.at) != table.since:
        return None
    return whose(table.place, hold.payer)


def whose(place: Place, payer: Payer) -> str | None:
    match place:
        case "installation":
            return ""
        case "team":
            return payer.team or None
        case "agent":
            return payer.agent or None
        case "session":
            return payer.session or None
        case "price":
            return None


def _line(lines: dict[str, _Line], of: str) -> _Line:
    found = lines.get(of)
    if found is None:
        found = lines[of] = _Line()
    return found


def _need(most: Reservation) -> Used:
    return Used(cost=most.cost or 0, tokens=most.tokens, calls=1)


def _kinds(budget: Budget, line: _Line) -> Iterator[tuple[str, int]]:
    """The limits of a budget, with what was added to them."""
    if budget.cost is not None:
        yield "cost", budget.cost + line.raised.cost
    if budget.tokens is not None:
        yield "tokens", budget.tokens + line.raised.tokens
    if budget.calls is not None:
        yield "calls", budget.calls + line.raised.calls


def _over(budget: Budget, line: _Line, need: Used, held: Used = NOTHING) -> dict[str, int]:
    """By how much each limit would be exceeded. What needs nothing exceeds nothing."""
    found: dict[str, int] = {}
    for kind, limit in _kinds(budget, line):
        wanted: int = getattr(need, kind)
        beyond = getattr(line.spent, kind) + getattr(held, kind) + wanted - limit
        if wanted and beyond > 0:
            found[kind] = beyond
    return found


def _refusal(spot: Spot, budget: Budget, line: _Line, need: Used) -> OverBudget:
    parts = [
        f"{_title(kind)}: {_amount(kind, getattr(line.spent, kind))} used, "
        f"{_amount(kind, getattr(line.held, kind))} set aside, "
        f"up to {_amount(kind, getattr(need, kind))} needed, limit {_amount(kind, limit)}"
        for kind, limit in _kinds(budget, line)
        if kind in _over(budget, line, need)
    ]
    short = Used(**_over(budget, line, need, line.held))
    more = f" {dollars(short.cost)[1:]}" if short.cost else ""
    more += f" --tokens {short.tokens}" if short.tokens else ""
    more += f" --calls {short.calls}" if short.calls else ""
    again = {"day": "; a new day begins at 00:00 UTC", "month": "; a new month begins it anew"}
    return OverBudget(
        f"the budget {spot.key} does not allow it: {'; '.join(parts)}",
        key=spot.key,
        short=short,
        budget=budget,
        hint=f"`holdfast budget raise {spot.key}{more}`{again.get(budget.per, '')}",
    )


def _crossing(spot: Spot, budget: Budget, line: _Line, percent: int) -> str:
    """What to say when `percent` of a limit are used; empty when they are not."""
    for kind, limit in _kinds(budget, line):
        spent: int = getattr(line.spent, kind)
        if spent and spent * 100 >= percent * limit:
            used = f"{_amount(kind, spent)} of {_amount(kind, limit)}"
            return f"{percent} % of the budget {spot.key} are used: {used}"
    return ""


def _title(kind: str) -> str:
    return "money" if kind == "cost" else kind


def _amount(kind: str, number: int) -> str:
    return dollars(number) if kind == "cost" else str(number)
