"""What goes out of one socket: in order, bounded, and never for somebody who does not read."""

from __future__ import annotations

from typing import Any, Self

import anyio
import msgspec
from starlette.websockets import WebSocket

_WAITING = 64
_SLOW = 5.0
_PATIENCE = 20.0


class TooSlow(Exception):
    """Nobody reads at the other end."""


class Post:
    """All that write wait for their turn, and so for the reader: nothing is piled up for it.

    Who made others wait is told so with `backpressure`, and who reads nothing for long is left.
    """

    def __init__(self, socket: WebSocket, slow: float = _SLOW, patience: float = _PATIENCE) -> None:
        self._socket = socket
        self._slow, self._patience = slow, patience
        self._into, self._out = anyio.create_memory_object_stream[bytes](_WAITING)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._into.close()
        self._out.close()

    async def say(self, message: Any) -> None:
        await self._into.send(msgspec.json.encode(message))

    async def notify(self, method: str, **params: Any) -> None:
        await self.say({"jsonrpc": "2.0", "method": method, "params": params})

    async def deliver(self) -> None:
        """Runs for as long as the socket does. Raises `TooSlow`."""
        async for message in self._out:
            began = anyio.current_time()
            await self._put(message)
            waited = anyio.current_time() - began
            if waited > self._slow:
                params = {"waited_seconds": round(waited, 1), "leaves_after": self._patience}
                told = {"jsonrpc": "2.0", "method": "backpressure", "params": params}
                await self._put(msgspec.json.encode(told))

    async def _put(self, message: bytes) -> None:
        with anyio.move_on_after(self._patience) as scope:
            await self._socket.send_text(message.decode())
        if scope.cancelled_caught:
            raise TooSlow
