"""For clients that cannot bring a token: a port of this machine that puts it into each request.

Everything else passes as it is, Host and Origin too: what refuses them is the daemon.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import anyio
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream


@asynccontextmanager
async def bearing(port: int, token: str) -> AsyncGenerator[int]:
    """A port that leads to another one, with a token."""
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as group,
    ):
        group.start_soon(listener.serve, partial(_pass, port, token))
        yield listener.extra(SocketAttribute.local_port)
        group.cancel_scope.cancel()


async def _pass(port: int, token: str, near: ByteStream) -> None:
    try:
        async with (
            near,
            await anyio.connect_tcp("127.0.0.1", port) as far,
            anyio.create_task_group() as group,
        ):
            group.start_soon(_back, far, near, group.cancel_scope)
            await _forth(BufferedByteReceiveStream(near), far, token)
            group.cancel_scope.cancel()
    except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, ExceptionGroup):
        return  # one side has left


async def _forth(near: BufferedByteReceiveStream, far: ByteStream, token: str) -> None:
    while True:
        try:
            head = await near.receive_until(b"\r\n\r\n", 65_536)
        except (anyio.IncompleteRead, anyio.EndOfStream):
            return
        await far.send(head + b"\r\nAuthorization: Bearer " + token.encode() + b"\r\n\r\n")
        fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
        if left := int(fields.get(b"content-length", b"0")):
            await far.send(await near.receive_exactly(left))


async def _back(far: ByteStream, near: ByteStream, scope: anyio.CancelScope) -> None:
    async for piece in far:
        await near.send(piece)
    scope.cancel()


async def main(port: int, token: str) -> None:
    async with bearing(port, token) as here:
        print(here, flush=True)
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]), sys.argv[2])
