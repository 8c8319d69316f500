"""A proxy that forwards whatever it is told: what shows that the attacks on a proxy bite."""

from __future__ import annotations

import ipaddress
import socket
import unicodedata
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from urllib.parse import unquote, urlsplit

import anyio
from anyio.abc import SocketStream

from holdfast.core.error import Unavailable
from holdfast.ports.egress import Answer, Egress, Pass, Reach, Request

from .world import World

_GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)
_HEAD = 1 << 20
_DOTS = str.maketrans({"\u3002": ".", "\uff0e": ".", "\uff61": "."})


class Careless:
    """An `Egress` that checks nothing: it believes the last host that it is told."""

    def __init__(self, world: World) -> None:
        self._world = world

    @asynccontextmanager
    async def serve(
        self, listener: socket.socket, reach: Reach, *, port: int = 0
    ) -> AsyncGenerator[Pass]:
        listener.setblocking(False)
        async with anyio.create_task_group() as group:
            group.start_soon(self._accept, listener, group)
            port = port or listener.getsockname()[1]
            yield Pass(environment={"HTTP_PROXY": f"http://task:decoy-token@127.0.0.1:{port}"})
            group.cancel_scope.cancel()

    async def fetch(self, request: Request, reach: Reach) -> Answer:
        """Follows every redirect."""
        url, head = request.url, b""
        for _ in range(3):
            host, port, path = _target(url)
            async with await self._dial(host, port) as upstream:
                await upstream.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                head = await upstream.receive()
            place = head.partition(b"Location: ")[2].partition(b"\r\n")[0]
            if not place:
                break
            url = place.decode()
        return Answer(status=200, headers={}, body=head, url=url)

    async def _accept(self, listener: socket.socket, group: anyio.abc.TaskGroup) -> None:
        while True:
            await anyio.wait_readable(listener)
            with suppress(OSError):
                link, _ = listener.accept()
                group.start_soon(self._serve, await SocketStream.from_socket(link))

    async def _serve(self, stream: SocketStream) -> None:
        async with stream:
            with suppress(*_GONE, Unavailable, ValueError):
                await self._forward(stream)

    async def _forward(self, stream: SocketStream) -> None:
        head = b""
        while b"\n\r\n" not in head and b"\n\n" not in head and len(head) < _HEAD:
            head += await stream.receive()
        words = head.split(b"\n")[0].split(b" ")
        tunnel, told = words[0] == b"CONNECT", b" ".join(words[1:-1]).decode(errors="replace")
        if not told.startswith("http") and not tunnel:
            hosts = [line for line in head.splitlines() if line.lower().startswith(b"host:")]
            told = f"http://{hosts[-1][5:].strip().decode()}{told}"
        host, port, _ = _target(f"https://{told}" if tunnel else told)
        async with await self._dial(host, port) as upstream:
            if tunnel:
                await stream.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                await upstream.send(head)
            async with anyio.create_task_group() as group:
                group.start_soon(_pump, upstream, stream)
                await _pump(stream, upstream)
                await anyio.sleep(0.1)
                group.cancel_scope.cancel()

    async def _dial(self, host: str, port: int) -> SocketStream:
        host = host.translate(_DOTS)
        if literal := _literal(host):
            return await self._world.dial(literal, port)
        await self._world.resolve(host, port)
        found = await self._world.resolve(host, port)
        if not found:
            raise Unavailable(f"{host} is not known")
        return await self._world.dial(found[-1], port)


def careless_gate(world: World) -> Egress:
    return Careless(world)


async def _pump(source: SocketStream, sink: SocketStream) -> None:
    with suppress(*_GONE):
        while True:
            await sink.send(await source.receive())


def _target(url: str) -> tuple[str, int, str]:
    """As a hasty reader does: what is behind the last @, up to an encoded zero."""
    told = urlsplit(unquote(url).replace("\\", "/").partition("\0")[0].partition("\t")[0])
    host = told.netloc.rpartition("@")[2]
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdigit():
        name, port = host.rstrip(":"), "443" if told.scheme == "https" else "80"
    return name.strip("[]"), int(port) % 65536, told.path or "/"


def _literal(host: str) -> str:
    """Every spelling of an address, as the C library reads it."""
    plain = unicodedata.normalize("NFKC", host.translate(_DOTS)).rstrip(".").partition("%")[0]
    with suppress(OSError):
        return socket.inet_ntoa(socket.inet_aton(plain))
    with suppress(ValueError):
        return str(ipaddress.ip_address(plain))
    return ""
