"""The one writer: a thread that commits whatever waits, all at once, with one sync.

Everything here but `_run` and what it calls lives on the event loop. An append joins the waiting
ones; at the end of the loop's present round they go to the thread together, and while it writes
and syncs, the next batch gathers. One call back into the loop answers a whole batch.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar, cast

import anyio
import anyio.to_thread
import apsw

from holdfast.core.error import HoldfastError, Unavailable
from holdfast.ports.journal import Cursor

from . import batch
from .batch import Rows
from .connection import Connection
from .entry import Entry
from .trail import Trail
from .trouble import trouble

_MOST = 1024

T = TypeVar("T")
_Waiting = tuple[Entry | Rows, asyncio.Future[Any] | None]


class _Batch(NamedTuple):
    orders: Sequence[_Waiting]


class _Job(NamedTuple):
    work: Callable[[Connection], Any]
    done: asyncio.Future[Any]


class Writer:
    """Owns the only connection that writes. Made on the event loop; must be closed."""

    def __init__(
        self, connection: Connection, path: Path, trail: Trail, ring: Callable[[], None]
    ) -> None:
        self._connection, self._path = connection, path
        self._trail, self._ring = trail, ring
        self._loop = asyncio.get_running_loop()
        self._orders: SimpleQueue[_Batch | _Job | None] = SimpleQueue()
        self._waiting: list[_Waiting] = []
        self._later: list[Rows] = []
        self._jobs: set[asyncio.Future[Any]] = set()
        self._writing: Sequence[_Waiting] = ()
        self._scheduled = self._closing = self._gone = False
        self._ends = batch.Ends(connection)
        self._thread = threading.Thread(target=self._run, name="holdfast-journal")
        self._thread.start()

    async def append(self, made: Entry) -> Cursor:
        return await self._ordered(made)

    async def write(self, rows: Rows) -> None:
        """What the ledger has to write, in the same commits as everything else."""
        await self._ordered(rows)

    def later(self, rows: Rows) -> None:
        """Written with the next commit, or on closing; whatever fails meanwhile."""
        self._later.append(rows)

    async def _ordered(self, made: Entry | Rows) -> Any:
        self._refuse_if_closed()
        done = self._loop.create_future()
        self._waiting.append((made, done))
        if not self._scheduled and not self._writing:
            self._scheduled = True
            self._loop.call_soon(self._send)
        return await done

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Do something else with the writing connection, between two batches."""
        self._refuse_if_closed()
        done: asyncio.Future[T] = self._loop.create_future()
        self._jobs.add(done)
        self._orders.put(_Job(work, done))
        return await done

    async def close(self) -> None:
        """Let everything that waits finish, end the thread, close the connection."""
        self._closing = True
        if not self._writing:
            self._send()
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._thread.join)

    def _refuse_if_closed(self) -> None:
        if self._closing or self._gone:
            raise Unavailable(f"{self._path} is closed", code="store_closed")

    def _send(self) -> None:
        self._scheduled = False
        if self._writing:
            return
        if not self._waiting and not (self._closing and self._later):
            if self._closing:
                self._orders.put(None)
            return
        later: list[_Waiting] = [(rows, None) for rows in self._later]
        self._later = []
        self._writing, self._waiting = later + self._waiting[:_MOST], self._waiting[_MOST:]
        self._orders.put(_Batch(self._writing))

    def _answer(self, results: Sequence[batch.Result]) -> None:
        answered, self._writing = self._writing, ()
        for (order, done), result in zip(answered, results, strict=True):
            if done is not None:
                _settle(done, result)
            elif isinstance(result, HoldfastError) and not self._closing:
                self._later.append(cast("Rows", order))
        self._ring()
        # After the tasks that were just woken have had their turn, so that what they append
        # next goes into the same batch.
        self._scheduled = True
        self._loop.call_soon(self._send)

    def _answer_job(self, done: asyncio.Future[Any], result: Any) -> None:
        self._jobs.discard(done)
        _settle(done, result)
        self._ring()

    def _end(self) -> None:
        """The thread has stopped. If that was not asked for, nobody may wait for it any longer."""
        self._gone = True
        ordered = (done for _, done in (*self._writing, *self._waiting) if done is not None)
        for done in (*ordered, *self._jobs):
            _settle(done, Unavailable(f"{self._path}: the writer has stopped", code="store_gone"))
        self._writing, self._waiting = (), []

    def _run(self) -> None:
        try:
            while (order := self._orders.get()) is not None:
                match order:
                    case _Batch(orders):
                        results = self._commit([made for made, _ in orders])
                        self._loop.call_soon_threadsafe(self._answer, results)
                    case _Job(work, done):
                        result = self._perform(work)
                        self._loop.call_soon_threadsafe(self._answer_job, done, result)
        finally:
            self._connection.close()
            self._loop.call_soon_threadsafe(self._end)

    def _commit(self, orders: Sequence[Entry | Rows]) -> Sequence[batch.Result]:
        appends = [order for order in orders if isinstance(order, Entry)]
        pages = [order for order in orders if isinstance(order, Rows)]
        try:
            results, accepted = self._ends.judge(appends)
            batch.write(self._connection, self._trail, accepted, pages)
        except (apsw.ConstraintError, OverflowError, UnicodeEncodeError) as error:
            self._forget()
            if len(orders) > 1:  # One of them is wrong: the others need not suffer.
                return [self._commit([order])[0] for order in orders]
            return [trouble(error, self._path)]
        except apsw.Error as error:
            self._forget()
            batch.cover(self._connection)
            return [trouble(error, self._path) for _ in orders]
        self._ends.learn(accepted)
        if not pages:
            return results
        judged = iter(results)
        return [next(judged) if isinstance(order, Entry) else None for order in orders]

    def _perform(self, work: Callable[[Connection], Any]) -> Any:
        self._ends.forget()
        try:
            return work(self._connection)
        except (apsw.Error, OverflowError, UnicodeEncodeError) as error:
            self._forget()
            return trouble(error, self._path)
        except HoldfastError as error:
            self._forget()
            return error

    def _forget(self) -> None:
        """Nothing of what was just tried counts."""
        self._ends.forget()
        self._trail.forget()


def _settle(done: asyncio.Future[Any], result: Any) -> None:
    """Answer, unless the one who asked was cancelled meanwhile."""
    if done.done():
        return
    if isinstance(result, HoldfastError):
        done.set_exception(result)
    else:
        done.set_result(result)
