"""Names to addresses, and connections to exactly those addresses that were checked."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import anyio
import anyio.to_thread
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from holdfast.core.egress import Target
from holdfast.core.error import Unavailable

from .line import Counted, Line

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""All addresses of a name, the best first. Raises `OSError` when there are none."""

Dial = Callable[[str, int], Awaitable[ByteStream]]
"""A connection to an address. Raises `OSError`."""


class Let(Counted, Protocol):
    """Who was let through: to these addresses, and to which of them it went in the end."""

    addresses: Sequence[str]
    address: str


_THREADS = 16
_LOOKUP = 10.0
_CONNECT = 10.0
_TRIED = 4


class SystemResolver:
    """A `Resolver` that asks the system, in few threads: a slow server holds up nobody else."""

    def __init__(self) -> None:
        self._threads = anyio.CapacityLimiter(_THREADS)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        def ask() -> list[str]:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return list(dict.fromkeys(str(address[0]) for *_, address in found))

        return await anyio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=self._threads)


async def dial_tcp(address: str, port: int) -> ByteStream:
    try:
        return await anyio.connect_tcp(address, port)
    except ExceptionGroup as failed:  # it tries in tasks of its own, and uvloop has its own errors
        raise ConnectionError(f"{address} broke off at once") from failed


_OWN = "a certificate of your own: start the daemon with SSL_CERT_FILE, a file of all to trust"


class Outside:
    """Where everything leaves. `trust` verifies the other side, else what this machine trusts."""

    def __init__(self, resolver: Resolver, dial: Dial, trust: ssl.SSLContext | None) -> None:
        self._resolver, self._dial, self._trust = resolver, dial, trust

    async def addresses(self, target: Target) -> Sequence[str]:
        """Raises `Unavailable`."""
        try:
            with anyio.fail_after(_LOOKUP):
                if found := await self._resolver(target.host, target.port):
                    return found
        except (OSError, UnicodeError):
            pass
        raise Unavailable(f"{target.host} has no address", code="egress_unresolved")

    @asynccontextmanager
    async def connected(
        self, target: Target, crossing: Let, *, closed: bool = False
    ) -> AsyncGenerator[Line]:
        """A line to the first address that answers. Raises `Unavailable`.

        `closed`: as it is, even to where TLS is spoken.
        """
        stream = await self._reached(target, crossing)
        try:
            if target.secure and not closed:
                stream = await self._verified(stream, target)
            yield Line(stream, target.host, crossing)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.aclose_forcefully(stream)

    async def _reached(self, target: Target, crossing: Let) -> ByteStream:
        with anyio.move_on_after(_CONNECT):
            for address in crossing.addresses[:_TRIED]:
                crossing.address = address
                with suppress(OSError):
                    return await self._dial(address, target.port)
        raise Unavailable(f"{target.authority} cannot be reached", code="egress_unreachable")

    async def _verified(self, stream: ByteStream, target: Target) -> ByteStream:
        if self._trust is None:
            self._trust = await anyio.to_thread.run_sync(_system_trust)
        try:
            with anyio.fail_after(_CONNECT):
                return await TLSStream.wrap(
                    stream,
                    server_side=False,
                    hostname=target.host,
                    ssl_context=self._trust,
                    standard_compatible=False,
                )
        except ssl.SSLCertVerificationError as error:
            why = f"the certificate of {target.host} is not valid: {error.verify_message}"
        except (ssl.SSLError, anyio.BrokenResourceError, anyio.EndOfStream, OSError):
            why = f"{target.authority} does not speak TLS with us"
        raise Unavailable(why, code="egress_tls", hint=_OWN)


def _system_trust() -> ssl.SSLContext:
    trust = ssl.create_default_context()
    # Nothing else can be looked into.
    trust.set_alpn_protocols(["http/1.1"])
    return trust
