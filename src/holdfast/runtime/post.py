"""Carries mail of webhooks: reads what happened from the audit, tells it, tries again, gives up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import anyio
import anyio.to_thread
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.audit.fact import Fact, decode
from holdfast.core.error import HoldfastError, NotAllowed
from holdfast.core.ids import Instant, TaskId
from holdfast.core.view import Summary
from holdfast.ports.ledger import Standing

from .hooks import MOST, OWNER, TEST, Answered, Carrier, Delivery, Mail, Parcel, Webhook, signed
from .house import House
from .shelf import Shelf

_log = logging.getLogger("holdfast.webhooks")
_PAGE = 500
_FOR_EVER = 86_400.0
_GONE = 410
_WARN = 0.8
_ENDS = {"succeeded": "task.complete", "canceled": "task.canceled"}


class Wire(Struct, frozen=True, kw_only=True):
    """What a postman works with."""

    house: House
    carrier: Carrier
    shelf: Shelf[Mail]


class Postman:
    """Carries the mail of one webhook, in the order in which it came as far as it is taken.

    What was carried and not yet noted when the process died is carried again with the same id.
    """

    def __init__(self, hook: Webhook, wire: Wire) -> None:
        self.hook, self._house, self._carrier = hook, wire.house, wire.carrier
        self._shelf, self.mail = wire.shelf, wire.shelf.read()
        self._bell, self._turn, self._secret = anyio.Event(), anyio.Lock(), ""
        if self.mail.read > wire.house.audit.size:  # a backup was restored
            self.mail = replace(self.mail, read=wire.house.audit.size)

    def now(self) -> Instant:
        return self._house.clock.now()

    def ring(self) -> None:
        self._bell.set()

    async def run(self) -> None:
        while True:
            try:
                while await self._collected() or await self._carried():
                    pass
            except HoldfastError as error:
                _log.warning("webhook %s: %s", self.hook.name, error, extra={"code": error.code})
                await anyio.sleep(1.0)  # nothing rings when a store is back
            await self._quiet()

    async def again(self) -> int:
        """Try what was set aside once more; how many."""
        count = 0

        def revived(mail: Mail) -> Mail:
            nonlocal count
            fresh = tuple(replace(one, tries=0, next_at=0, problem="") for one in mail.dead)
            count = len(fresh)
            return replace(mail, due=(*mail.due, *fresh), dead=())

        await self._change(revived)
        self.ring()
        return count

    async def test(self, delivery: Delivery) -> Answered:
        """Say something now. Raises what goes wrong."""
        return await self._told(delivery)

    async def _quiet(self) -> None:
        """Until something has happened, somebody rings, or it is time for another try."""
        now = self._house.clock.now()
        next_at = min((one.next_at for one in self.mail.due), default=0)
        patience = max(0.05, (next_at - now) / 1000) if self.mail.due else _FOR_EVER
        with anyio.move_on_after(patience):
            async with anyio.create_task_group() as group:
                group.start_soon(self._when_more, group.cancel_scope)
                await self._bell.wait()
                group.cancel_scope.cancel()
        self._bell = anyio.Event()

    async def _when_more(self, scope: anyio.CancelScope) -> None:
        await self._house.audit.more(self.mail.read)
        scope.cancel()

    async def _collected(self) -> bool:
        """Take in a page of what happened. False when there was nothing."""
        rows = await self._house.audit.read(self.mail.read, _PAGE)
        if not rows:
            return False
        facts = [(row.seq, decode(row.body)) for row in rows if row.body is not None]
        told = [one for seq, fact in facts if (one := _delivery(self.hook, seq, fact))]
        if self.hook.wants("budget.warning"):
            told += await self._warnings([fact for _, fact in facts])
        if told or len(rows) == _PAGE:
            await self._change(lambda mail: _taken_in(mail, rows[-1].seq, told))
        else:  # to read the same again after a crash costs less than a write now
            self.mail = replace(self.mail, read=rows[-1].seq)
        return True

    async def _warnings(self, facts: Sequence[Fact]) -> list[Delivery]:
        """Budgets, and limits of tasks that something happened in, that are nearly used up."""
        now, known = self._house.clock.now(), set(self.mail.warned)
        standings = await self._house.ledger.standings()
        found = [_of_budget(one, now) for one in standings]
        tasks = dict.fromkeys(fact.task for fact in facts if fact.task)
        found += [await self._of_task(TaskId(task), now) for task in tasks]
        return [one for one in found if one is not None and one.id not in known]

    async def _of_task(self, task_id: TaskId, now: Instant) -> Delivery | None:
        if await self._house.journal.summary(task_id) is None:
            return None
        task = await self._house.recorder.load(task_id)
        return _warning(f"task/{task_id}", task.spent.cost, task.limits.cost, now)

    async def _carried(self) -> bool:
        """Carry what is due. False when nothing was."""
        now = self._house.clock.now()
        ready = next((one for one in self.mail.due if one.next_at <= now), None)
        if ready is None:
            return False
        problem, least, gone = "", 0, False
        try:
            answer = await self._told(ready)
            if not 200 <= answer.status < 300:
                problem, least = f"it answered {answer.status}", answer.after
                gone = answer.status == _GONE
        except HoldfastError as error:
            problem = f"{error.code}: {error}"
            gone = isinstance(error, NotAllowed) and error.code.startswith("egress")
        await self._settled(ready, problem, least, gone=gone)
        return True

    async def _settled(self, told: Delivery, problem: str, least: int, *, gone: bool) -> None:
        now = self._house.clock.now()
        after = told.failed(problem, now, least=least)
        if problem and (gone or after.hopeless):
            _log.error("webhook %s: %s is set aside: %s", self.hook.name, told.id, problem)

        def noted(mail: Mail) -> Mail:
            rest = tuple(one for one in mail.due if one.id != told.id)
            if not problem:
                return replace(mail, due=rest, sent=mail.sent + 1, sent_at=now)
            if gone or after.hopeless:
                return replace(mail, due=rest, dead=(*mail.dead, after)[-MOST:])
            due = tuple(after if one.id == told.id else one for one in mail.due)
            return replace(mail, due=due)

        await self._change(noted)

    async def _told(self, delivery: Delivery) -> Answered:
        data = delivery.data
        if delivery.task:
            data = _of(await self._house.journal.summary(TaskId(delivery.task)), delivery.task)
        body = msgspec.json.encode(
            {
                "id": delivery.id,
                "event": delivery.event,
                "timestamp": _iso(delivery.at),
                "data": data,
            }
        )
        if not self._secret:
            self._secret = await self._house.secrets.use(
                self.hook.secret, agent=OWNER, task="", tool=f"{OWNER}:{self.hook.name}"
            )
        seconds = self._house.clock.now() // 1000
        marks = signed(self._secret, delivery.id, seconds, body)
        headers = {"content-type": "application/json", "user-agent": "Holdfast", **marks}
        parcel = Parcel(url=self.hook.url, headers=headers, body=body)
        return await self._carrier.carry(self.hook, parcel)

    async def _change(self, change: Callable[[Mail], Mail]) -> None:
        """On the disk first, then true."""
        async with self._turn:
            after = change(self.mail)
            await anyio.to_thread.run_sync(self._shelf.write, after)
            self.mail = after


def tried(ident: str, now: Instant) -> Delivery:
    """What a test says."""
    return Delivery(id=ident, event=TEST, at=now, data={"message": "this is a test"})


def event_of(fact: Fact) -> str:
    """The event that a record of the audit is, or empty."""
    match fact.kind:
        case "task.submitted" | "task.started" | "task.retried":
            return fact.kind
        case "task.ended":
            return _ENDS.get(fact.code, "task.failed")
        case "call.judged" if fact.verdict == "ask":
            return "approval.wanted"
        case _:
            return ""


def _delivery(hook: Webhook, seq: int, fact: Fact) -> Delivery | None:
    """The id says which record it is of, so that it is the same however often it is made."""
    event = event_of(fact)
    if not event or not hook.wants(event):
        return None
    ident = f"msg_{fact.task}_{seq}"
    return Delivery(id=ident, event=event, at=fact.at, record=seq, task=fact.task)


def _taken_in(mail: Mail, read: int, told: Sequence[Delivery]) -> Mail:
    due = (*mail.due, *told)
    lost = max(0, len(due) - MOST)
    if lost:
        _log.error("a webhook that nobody answers: %s messages are lost", lost)
    warned = (*mail.warned, *(one.id for one in told if not one.record))[-MOST:]
    return replace(mail, read=read, due=due[lost:], lost=mail.lost + lost, warned=warned)


def _of_budget(one: Standing, now: Instant) -> Delivery | None:
    limit = one.budget.cost + one.raised.cost if one.budget.cost else None
    return _warning(one.key, one.spent.cost, limit, now)


def _warning(key: str, spent: int, limit: int | None, now: Instant) -> Delivery | None:
    if not limit or spent < limit * _WARN:
        return None
    data = {
        "budget": key,
        "current_cost": spent / 1e6,
        "budget_limit": limit / 1e6,
        "percentage_used": round(100 * spent / limit, 1),
    }
    return Delivery(id=f"msg_budget_{key}", event="budget.warning", at=now, data=data)


def _of(row: Summary | None, task: str) -> Mapping[str, object]:
    """What is told of a task: names and numbers. Who wants its words asks for them."""
    if row is None:
        return {"task_id": task}
    told: dict[str, object] = {
        "task_id": row.id,
        "description": row.title,
        "status": row.status,
        "agent": row.agent,
        "by": row.by,
        "session": row.session,
        "iterations": row.spent.steps,
        "attempts": row.attempt,
        "cost_usd": row.spent.cost / 1e6,
        "total_tokens": row.spent.tokens,
        "questions": [{"call": one.call, "tool": one.tool} for one in row.questions],
    }
    return {**told, "error": row.fault.message} if row.fault else told


def _iso(at: Instant) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
