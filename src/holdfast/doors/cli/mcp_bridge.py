"""`mcp serve`: from a host's lines on stdin to the daemon's door for MCP, and back.

The daemon does everything; this carries messages. It outlives the daemon: when that is gone it is
started anew, the session is opened again, and what may be asked twice is asked again.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import Any, NamedTuple, TypeGuard, cast

import anyio
import httpx2
from anyio import to_thread
from anyio.abc import TaskGroup

_MOST = 10_000_000
_AT_ONCE = 64
_TRIES = 5
_PAUSE = 0.2
_FAREWELL = 2.0
_PATIENCE = 5.0
_NOT_TWICE = frozenset({"approve_call", "refuse_call", "retry_task", "say_to_task"})
_VERSION = "io.modelcontextprotocol/protocolVersion"
_KEY = "holdfast/key"
_WRONG = 400
_PARSE, _INVALID, _GONE = -32700, -32600, -32000

Message = dict[str, Any]


class Ends(NamedTuple):
    """The host's ends: a line at a time comes in, empty at the end, and goes out."""

    read: Callable[[], bytes]
    write: Callable[[bytes], None]


class _Broken(Exception):
    """The line to the daemon broke, or it knows the session no more."""


class _Way:
    """The way to the daemon's door, and the session there."""

    def __init__(self, socket: str, query: str) -> None:
        transport = httpx2.AsyncHTTPTransport(uds=socket)
        self.http = httpx2.AsyncClient(transport=transport, timeout=None)
        self.session, self.version = "", ""
        self._url = f"http://holdfast/mcp{query}"

    def post(self, message: Message) -> httpx2.Request:
        told = {"Content-Type": "application/json", **self._known("")}
        params = _part(message, "params")
        version = _part(params, "_meta").get(_VERSION)
        if isinstance(version, str):
            told["MCP-Protocol-Version"] = version
            told["Mcp-Method"] = str(message.get("method") or "")
            if isinstance(name := params.get("name") or params.get("uri"), str):
                told["Mcp-Name"] = name
        body = json.dumps(message).encode()
        return self.http.build_request("POST", self._url, content=body, headers=told)

    def listen(self, last: str) -> httpx2.Request:
        """To what is said unasked, or behind the event `last` of a stream that broke."""
        return self.http.build_request("GET", self._url, headers=self._known(last))

    async def leave(self) -> None:
        if self.session:
            with suppress(httpx2.TransportError):
                await self.http.delete(self._url, headers=self._known(""))

    def _known(self, last: str) -> dict[str, str]:
        told = {"Accept": "application/json, text/event-stream"}
        if self.session:
            told |= {"Mcp-Session-Id": self.session, "MCP-Protocol-Version": self.version}
        return {**told, "Last-Event-ID": last} if last else told


