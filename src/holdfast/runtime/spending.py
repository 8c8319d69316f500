"""What each model used since the daemon began, without adding up all of it every time."""

from __future__ import annotations

from collections.abc import Mapping

import anyio

from holdfast.core.ids import Instant
from holdfast.ports.ledger import Cost, CostQuery, Ledger

_HOUR = 3_600_000


class Spending:
    """Asks the ledger for the last hours only, and remembers what was before."""

    def __init__(self, ledger: Ledger, since: Instant) -> None:
        self._ledger, self._since = ledger, since
        self._before: Mapping[str, Cost] = {}
        self._turn = anyio.Lock()

    async def by_model(self, now: Instant) -> Mapping[str, Cost]:
        """Tokens and settled money by model. Calls are over within an hour and change no more."""
        async with self._turn:
            if now - self._since > 2 * _HOUR:
                done = await self._asked(self._since, now - _HOUR)
                self._before, self._since = _sums(self._before, done), now - _HOUR
            return _sums(self._before, await self._asked(self._since, None))

    async def _asked(self, since: Instant, until: Instant | None) -> Mapping[str, Cost]:
        query = CostQuery(by=("model",), since=since, until=until)
        return {row.group[0]: row for row in await self._ledger.costs(query)}


def _sums(one: Mapping[str, Cost], other: Mapping[str, Cost]) -> Mapping[str, Cost]:
    return {name: plus(one.get(name), other.get(name)) for name in sorted({*one, *other})}


def plus(*costs: Cost | None) -> Cost:
    """What is only used up more and more, added up."""
    some = [cost for cost in costs if cost is not None]
    return Cost(
        cost=sum(one.cost for one in some),
        calls=sum(one.calls for one in some),
        unpriced=sum(one.unpriced for one in some),
        input=sum(one.input for one in some),
        output=sum(one.output for one in some),
        cache_read=sum(one.cache_read for one in some),
        cache_write=sum(one.cache_write for one in some),
        reasoning=sum(one.reasoning for one in some),
    )
