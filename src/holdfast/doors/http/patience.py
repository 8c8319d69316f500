"""How long, and from how many, the server takes bytes: before any of it is a request."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from typing import Any

from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .auth import PEER

_CREDENTIALS = struct.Struct("3i")
_TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n"
    b"content-type: application/problem+json\r\ncontent-length: %d\r\n\r\n%b"
)
_TOO_SLOW_BODY = (
    b'{"type":"urn:holdfast:problem:too_slow","title":"Request Timeout","status":408,'
    b'"detail":"the request did not arrive in time","code":"too_slow","hint":""}'
)


class Reception(Struct, frozen=True, kw_only=True):
    """Seconds for the head and for the body of a request; TLS, and connections, over TCP."""

    tls: ssl.SSLContext | None = None
    head: float = 10.0
    body: float = 60.0
    connections: int = 512


class Listener(HttpToolsProtocol):
    """One connection. Knows who is at the other end of a Unix socket, from the kernel."""

    reception = Reception()
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        # By the socket's own kind: one over TCP whose other end has hung up has no address either.
        if transport.get_extra_info("socket").family == socket.AF_UNIX:
            self.app_state = {**self.app_state, PEER: _uid(transport)}
        elif self.client is None or self._are_too_many():
            transport.abort()
            return
        self._wait(self.reception.head)

    def _are_too_many(self) -> bool:
        """Others are counted over TCP only: the owner's own socket stays open."""
        most = self.reception.connections
        if len(self.connections) <= most:
            return False
        return sum(getattr(one, "client", None) is not None for one in self.connections) > most

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle: Any = self.cycle
        if self._timer is None and (cycle is None or cycle.response_complete):
            self._wait(self.reception.head)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._wait(self.reception.head)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._wait(self.reception.body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(seconds, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        """Say so where an answer has not begun, and hang up; the app learns that it was left."""
        transport: Any = self.transport
        if transport.is_closing() or transport.get_protocol() is not self:
            return
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete or not cycle.response_started:
            transport.write(_TOO_SLOW % (len(_TOO_SLOW_BODY), _TOO_SLOW_BODY))
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        transport.close()


def _uid(transport: asyncio.Transport) -> int:
    """Where the kernel does not say, it is us: nobody else can open the socket's file."""
    ask = getattr(socket, "SO_PEERCRED", None)
    if ask is None:
        return os.getuid()
    with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as one:
        told = one.getsockopt(socket.SOL_SOCKET, ask, _CREDENTIALS.size)
    return _CREDENTIALS.unpack(told)[1]
