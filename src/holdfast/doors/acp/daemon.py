"""The daemon as the bridge sees it: asked, followed through every break, started when away."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

import anyio
import httpx2
import msgspec
from anyio import to_thread
from msgspec import Struct

from holdfast.doors.cli.stop import Stop

from .lines import INTERNAL, NOT_FOUND, PARAMS, Fault

Json = dict[str, Any]
_TRIES, _PAUSE = 5, 0.1
_BREAKS = 20
_PATIENCE = httpx2.Timeout(60.0, connect=10.0)
_CODES = {404: NOT_FOUND, 422: PARAMS}


class Item(Struct, frozen=True, kw_only=True):
    """One item of a task's stream: an event that is on disk, a delta, or the end."""

    kind: str
    data: Json
    seq: int = 0


class Daemon:
    """One home's daemon over its Unix socket. `start` makes one listen, and may take its time."""

    def __init__(self, socket: str, start: Callable[[], None]) -> None:
        self._start = start
        self._client = httpx2.AsyncClient(
            transport=httpx2.AsyncHTTPTransport(uds=socket),
            base_url="http://localhost",
            timeout=_PATIENCE,
            trust_env=False,
        )

    async def get(self, path: str, **query: Any) -> Json:
        return await self._ask("GET", path, query, None, _TRIES)

    async def post(self, path: str, body: Mapping[str, Any], *, repeatable: bool = True) -> Json:
        """`repeatable`: asking twice is as good as once, so a broken line is no end of it."""
        return await self._ask("POST", path, {}, body, _TRIES if repeatable else 1)

    async def follow(self, task: str, after: int = 0) -> AsyncGenerator[Item]:
        """Every event once and in order, deltas between them, at last `end` with the summary.

        Where the line broke comes a delta with `reset`: what was heard of a reply is void.
        """
        seen, breaks = after, 0
        while True:
            clean = True
            try:
                async with aclosing(self._stream(task, seen)) as items:
                    async for item in items:
                        if item.kind not in {"delta", "end"}:
                            if item.seq <= seen:
                                continue
                            seen, breaks = item.seq, 0
                        yield item
                        if item.kind == "end":
                            return
            except httpx2.TransportError:
                clean = False
            breaks += 1
            if clean or breaks > _BREAKS:
                what = "it was stopped" if clean else "the connection breaks again and again"
                text = f"the daemon is away: {what}; the task goes on when it is there again"
                raise Fault(INTERNAL, text, {"task": task})
            yield Item(kind="delta", data={"reset": ""})
            await anyio.sleep(_PAUSE if breaks > 1 else 0)

    async def _ask(
        self, method: str, path: str, query: Mapping[str, Any], body: Any, tries: int
    ) -> Json:
        content = None if body is None else msgspec.json.encode(body)
        headers = {"Content-Type": "application/json"} if content else {}
        while True:
            request = self._client.build_request(
                method, path, params=dict(query) or None, content=content, headers=headers
            )
            try:
                answer = await self._sent(request, stream=False)
            except httpx2.TransportError as error:
                tries -= 1
                if not tries:
                    text = f"the daemon does not answer: {error}"
                    raise Fault(INTERNAL, text, {"hint": "holdfast doctor"}) from error
                await anyio.sleep(_PAUSE)
            else:
                return _read(answer)

    async def _stream(self, task: str, after: int) -> AsyncGenerator[Item]:
        path = f"/api/v1/tasks/{task}/events"
        query: dict[str, Any] = {"after": after, "follow": "true"}
        answer = await self._sent(
            self._client.build_request("GET", path, params=query), stream=True
        )
        try:
            if answer.status_code >= 400:
                await answer.aread()
                _read(answer)
            kind, data = "", ""
            async for line in _lines(answer):
                if line.startswith("event: "):
                    kind = line[7:]
                elif line.startswith("data: "):
                    data = line[6:]
                elif not line and data:
                    yield _item(kind, msgspec.json.decode(data))
                    kind, data = "", ""
        finally:
            await answer.aclose()

    async def _sent(self, request: httpx2.Request, *, stream: bool) -> httpx2.Response:
        """Starts the daemon if nobody listens. Raises `TransportError`, `Fault`."""
        try:
            return await self._client.send(request, stream=stream)
        except httpx2.ConnectError:
            try:
                await to_thread.run_sync(self._start)
            except Stop as stop:
                raise Fault(INTERNAL, stop.message, {"hint": stop.hint}) from None
        return await self._client.send(request, stream=stream)


async def _lines(answer: httpx2.Response) -> AsyncGenerator[str]:
    """Only a line feed ends a line: texts hold other signs that libraries take for an end."""
    held = bytearray()
    async for piece in answer.aiter_bytes():
        held += piece
        *whole, rest = held.split(b"\n")
        held = bytearray(rest)
        for line in whole:
            yield line.decode()


def _item(kind: str, body: Json) -> Item:
    if kind in {"delta", "end"}:
        return Item(kind=kind, data=body)
    return Item(kind=kind, data=body["data"], seq=int(body["seq"]))


def _read(answer: httpx2.Response) -> Json:
    if answer.status_code < 400:
        return msgspec.json.decode(answer.content)
    try:
        said = msgspec.json.decode(answer.content, type=Json)
    except msgspec.DecodeError:
        said = {}
    text = str(said.get("detail") or f"the daemon answered with status {answer.status_code}")
    told = {key: said[key] for key in ("code", "hint") if said.get(key)}
    raise Fault(_CODES.get(answer.status_code, INTERNAL), text, told)
