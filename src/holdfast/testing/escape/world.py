"""An internet of our own behind the proxy: names, addresses, servers that remember all."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import SocketStream

from holdfast.ports.egress import Allowed, Egress, Reach

GOOD, EVIL, METADATA = "93.184.216.34", "185.199.108.133", "169.254.169.254"
_NAMES: dict[str, tuple[str, ...]] = {
    "allowed.example": (GOOD,),
    "evil.example": (EVIL,),
    "allowed.example.evil.example": (EVIL,),
    "evilwild.example": (EVIL,),
    "*.wild.example": (EVIL,),
    "evil.example..wild.example": (EVIL,),
    "xn--llowed-8ta.example": (EVIL,),
    "localhost": ("127.0.0.1",),
    "metadata.google.internal": (METADATA,),
    "metadata": (METADATA,),
    "instance-data": (METADATA,),
    "169-254-169-254.nip.wild.example": (METADATA,),
    "loop.wild.example": ("127.0.0.1",),
    "meta.wild.example": (METADATA,),
    "lan.wild.example": ("10.0.0.7",),
    "mapped.wild.example": ("::ffff:169.254.169.254",),
    "nat64.wild.example": ("64:ff9b::a9fe:a9fe",),
    "sixtofour.wild.example": ("2002:a9fe:a9fe::1",),
    "local6.wild.example": ("fd00:ec2::254",),
    "zero.wild.example": ("0.0.0.0",),
    "shared.wild.example": ("100.64.0.1",),
    "mixed.wild.example": (GOOD, "127.0.0.1"),
    "redirect.wild.example": (GOOD,),
}
_FLIPPING = "flip.wild.example"
_PATIENCE = 30.0
_SECRET = b"instance-credentials"

REACH = Reach(
    task="escape",
    agent="escape",
    allowed=(
        Allowed(host="allowed.example", port=80, methods=("GET", "POST"), path="/open/*"),
        Allowed(host="allowed.example", port=443),
        Allowed(host="*.wild.example", port=80),
    ),
)
"""What the box may reach: everything else that is visited is a win."""


@dataclass(slots=True)
class Visit:
    """One connection that the proxy made: where to, and what it said there."""

    address: str
    port: int
    said: bytearray = field(default_factory=bytearray)

    @property
    def forbidden(self) -> bool:
        return self.address != GOOD or self.port not in {80, 443}


@dataclass(slots=True)
class World:
    """What the proxy is given instead of the internet. Nothing real is ever dialled."""

    _port: int
    visits: list[Visit] = field(default_factory=list[Visit])
    _flips: int = 0
    _coming: dict[int, Visit] = field(default_factory=dict[int, Visit])

    async def resolve(self, host: str, _port: int = 0) -> Sequence[str]:
        """The addresses of a name, as a resolver gives them; none when it is not known."""
        if host == _FLIPPING:
            self._flips += 1
            return (GOOD,) if self._flips % 2 else (METADATA,)
        return _NAMES.get(host.rstrip(".").lower(), ())

    async def dial(self, address: str, port: int) -> SocketStream:
        """Connect to what stands for an address."""
        visit = Visit(address, port)
        self.visits.append(visit)
        link = socket.socket()
        link.bind(("127.0.0.1", 0))
        self._coming[link.getsockname()[1]] = visit
        link.connect(("127.0.0.1", self._port))
        return await SocketStream.from_socket(link)

    async def serve(self, stream: SocketStream) -> None:
        """Be every server there is: remember what is said, answer each request."""
        remote = stream.extra(anyio.abc.SocketAttribute.remote_port)
        async with stream:
            with anyio.move_on_after(_PATIENCE):
                await _converse(stream, self._coming.pop(remote))


Gate = Callable[[World], Egress]
"""Makes the way out over a world: it must ask `resolve` and `dial` for everything."""


@asynccontextmanager
async def open_world() -> AsyncGenerator[World]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    world = World(listener.extra(anyio.abc.SocketAttribute.local_port))
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, world.serve)
        yield world
        group.cancel_scope.cancel()


async def _converse(stream: SocketStream, visit: Visit) -> None:
    told = 0
    while True:
        try:
            visit.said += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return
        if visit.said.startswith(b"\x16"):
            return
        ends = visit.said.count(b"\r\n\r\n")
        if ends > told:
            told = ends
            await _answer(stream, visit)


async def _answer(stream: SocketStream, visit: Visit) -> None:
    body = _SECRET if visit.forbidden else b"hello"
    first = b"HTTP/1.1 200 OK\r\n"
    lowered = bytes(visit.said).lower()
    if b"host: redirect.wild.example" in lowered:
        first = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/\r\n"
    if b"\r\nupgrade:" in lowered:
        first = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        body = b""
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    try:
        await stream.send(first + length + b"\r\n" + body)
    except anyio.BrokenResourceError:
        return


def requests_in(said: bytes, *, chunked_first: bool) -> list[str]:
    """The targets of the requests in it, as one of two kinds of servers would understand them."""
    found: list[str] = []
    while b"\r\n\r\n" in said or b"\n\n" in said:
        cut = min(place for place in (_end(said, b"\r\n\r\n"), _end(said, b"\n\n")) if place)
        head, said = said[:cut].lower(), said[cut:]
        words = head.split(b"\n")[0].split()
        found.append(words[1].decode(errors="replace") if len(words) > 1 else "")
        chunked = b"chunked" in head
        length = _length(head)
        if chunked and (chunked_first or length is None):
            end = said.find(b"0\r\n\r\n")
            said = said[end + 5 :] if end >= 0 else b""
        else:
            said = said[length or 0 :]
    return found


def _end(said: bytes, mark: bytes) -> int:
    place = said.find(mark)
    return place + len(mark) if place >= 0 else 0


def _length(head: bytes) -> int | None:
    for line in head.splitlines():
        name, _, value = line.partition(b":")
        if name.strip() == b"content-length" and value.strip().isdigit():
            return int(value)
    return None
