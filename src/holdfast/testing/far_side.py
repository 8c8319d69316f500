"""The far side of the network, made up by a test: names, addresses and servers, nothing leaves."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio
import h11
from anyio.abc import ByteStream, SocketStream, TaskGroup
from anyio.streams.tls import TLSStream
from msgspec import Struct

from holdfast.adapters.egress.authority import Authority
from holdfast.adapters.egress.gateway import Gateway
from holdfast.core.error import HoldfastError, NotAllowed
from holdfast.core.ids import Instant
from holdfast.core.reach import Reach
from holdfast.ports.clock import Clock

from .fake_visits import FakeVisits

PUBLIC = "93.184.216.34"


class Heard(Struct, frozen=True, kw_only=True):
    """What a server understood of a request, and every byte that it got."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    raw: bytes
    address: str
    port: int


Answering = Callable[[Heard], bytes | Awaitable[bytes]]
Talking = Callable[[ByteStream], Awaitable[None]]


def plain(text: str = "hello\n", *headers: str, status: str = "200 OK") -> bytes:
    """An answer as bytes."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(text.encode())}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + text).encode()


class FarSide:
    """Implements a resolver and a dialler. `names` gives each question its next answer."""

    def __init__(self, group: TaskGroup, now: Instant) -> None:
        self._group = group
        self._servers: dict[tuple[str, int], Talking] = {}
        self._authority = Authority(now)
        self.names: dict[str, list[Sequence[str]]] = {}
        self.asked: list[str] = []
        self.dialled: list[tuple[str, int]] = []
        self.heard: list[Heard] = []
        self.secrets: dict[str, str | HoldfastError] = {}

    @property
    def trust(self) -> ssl.SSLContext:
        trust = ssl.create_default_context(cadata=self._authority.certificate.decode())
        trust.set_alpn_protocols(["http/1.1"])
        return trust

    @property
    def certificate(self) -> bytes:
        return self._authority.certificate

    def at(self, host: str, *addresses: str) -> None:
        self.names.setdefault(host, []).append(addresses or (PUBLIC,))

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if not (answers := self.names.get(host)):
            raise OSError(f"no {host}")
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def dial(self, address: str, port: int) -> ByteStream:
        self.dialled.append((address, port))
        if (address, port) not in self._servers:
            raise ConnectionRefusedError(address)
        ours, theirs = socket.socketpair()
        self._group.start_soon(self._talk, theirs, self._servers[address, port])
        return await SocketStream.from_socket(ours)

    async def secret(self, name: str, reach: Reach) -> str:
        if name not in self.secrets:
            raise NotAllowed(f"{name} is not for {reach.agent}", code="secret_not_granted")
        found = self.secrets[name]
        if isinstance(found, HoldfastError):
            raise found
        return found

    def serve(
        self, answer: Answering, *, address: str = PUBLIC, port: int = 443, tls: str = ""
    ) -> None:
        """A server that answers once a connection. `tls`: the name that it proves to be."""

        async def talk(stream: ByteStream) -> None:
            heard = await _hear(stream, address, port)
            if heard is None:
                return
            self.heard.append(heard)
            said = answer(heard)
            await stream.send(said if isinstance(said, bytes) else await said)

        self.talk(talk, address=address, port=port, tls=tls)

    def talk(
        self, talking: Talking, *, address: str = PUBLIC, port: int = 443, tls: str = ""
    ) -> None:
        """A server that speaks as it likes."""

        async def wrapped(stream: ByteStream) -> None:
            context = self._authority.context(tls)
            await talking(
                await TLSStream.wrap(
                    stream, server_side=True, ssl_context=context, standard_compatible=False
                )
            )

        self._servers[address, port] = wrapped if tls else talking

    async def _talk(self, theirs: socket.socket, talking: Talking) -> None:
        gone = (anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError)
        try:
            async with await SocketStream.from_socket(theirs) as stream:
                await talking(stream)
        except (*gone, ssl.SSLError, h11.RemoteProtocolError):
            pass  # Clients may leave.


class World(Struct, frozen=True, kw_only=True):
    """A gateway, what is beyond it and what it wrote down."""

    far: FarSide
    gateway: Gateway
    visits: FakeVisits

    async def codes(self) -> list[str]:
        """How each request ended, oldest first."""
        return [one.code for one in self.visits.all.values()]


@asynccontextmanager
async def made_up_world(clock: Clock) -> AsyncGenerator[World]:
    async with anyio.create_task_group() as group:
        far, visits = FarSide(group, clock.now()), FakeVisits()
        gateway = Gateway(
            secret=far.secret,
            log=visits,
            clock=clock,
            resolver=far.resolve,
            dial=far.dial,
            trust=far.trust,
        )
        yield World(far=far, gateway=gateway, visits=visits)
        group.cancel_scope.cancel()


async def _hear(stream: ByteStream, address: str, port: int) -> Heard | None:
    http, raw, body = h11.Connection(h11.SERVER), bytearray(), bytearray()
    request: h11.Request | None = None
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            try:
                data = await stream.receive()
            except anyio.EndOfStream:
                return None
            raw += data
            http.receive_data(data)
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif request is None:
            return None
        else:
            break
    return Heard(
        method=request.method.decode(),
        target=request.target.decode(),
        headers={key.decode(): value.decode() for key, value in request.headers},
        body=bytes(body),
        raw=bytes(raw),
        address=address,
        port=port,
    )
