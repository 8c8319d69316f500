"""The one way out of the house, for boxes and for the house's own tools."""

from __future__ import annotations

import resource
import secrets
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
from anyio.abc import SocketListener

from holdfast.core.ids import Instant
from holdfast.core.reach import Reach
from holdfast.ports.clock import Clock
from holdfast.ports.egress import AUTHORITY, Answer, Pass, Request, Visits

from .fetch import Fetching
from .gate import Gate, Secret
from .loading import load
from .outside import Dial, Outside, Resolver, SystemResolver, dial_tcp
from .proxy import Authority, Proxy, Room

_TRUSTING = (
    *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"),
    *("GIT_SSL_CAINFO", "PIP_CERT", "AWS_CA_BUNDLE", "CARGO_HTTP_CAINFO"),
)


class Gateway:
    """Implements `Egress`. `secret` gives values for headers when a request leaves, never before.

    `resolver`, `dial` and `trust` are the system's own if nothing else is said.
    """

    def __init__(
        self,
        *,
        secret: Secret,
        log: Visits,
        clock: Clock,
        resolver: Resolver | None = None,
        dial: Dial = dial_tcp,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._outside = Outside(resolver or SystemResolver(), dial, trust)
        self._gate = Gate(outside=self._outside, visits=log, secret=secret, clock=clock)
        self._fetching = Fetching(self._gate, self._outside)
        # Half of the descriptors that this process may have, and each connection needs two.
        self._room = Room(resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
        self._clock = clock

    @asynccontextmanager
    async def serve(
        self, listener: socket.socket, reach: Reach, *, port: int = 0
    ) -> AsyncGenerator[Pass]:
        authority: Authority | None = None
        if reach.intercept and any(way.ruled for way in reach.ways):
            authority = await anyio.to_thread.run_sync(_new_authority, self._clock.now())
        token = secrets.token_urlsafe(24)
        proxy = Proxy(
            self._gate,
            self._outside,
            reach,
            token=token,
            authority=authority,
            room=self._room,
        )
        listener.setblocking(False)
        async with (
            await SocketListener.from_socket(listener) as accepting,
            anyio.create_task_group() as group,
        ):
            group.start_soon(proxy.serve, accepting)
            port = port or listener.getsockname()[1]
            yield Pass(
                environment=_environment(f"http://task:{token}@127.0.0.1:{port}", authority),
                authority=authority.certificate if authority else b"",
            )
            group.cancel_scope.cancel()

    async def fetch(self, request: Request, reach: Reach) -> Answer:
        return await self._fetching.fetch(request, reach)


def _new_authority(now: Instant) -> Authority:
    return load("authority").Authority(now)


def _environment(proxy: str, authority: Authority | None) -> dict[str, str]:
    found = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), proxy)
    found |= {"NO_PROXY": "", "no_proxy": "", "NODE_USE_ENV_PROXY": "1"}
    return found | dict.fromkeys(_TRUSTING if authority else (), AUTHORITY)