class Bridge:
    """One host."""

    def __init__(self, socket: str, query: str, start: Callable[[], None], ends: Ends) -> None:
        self._way, self._start, self._ends = _Way(socket, query), start, ends
        self._age: int = 0
        self._opening: list[Message] = []
        self._following: dict[str, Message] = {}
        self._asked: dict[str | int, anyio.CancelScope] = {}
        self._renewing, self._writing = anyio.Lock(), anyio.Lock()
        self._room = anyio.Semaphore(_AT_ONCE)

    async def run(self) -> None:
        """Until the host has no more to say, and has heard what it asked, if that takes no time."""
        async with self._way.http, anyio.create_task_group() as group:
            while line := await to_thread.run_sync(self._ends.read, abandon_on_cancel=True):
                if message := await self._parsed(line):
                    await self._take(message, group)
            with anyio.move_on_after(_PATIENCE):
                for _ in range(_AT_ONCE):
                    await self._room.acquire()  # every place is free: all was answered
            group.cancel_scope.cancel()
            with anyio.move_on_after(_FAREWELL, shield=True):
                await self._way.leave()

    async def _parsed(self, line: bytes) -> Message | None:
        if not line.strip():
            return None
        if len(line) > _MOST:
            await self._refuse(None, _INVALID, f"the message is larger than {_MOST} bytes")
            return None
        try:
            message: Any = json.loads(line)
        except (ValueError, RecursionError):
            await self._refuse(None, _PARSE, "the line is not JSON")
            return None
        if _is_message(message):
            return message
        await self._refuse(None, _INVALID, "a line is one JSON-RPC object; there are no batches")
        return None

    async def _take(self, message: Message, group: TaskGroup) -> None:
        method, number = message.get("method"), message.get("id")
        if method == "notifications/cancelled":
            self._give_up(message)
        if method is None or number is None or method == "initialize":
            await self._carry(message)  # in the order that they came
        else:
            await self._room.acquire()
            self._asked[number] = scope = anyio.CancelScope()
            group.start_soon(self._ask, message, scope)
        if method == "notifications/initialized":
            group.start_soon(self._listen)

    def _give_up(self, message: Message) -> None:
        """A request of a version without sessions is given up by hanging up."""
        number: Any = _part(message, "params").get("requestId")
        scope = self._asked.get(number)
        if scope is not None and not self._way.session:
            scope.cancel()

    async def _ask(self, message: Message, scope: anyio.CancelScope) -> None:
        try:
            with scope:
                await self._carry(message)
        finally:
            self._asked.pop(message["id"], None)
            self._room.release()

    async def _carry(self, message: Message) -> None:
        """To the daemon, until it has answered; again when the line breaks and that is safe."""
        method, params = message.get("method"), _part(message, "params")
        if method in {"initialize", "notifications/initialized", "logging/setLevel"}:
            self._remember(message)
        if method == "tools/call" and params.get("name") == "submit_task":
            params["_meta"] = {_KEY: uuid.uuid4().hex, **_part(params, "_meta")}
        for _ in range(_TRIES):
            age = self._age
            try:
                await self._exchange(message)
            except _Broken:
                if method == "tools/call" and params.get("name") in _NOT_TWICE:
                    break
                await self._renew(age, method)
            else:
                self._follow(method, params, message)
                return
        if "id" in message and method is not None:
            hint = "what it was about may have happened: look with show_task before repeating it"
            await self._refuse(message["id"], _GONE, f"Holdfast's daemon went away; {hint}")

    def _remember(self, message: Message) -> None:
        if message["method"] == "initialize":
            self._opening, self._way.session = [], ""
        kept = [one for one in self._opening if one["method"] != message["method"]]
        self._opening = [*kept, message]

    def _follow(self, method: str | None, params: Message, message: Message) -> None:
        if method == "resources/subscribe":
            self._following[str(params.get("uri"))] = message
        elif method == "resources/unsubscribe":
            self._following.pop(str(params.get("uri")), None)

    async def _exchange(self, message: Message, *, quiet: bool = False) -> None:
        """One message and what is answered to it. Raises `_Broken`."""
        number, last = message.get("id"), ""
        request = self._way.post(message)
        while True:
            try:
                reply = await self._way.http.send(request, stream=True)
                async with aclosing(reply):
                    if reply.status_code == 404 and self._way.session:
                        raise _Broken
                    if message.get("method") == "initialize":
                        self._way.session = reply.headers.get("mcp-session-id", "")
                    if not reply.headers.get("content-type", "").startswith("text/event-stream"):
                        await self._pass_on(await reply.aread(), number, quiet=quiet)
                        return
                    async for one in _events(reply):
                        last, data = one
                        if await self._told(data, number, quiet=quiet):
                            return
            except httpx2.TransportError as error:
                raise _Broken from error
            if not (last and self._way.session):
                raise _Broken
            request = self._way.listen(last)

    async def _pass_on(self, body: bytes, number: Any, *, quiet: bool) -> None:
        """An answer in one piece. What is no message becomes an error of the request."""
        if not body or number is None:
            return
        try:
            said: Message = json.loads(body)
        except ValueError:
            said = {}
        if said.get("id") == number:
            await self._told(body, number, quiet=quiet)
            return
        error = _part(said, "error")
        code = error.get("code")
        words = str(error.get("message") or "the daemon gave no answer")
        await self._refuse(number, code if isinstance(code, int) else _INVALID, words)

    async def _told(self, data: bytes, number: Any, *, quiet: bool) -> bool:
        """Pass it on; True if it is the answer."""
        if not data:
            return False
        said: Message = json.loads(data)
        final = number is not None and said.get("id") == number and "method" not in said
        if final and (version := _part(said, "result").get("protocolVersion")):
            self._way.version = str(version)
        if not (final and quiet):
            await self._write(json.dumps(said, ensure_ascii=False).encode())
        return final

    async def _listen(self) -> None:
        """What the daemon says unasked, while there is a session."""
        last = ""
        while session := self._way.session:
            age = self._age
            try:
                request = self._way.listen(last)
                reply = await self._way.http.send(request, stream=True)
                async with aclosing(reply):
                    _well(reply)
                    async for one in _events(reply):
                        last = one[0]
                        await self._told(one[1], None, quiet=False)
            except (httpx2.TransportError, _Broken):
                last = ""
                await anyio.sleep(_PAUSE)
                if session == self._way.session:
                    await self._renew(age, "")

    async def _renew(self, age: int, method: str | None) -> None:
        """A daemon that answers, and a session with it as it was. Once, whoever asks for it."""
        async with self._renewing:
            if age != self._age:
                return
            await anyio.sleep(_PAUSE)
            await to_thread.run_sync(self._start)
            self._age, self._way.session = self._age + 1, ""
            if method == "initialize":
                return
            try:
                for message in (*self._opening, *self._following.values()):
                    await self._exchange(message, quiet=True)
            except _Broken:
                return  # the next try finds out

    async def _refuse(self, number: Any, code: int, words: str) -> None:
        error = {"code": code, "message": words}
        await self._write(json.dumps({"jsonrpc": "2.0", "id": number, "error": error}).encode())

    async def _write(self, line: bytes) -> None:
        async with self._writing:
            await to_thread.run_sync(self._ends.write, line + b"\n")


def _is_message(value: Any) -> TypeGuard[Message]:
    """As much of JSON-RPC as this needs; the daemon looks at the rest."""
    if not isinstance(value, dict):
        return False
    said = cast("Message", value)
    params, number = said.get("params", {}), said.get("id")
    return (
        isinstance(said.get("method", ""), str)
        and isinstance(params, dict)
        and (number is None or (isinstance(number, str | int) and not isinstance(number, bool)))
    )


def _part(whole: Message, name: str) -> Message:
    """The object under a name; empty if there is none."""
    found = whole.get(name)
    return cast("Message", found) if isinstance(found, dict) else {}


def _well(reply: httpx2.Response) -> None:
    if reply.status_code >= _WRONG:
        raise _Broken


async def _events(reply: httpx2.Response) -> AsyncGenerator[tuple[str, bytes]]:
    """The id and the data of each event, as they come."""
    name, data = "", list[str]()
    async for line in reply.aiter_lines():
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "id":
            name = value
        elif field == "data":
            data.append(value)
        elif not line:
            yield name, "\n".join(data).encode()
            data = []
