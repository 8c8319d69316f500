"""The ledger: budgets are judged in memory, and what is at stake is written down first.

One process owns the store, so the sums of a period are read once and then kept. A hold joins them
before it is written, so that no other can take the same money meanwhile, and leaves them again if
the disk refuses it. What ends a hold counts at once: should it be lost, the disk still says that
the hold is open, which is the cautious side.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import NamedTuple, Protocol

import anyio
from msgspec.structs import replace

from holdfast.core.budget import dollars
from holdfast.core.error import NotFound, Refused, Unavailable
from holdfast.core.ids import Instant
from holdfast.core.message import Usage
from holdfast.ports.ledger import (
    Budget,
    Cost,
    CostQuery,
    Hold,
    Standing,
    Unpriced,
    Used,
    Warned,
)

from .ledger_book import Book, Charge, Spot, Sums, Table, since

_log = logging.getLogger("holdfast.ledger")


class Page(NamedTuple):
    """What is written together: charges as they are now, ids that are gone, thresholds told."""

    charges: tuple[Charge, ...] = ()
    gone: tuple[str, ...] = ()
    warned: tuple[tuple[Spot, int, Instant], ...] = ()


class Pages(Protocol):
    """Where a ledger is kept. Every method but `later` may raise `Unavailable`: nothing changed."""

    async def reopen(self) -> int:
        """What a process that is gone had set aside is in doubt from now on; how many calls."""
        ...

    async def write(self, page: Page) -> None:
        """Durable on return, with everything that was left for later."""
        ...

    def later(self, page: Page) -> None:
        """Write this with what comes next, at the latest with the last thing."""
        ...

    async def sums(self, table: Table) -> Sums: ...

    async def charge(self, hold: str) -> Charge | None: ...

    async def doubtful(self, limit: int) -> Sequence[Hold]: ...

    async def top_up(self, spot: Spot, more: Used, by: str, once: str, at: Instant) -> bool:
        """Whether it is new; a known `once` changes nothing."""
        ...

    async def costs(self, query: CostQuery) -> Sequence[Cost]: ...


class StoredLedger:
    """A `Ledger` over pages. Made by `open_ledger`."""

    def __init__(self, pages: Pages, now: Callable[[], Instant]) -> None:
        self._pages, self._now = pages, now
        self._book = Book()
        self._waiting: list[anyio.Event] = []
        self._reading, self._doubting = anyio.Lock(), anyio.Lock()
        self._gate: anyio.Event | None = None
        self._at_work = 0
        self._quiet: anyio.Event | None = None
        self._closed = False

    async def hold(self, hold: Hold) -> None:
        book = self._book
        while True:
            await self._know(book.needed(hold))
            if hold.id in book.open:
                raise Refused(f"{hold.id} is held already", code="hold_exists")
            if book.unknown(book.needed(hold)):
                continue
            if book.fits(hold):
                break
            await self._freed()
        charge = Charge(hold=hold, light=not book.at_stake(hold))
        book.move(None, charge)
        if charge.light:
            return
        try:
            await self._write(Page(charges=(charge,)))
        except Unavailable:
            book.move(charge, None)
            self._wake()
            raise

    async def settle(self, hold: str, usage: Usage) -> Sequence[Warned]:
        async with self._turn(hold):
            before = await self._charge(hold)
            most = before.hold.most.cost
            if most is not None and (usage.cost or 0) > most:
                text = "%s of %s cost %s, more than the %s that was set aside"
                real = dollars(usage.cost or 0)
                _log.warning(text, hold, before.hold.model, real, dollars(most))
            return await self._end(before, replace(before, state="settled", usage=usage))

    async def release(self, hold: str) -> None:
        async with self._turn(hold):
            await self._end(await self._charge(hold), None)

    async def lose(self, hold: str) -> Sequence[Warned]:
        async with self._turn(hold):
            before = await self._charge(hold)
            after = None if before.light else replace(before, state="doubtful")
            return await self._end(before, after)

    async def top_up(self, key: str, more: Used, *, by: str, once: str) -> Standing | None:
        self._refuse_if_closed()
        now = self._now()
        spot = self._book.spot(key, now)
        if spot.table.since != since(spot.table.per, now):
            return None
        # Nobody reads sums meanwhile: it is in them either way, once.
        async with self._reading:
            if await self._pages.top_up(spot, more, by, once, now):
                self._book.top_up(spot, more)
                _log.info("%s raised %s", by or "somebody", spot.key)
        self._wake()
        await self._know((spot.table,))
        return self._book.standing(spot)

    async def standings(self) -> Sequence[Standing]:
        now = self._now()
        while self._book.unknown(self._book.running(now)):
            await self._know(self._book.running(now))
        return self._book.standings(now)

    async def doubtful(self, limit: int = 50) -> Sequence[Hold]:
        await self._write(Page())
        return await self._pages.doubtful(limit)

    async def costs(self, query: CostQuery) -> Sequence[Cost]:
        await self._write(Page())
        return await self._pages.costs(query)

    def budgets(self, budgets: Sequence[Budget], unpriced: Unpriced = "ask") -> None:
        self._book.enforce(budgets, unpriced)
        self._wake()

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._wake()
            try:
                await self._write(Page())
            except Unavailable as error:
                _log.warning("the last settled calls stay in doubt: %s", error)

    def _turn(self, hold: str) -> AbstractAsyncContextManager[object]:
        """One doubt is ended after the other: between finding and ending one the disk is read."""
        return nullcontext() if hold in self._book.open else self._doubting

    async def _charge(self, hold: str) -> Charge:
        """The hold that is open, or was not settled before. Raises `NotFound`."""
        await self._passed()
        found = self._book.open.get(hold)
        if found is None:
            await self._write(Page())
            found = await self._pages.charge(hold)
            await self._passed()
        if found is None or found.state == "settled":
            what = "was settled already" if found else "is not known"
            raise NotFound(f"the call {hold} {what}", code="hold_not_open")
        return found

    async def _end(self, before: Charge, after: Charge | None) -> Sequence[Warned]:
        book = self._book
        book.move(before, after)
        crossed = book.crossed(before.hold) if after else ()
        for _, one in crossed:
            _log.warning("%s", one.text, extra={"code": "budget.warning"})
        page = Page(
            charges=(after,) if after else (),
            gone=() if after else (before.hold.id,),
            warned=tuple((spot, one.percent, self._now()) for spot, one in crossed),
        )
        self._wake()
        if not before.light:
            try:
                await self._write(page)
            except Unavailable as error:
                _log.warning("%s is written later: %s", before.hold.id, error)
                self._pages.later(page)
        elif after:
            self._pages.later(page)
        return tuple(one for _, one in crossed)

    async def _know(self, tables: Sequence[Table]) -> None:
        """Read the sums of what is not known yet, while nothing else changes them."""
        await self._passed()
        if not self._book.unknown(tables):
            return
        async with self._reading:
            if not self._book.unknown(tables):
                return
            self._gate = gate = anyio.Event()
            try:
                await self._all_written()
                await self._pages.write(Page())
                for table in self._book.unknown(tables):
                    self._book.learn(table, await self._pages.sums(table))
            finally:
                self._gate = None
                gate.set()

    async def _passed(self) -> None:
        """Nobody is reading sums. Between this and the next `await` the sums may be changed."""
        self._refuse_if_closed()
        while self._gate is not None:
            await self._gate.wait()
            self._refuse_if_closed()

    async def _all_written(self) -> None:
        while self._at_work:
            self._quiet = anyio.Event()
            await self._quiet.wait()

    async def _write(self, page: Page) -> None:
        # Shielded: a cancelled caller must not leave the memory beside the disk.
        self._at_work += 1
        try:
            with anyio.CancelScope(shield=True):
                await self._pages.write(page)
        finally:
            self._at_work -= 1
            if not self._at_work and self._quiet is not None:
                self._quiet.set()

    async def _freed(self) -> None:
        self._refuse_if_closed()
        bell = anyio.Event()
        self._waiting.append(bell)
        try:
            await bell.wait()
        finally:
            if bell in self._waiting:
                self._waiting.remove(bell)

    def _wake(self) -> None:
        """Those that wait for room look again, the first first."""
        waiting, self._waiting = self._waiting, []
        for bell in waiting:
            bell.set()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise Unavailable("the ledger is closed", code="store_closed")


@asynccontextmanager
async def open_ledger(pages: Pages, now: Callable[[], Instant]) -> AsyncGenerator[StoredLedger]:
    """The only ledger over these pages, closed on leaving."""
    ledger = StoredLedger(pages, now)
    if left := await pages.reopen():
        text = "%s calls were under way when the last process ended: they count in full"
        _log.warning(f"{text}; `holdfast budget list` shows them", left)
    try:
        yield ledger
    finally:
        with anyio.CancelScope(shield=True):
            await ledger.close()
