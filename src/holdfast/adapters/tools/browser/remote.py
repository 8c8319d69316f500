"""Messages over a WebSocket, to a browser that somebody else runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidURI, WebSocketException

from holdfast.core.error import Unavailable

from .cdp import LARGEST, Gone


class Socket:
    """A `Wire`: one text message of the socket is one message."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, message: bytes) -> None:
        try:
            await self._connection.send(message, text=True)
        except ConnectionClosed as closed:
            raise Gone(f"the remote browser has ended: {closed}") from None

    async def receive(self) -> bytes:
        try:
            return await self._connection.recv(decode=False)
        except ConnectionClosed as closed:
            raise Gone(f"the remote browser has ended: {closed}") from None


@asynccontextmanager
async def connected(url: str, seconds: float) -> AsyncGenerator[Socket]:
    """A connection to `url`. Raises `Unavailable`, which does not say it: it may hold a secret."""
    try:
        connection = await connect(
            url, open_timeout=seconds, max_size=LARGEST, compression=None, proxy=None
        )
    except (OSError, WebSocketException, InvalidURI, TimeoutError) as error:
        why = type(error).__name__
        raise Unavailable(
            f"the remote browser does not answer ({why})",
            code="browser_remote",
            hint="check [browser] remote_url",
        ) from None
    try:
        yield Socket(connection)
    finally:
        await connection.close()
