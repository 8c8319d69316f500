"""The pages of a ledger in memory, gone at exit. The fake for tests of everything above."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby

from msgspec.structs import replace

from holdfast.core.ids import Instant
from holdfast.ports.ledger import Cost, CostQuery, Group, Hold, Payer, Used

from .ledger import Page
from .ledger_book import Charge, Spot, Sums, Table, bounds, whose


class MemoryPages:
    """Keeps what is written as long as it is kept itself: a new ledger over it is a restart."""

    def __init__(self) -> None:
        self._charges: dict[str, Charge] = {}
        self._raised: dict[str, tuple[Spot, Used]] = {}
        self._warned: set[tuple[Spot, int]] = set()
        self._later: list[Page] = []

    async def reopen(self) -> int:
        self._later.clear()
        left = [charge for charge in self._charges.values() if charge.state == "held"]
        doubted = [replace(charge, state="doubtful") for charge in left]
        self._charges.update((charge.hold.id, charge) for charge in doubted)
        return len(left)

    async def write(self, page: Page) -> None:
        for one in (*self._later, page):
            self._charges.update((charge.hold.id, charge) for charge in one.charges)
            for gone in one.gone:
                self._charges.pop(gone, None)
            self._warned.update((spot, percent) for spot, percent, _ in one.warned)
        self._later.clear()

    def later(self, page: Page) -> None:
        self._later.append(page)

    async def sums(self, table: Table) -> Sums:
        start, end = bounds(table)
        spent, doubtful, raised = dict[str, Used](), dict[str, Used](), dict[str, Used]()
        for charge in self._charges.values():
            of = whose(table.place, charge.hold.payer)
            if of is None or charge.state == "held" or not start <= charge.hold.at < end:
                continue
            spent[of] = spent.get(of, Used()).plus(charge.counts)
            if charge.state == "doubtful":
                doubtful[of] = doubtful.get(of, Used()).plus(charge.counts)
        for spot, more in self._raised.values():
            if spot.table == table:
                raised[spot.of] = raised.get(spot.of, Used()).plus(more)
        warned = frozenset((spot.of, n) for spot, n in self._warned if spot.table == table)
        return Sums(spent, doubtful, raised, warned)

    async def charge(self, hold: str) -> Charge | None:
        return self._charges.get(hold)

    async def doubtful(self, limit: int) -> Sequence[Hold]:
        found = [one.hold for one in self._charges.values() if one.state == "doubtful"]
        return tuple(sorted(found, key=lambda hold: (hold.at, hold.id), reverse=True)[:limit])

    async def top_up(self, spot: Spot, more: Used, by: str, once: str, at: Instant) -> bool:
        if once in self._raised:
            return False
        self._raised[once] = (spot, more)
        return True

    async def costs(self, query: CostQuery) -> Sequence[Cost]:
        wanted = [one for one in self._charges.values() if _is_wanted(one.hold, query)]

        def group(charge: Charge) -> tuple[str, ...]:
            return tuple(_grouped(charge.hold, by) for by in query.by)

        rows = [_cost(key, list(all_)) for key, all_ in groupby(sorted(wanted, key=group), group)]
        return tuple(rows) if rows or query.by else (Cost(),)


def _is_wanted(hold: Hold, query: CostQuery) -> bool:
    if hold.at < query.since or (query.until is not None and hold.at >= query.until):
        return False
    fields = Payer.__struct_fields__
    return all(
        not (wanted := getattr(query.payer, name)) or getattr(hold.payer, name) == wanted
        for name in fields
    )


def _grouped(hold: Hold, by: Group) -> str:
    day = datetime.fromtimestamp(hold.at // 1000, UTC)
    match by:
        case "day":
            return f"{day:%Y-%m-%d}"
        case "month":
            return f"{day:%Y-%m}"
        case "week":
            return f"{day:%G-W%V}"
        case "model":
            return hold.model
        case _:
            return str(getattr(hold.payer, by))


def _cost(group: tuple[str, ...], charges: Sequence[Charge]) -> Cost:
    settled = [one for one in charges if one.state == "settled"]
    doubtful = [one for one in charges if one.state == "doubtful"]
    held = [one for one in charges if one.state == "held"]
    used = [one.usage for one in settled]
    unpriced = sum(u.cost is None for u in used) + sum(d.hold.most.cost is None for d in doubtful)
    return Cost(
        group=group,
        calls=len(settled),
        cost=sum(u.cost or 0 for u in used),
        doubtful=sum(one.hold.most.cost or 0 for one in doubtful),
        doubtful_calls=len(doubtful),
        held=sum(one.hold.most.cost or 0 for one in held),
        unpriced=unpriced,
        saved=sum(u.saved for u in used),
        input=sum(u.input for u in used),
        output=sum(u.output for u in used),
        cache_read=sum(u.cache_read for u in used),
        cache_write=sum(u.cache_write for u in used),
        reasoning=sum(u.reasoning for u in used),
    )
