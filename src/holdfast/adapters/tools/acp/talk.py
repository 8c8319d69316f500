"""A conversation with an agent at the other end of two pipes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import msgspec
from msgspec import Raw

from holdfast.adapters.tools.mcp import messages
from holdfast.adapters.tools.mcp.lines import Lines
from holdfast.adapters.tools.mcp.messages import Message
from holdfast.adapters.tools.mcp.trouble import Gone, Odd, Said, Silent

_MOST = 200_000
_FAREWELL = 1.0


class Talk:
    """Asks, and answers the one thing that an agent may ask of us: leave. `listen` must run.

    `permit` answers a question for leave; `hear` takes what is said meanwhile.
    """

    def __init__(
        self, lines: Lines, permit: Callable[[Raw], Mapping[str, Any]], hear: Callable[[Raw], None]
    ) -> None:
        self._lines, self._permit, self._hear = lines, permit, hear
        self._numbers = itertools.count(1)
        self._answers: dict[int, Message] = {}
        self._arrived = anyio.Event()
        self._sending = anyio.Lock()
        self._over = ""
        self._count = 0

    async def listen(self) -> None:
        """Until it ends, or breaks the protocol or a bound."""
        try:
            while True:
                for message in await self._lines.receive():
                    await self._take(message)
        except (Gone, Odd) as end:
            self._over = str(end)
        finally:
            self._over = self._over or "the conversation was ended"
            self._ring()

    async def ask(
        self, method: str, params: Mapping[str, Any], seconds: float, idle: float = math.inf
    ) -> Raw:
        """Raises `Gone`, `Silent` (also after `idle` seconds without any word), `Said`, `Odd`."""
        number = next(self._numbers)
        try:
            with anyio.fail_after(seconds):
                await self._send(messages.request(number, method, params))
                await self._answered(number, idle)
        except TimeoutError:
            raise Silent(f"no answer to {method} within {seconds:g} s") from None
        answer = self._answers.pop(number, None)
        if answer is None:
            raise Gone(self._over)
        if answer.error is not None:
            raise Said(answer.error)
        if not bytes(answer.result):
            raise Odd(f"the answer to {method} has no result")
        return answer.result

    async def _answered(self, number: int, idle: float) -> None:
        while number not in self._answers and not self._over:
            with anyio.move_on_after(idle) as patience:
                await self._arrived.wait()
            if patience.cancelled_caught:
                raise Silent(f"it said nothing for {idle:g} s")

    async def tell(self, method: str, params: Mapping[str, Any]) -> None:
        with anyio.move_on_after(_FAREWELL, shield=True):
            await self._send(messages.notification(method, params))

    async def _send(self, message: bytes) -> None:
        async with self._sending:
            if self._over:
                raise Gone(self._over, sent=False)
            await self._lines.send(message)

    async def _take(self, message: Message) -> None:
        self._count += 1
        if self._count > _MOST:
            raise Odd("it says more than anybody can read")
        if not message.method and isinstance(message.id, int):
            self._answers[message.id] = message
        self._ring()
        if not message.method:
            return
        if message.id is not None:
            await self._send(self._reply(message))
        elif message.method == "session/update":
            self._hear(message.params)

    def _reply(self, message: Message) -> bytes:
        """We offer no files and no terminals: it has those of its box."""
        said: dict[str, Any] = {"jsonrpc": "2.0", "id": message.id}
        if message.method == "session/request_permission":
            said["result"] = self._permit(message.params)
        else:
            error = {
                "code": messages.NOT_HERE,
                "message": "this client offers nothing of that kind",
            }
            said["error"] = error
        return msgspec.json.encode(said)

    def _ring(self) -> None:
        arrived, self._arrived = self._arrived, anyio.Event()
        arrived.set()
