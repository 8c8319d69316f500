"""The methods that go on after their answer: subscriptions, and tasks with their words."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, ClassVar

import anyio
import msgspec
from anyio.abc import TaskGroup
from msgspec import Raw

from holdfast.core.error import HoldfastError
from holdfast.runtime.feed import Ruling, Seen, Server

from .asking import PARAMS, Asking, Fault
from .feeds import Feeds, Wanted
from .names import Method
from .post import Post

News = Server | Ruling


class Subscribing:
    """Each is let in by the route that shows the same, task by task."""

    NAMES: ClassVar[dict[str, str]] = {
        "events.subscribe": "read",
        "approvals.subscribe": "read",
        "tools.subscribe": "read",
        "config.subscribe": "read",
        "unsubscribe": "read",
        "tasks.stream": "mutate",
    }

    def __init__(
        self,
        feeds: Feeds,
        asking: Asking,
        methods: Mapping[str, Method],
        post: Post,
        may_use: Callable[[str], bool],
    ) -> None:
        self._may_use = may_use
        self._feeds, self._asking, self._methods, self._post = feeds, asking, methods, post

    def has(self, name: str) -> bool:
        return name in self.NAMES

    async def do(self, name: str, params: Mapping[str, Any], group: TaskGroup) -> Any:
        """Raises `Fault`, `HoldfastError`."""
        match name:
            case "events.subscribe":
                return await self._events(await self._wanted(params), group)
            case "approvals.subscribe":
                await self._see("approvals.list")
                number, scope = self._feeds.begin()
                group.start_soon(self._questions, number, scope)
                return {"subscription": number}
            case "tools.subscribe":
                await self._see("mcp.list")
                return self._begun(self._feeds.servers(), group)
            case "config.subscribe":
                await self._see("status")
                return self._begun(self._feeds.ruling(), group)
            case "unsubscribe":
                return {"ended": self._feeds.end(str(params.get("subscription")))}
            case _:
                return await self._stream(params, group)

    async def _wanted(self, params: Mapping[str, Any]) -> Wanted:
        try:
            wanted = msgspec.convert(params, Wanted)
        except msgspec.ValidationError as error:
            raise Fault(PARAMS, str(error), code="invalid") from None
        if bool(wanted.task) == bool(wanted.session):
            raise Fault(PARAMS, "name a `task` or a `session`", code="invalid")
        if wanted.session:
            await self._see("tasks.list", session=wanted.session, limit=1)
            return wanted
        row = msgspec.json.decode(await self._see("tasks.get", ref=wanted.task))
        return msgspec.structs.replace(wanted, task=row["id"])

    async def _events(self, wanted: Wanted, group: TaskGroup) -> dict[str, Any]:
        items = await self._feeds.events(wanted)
        number, scope = self._feeds.begin()
        group.start_soon(self._told, number, scope, items, wanted.deltas)
        return {"subscription": number}

    async def _told(
        self, number: str, scope: anyio.CancelScope, items: AsyncGenerator[Seen], deltas: bool
    ) -> None:
        last, shown = "", False
        async with self._until_the_end(number, scope), aclosing(items):
            async for seen in items:
                if seen.task != last:
                    last, shown = seen.task, await self._may_see(seen.task)
                if shown:
                    await self._feeds.tell(number, seen, deltas=deltas)

    async def _questions(self, number: str, scope: anyio.CancelScope) -> None:
        async with self._until_the_end(number, scope), aclosing(self._feeds.questions()) as found:
            async for one in found:
                if await self._may_see(one.row.id):
                    await self._feeds.ask(number, one)

    def _begun(self, items: AsyncGenerator[News], group: TaskGroup) -> dict[str, Any]:
        number, scope = self._feeds.begin()
        group.start_soon(self._newly, number, scope, items)
        return {"subscription": number}

    async def _newly(
        self, number: str, scope: anyio.CancelScope, items: AsyncGenerator[News]
    ) -> None:
        async with self._until_the_end(number, scope), aclosing(items):
            async for one in items:
                if self._feeds.is_for(one, self._may_use):
                    await self._feeds.news(number, one)

    @asynccontextmanager
    async def _until_the_end(self, number: str, scope: anyio.CancelScope) -> AsyncGenerator[None]:
        """Says when a subscription is over, and why if something went wrong."""
        problem: dict[str, str] = {}
        try:
            with scope:
                yield
        except HoldfastError as error:
            problem = {"code": error.code, "message": str(error)}
        self._feeds.end(number)
        await self._post.notify("end", subscription=number, **problem)

    async def _stream(self, params: Mapping[str, Any], group: TaskGroup) -> dict[str, Any]:
        """Give a task, and hear of it until it has ended."""
        row = msgspec.json.decode(await self._asking.answer(self._methods["tasks.create"], params))
        told = await self._events(Wanted(task=row["id"], deltas=True), group)
        return {"task": row["id"], **told}

    async def _may_see(self, task: str) -> bool:
        try:
            await self._see("tasks.get", ref=task)
        except Fault:
            return False
        return True

    async def _see(self, name: str, **params: Any) -> Raw:
        """What the route says to whoever opened the socket, as things are now."""
        return await self._asking.answer(self._methods[name], params)
