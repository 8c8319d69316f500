"""Telling others what happens to their tasks: by themselves they need not ask.

A push is kept, sealed, until its task is gone. What was told is written down after each telling, so
that whatever dies in between, everything is told, in order, and at most the last thing twice.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing

import anyio
import msgspec
from anyio import to_thread
from anyio.abc import TaskGroup
from msgspec.structs import replace

from holdfast.core.error import (
    Broken,
    HoldfastError,
    NotAllowed,
    NotFound,
    Refused,
    Unavailable,
)
from holdfast.core.foreign import NotJson, decoded
from holdfast.core.ids import TaskId
from holdfast.core.reach import Reach
from holdfast.ports.egress import Egress, Request
from holdfast.ports.vault import Vault

from .following import Moment, follow
from .house import House
from .keys import opens
from .push import MOST, Push

TOOL = "push"
_SHELF = "push"
_PATIENCE = (1.0, 5.0, 30.0, 120.0, 600.0, 1_800.0, 3_600.0)
_SECONDS = 15.0
_ANSWER = 4_096
_GONE = 410
_log = logging.getLogger("holdfast.pushes")


Told = Callable[[Moment, Moment], AsyncGenerator[bytes, None]]
"""What is told of two moments of a task, one after the other; nothing if it does not matter."""


class Pushes:
    """All pushes of a house. `run` tells; until it runs they are only kept.

    `reach` says where what is told about a task may go.
    """

    def __init__(
        self,
        vault: Vault,
        egress: Egress,
        reach: Callable[[TaskId, str], Reach],
        told: Told,
        patience: Sequence[float] = _PATIENCE,
    ) -> None:
        self._vault, self._egress, self._reach = vault, egress, reach
        self._told, self._patience = told, patience
        self._there: dict[TaskId, dict[str, Push]] = {}
        self._running: tuple[House, TaskGroup] | None = None
        self._at_work: dict[str, anyio.CancelScope] = {}
        self._writing = anyio.Lock()

    async def run(self, house: House) -> None:
        """Tell, from where it was left, until cancelled."""
        await to_thread.run_sync(self._load)
        async with anyio.create_task_group() as group:
            self._running = house, group
            for push in [one for mine in self._there.values() for one in mine.values()]:
                if push.over and await house.journal.summary(push.task) is None:
                    await self.drop(push.task, push.id)
                self._start(push)
            await anyio.sleep_forever()

    def all(self, task: TaskId) -> Sequence[Push]:
        return list(self._there.get(task, {}).values())

    async def keep(self, push: Push) -> Push:
        """Durable on return; the same id again takes its place, and is told what comes next."""
        async with self._writing:
            there = self._there.get(push.task, {})
            before = there.get(push.id)
            if before is None and len(there) >= MOST:
                raise Refused(f"a task has at most {MOST} places that are told", code="too_many")
            await self._save(push)
            if before is not None:
                self._stop(before)
            if _place(push) not in self._at_work:  # `run` may have found it meanwhile
                self._start(push)
        return push

    async def drop(self, task: TaskId, push_id: str) -> None:
        """Nobody minds if there is none."""
        async with self._writing:
            there = self._there.get(task, {})
            if push := there.pop(push_id, None):
                self._stop(push)
                await to_thread.run_sync(self._vault.delete, _place(push))
            if not there:
                self._there.pop(task, None)

    async def _save(self, push: Push) -> None:
        """On the disk first, then true; while `_writing` is held."""
        text = msgspec.json.encode(push).decode()
        await to_thread.run_sync(self._vault.put, _place(push), text)
        self._there.setdefault(push.task, {})[push.id] = push

    async def _went(self, before: Push, after: Push) -> Push:
        """What became of a push; nothing where it was taken away or replaced meanwhile."""
        async with self._writing:
            if self._there.get(before.task, {}).get(before.id) == before:
                await self._save(after)
        return after

    def _load(self) -> None:
        for name in self._vault.names():
            if not name.startswith(f"{_SHELF}/"):
                continue
            try:
                push = decoded(self._vault.get(name) or "", Push)
            except (NotJson, Broken) as error:
                _log.warning("a push cannot be read: %s", error, extra={"entry": name})
                continue
            self._there.setdefault(push.task, {}).setdefault(push.id, push)

    # At work.

    def _start(self, push: Push) -> None:
        if self._running is not None and not (push.failed or push.over):
            house, group = self._running
            self._stop(push)
            scope = self._at_work[_place(push)] = anyio.CancelScope()
            group.start_soon(self._work, house, push, scope)

    def _stop(self, push: Push) -> None:
        if scope := self._at_work.pop(_place(push), None):
            scope.cancel()

    async def _work(self, house: House, push: Push, scope: anyio.CancelScope) -> None:
        pauses = [*self._patience]
        with scope:
            while (now := self._there.get(push.task, {}).get(push.id)) and not now.over:
                try:
                    await self._follow(house, now)
                except (NotFound, Refused):
                    self._at_work.pop(_place(push), None)  # dropping it would end this first
                    await self.drop(push.task, push.id)  # purged: nothing of it may go anywhere
                except Unavailable as error:
                    _log.warning("a push waits: %s", error, extra={"task": push.task})
                    # Nothing rings when a store is back.
                    await anyio.sleep(pauses.pop(0) if len(pauses) > 1 else pauses[0])
                else:
                    break
        if self._at_work.get(_place(push)) is scope:
            del self._at_work[_place(push)]

    async def _follow(self, house: House, push: Push) -> None:
        before: Moment | None = None
        async with aclosing(follow(house, push.task, after=push.told)) as moments:
            async for moment in moments:
                if moment.heard is not None:
                    continue
                if before is not None:
                    push = await self._tell(house, push, before, moment)
                    if push.failed:
                        return
                before = moment
        if before is not None and before.task.ended:
            await self._went(push, replace(push, told=before.seq, over=True))

    async def _tell(self, house: House, push: Push, before: Moment, moment: Moment) -> Push:
        number = 0
        async with aclosing(self._told(before, moment)) as bodies:
            async for body in bodies:
                number += 1
                name = f"{push.task}.{hashlib.sha256(push.id.encode()).hexdigest()[:12]}"
                why = await self._brought(house, push, f"{name}.{moment.seq}.{number}", body)
                if why:
                    failed = replace(push, failed=why, told=moment.seq)
                    await self._went(push, failed)
                    _log.warning("a push is given up: %s", why, extra={"task": push.task})
                    return failed
        if not number:
            return push
        told = replace(push, told=moment.seq)
        return await self._went(push, told)

    async def _brought(self, house: House, push: Push, name: str, body: bytes) -> str:
        """Empty once it was taken; else why it never will be."""
        agent, why = house.agent.name, ""
        for pause in (*self._patience, 0.0):
            if not opens(house, push.by):
                return f"{push.by} may not ask any more"
            headers = _headers(house, push, name, body)
            request = Request(
                url=push.url,
                method="POST",
                headers=headers,
                body=body,
                seconds=_SECONDS,
                most=_ANSWER,
                hops=0,
            )
            try:
                answer = await self._egress.fetch(request, self._reach(push.task, agent))
            except NotAllowed as error:
                return f"{error} ({error.code})"
            except HoldfastError as error:
                why = f"{error} ({error.code})"
            else:
                if 200 <= answer.status < 300:
                    return ""
                why = f"it answered with {answer.status}"
                if answer.status == _GONE:
                    return why
            await anyio.sleep(pause)
        return f"{why}, {len(self._patience) + 1} times"


def _headers(house: House, push: Push, name: str, body: bytes) -> Mapping[str, str]:
    """Who is told finds its own words again, and our signature over all of it."""
    at = str(house.clock.now() // 1000)
    signature = base64.b64encode(house.signer.sign(b".".join((name.encode(), at.encode(), body))))
    told = {
        "content-type": "application/a2a+json",
        "webhook-id": name,
        "webhook-timestamp": at,
        "webhook-signature": f"v1a,{signature.decode()}",
    }
    if push.token:
        told["x-a2a-notification-token"] = push.token
    if push.scheme:
        told["authorization"] = f"{push.scheme} {push.credentials}"
    return told


def _place(push: Push) -> str:
    return f"{_SHELF}/{hashlib.sha256(f'{push.task} {push.id}'.encode()).hexdigest()}"
