"""A way out that pretends: answers set beforehand, and what was asked for written down."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
from ipaddress import ip_address
from urllib.parse import urljoin, urlsplit

import anyio
from anyio.abc import SocketListener, SocketStream
from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.error import HoldfastError, NotAllowed, Unavailable
from holdfast.ports.egress import Answer, Pass, Reach, Request

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LONGEST_HEAD = 65_536


class Fetched(Struct, frozen=True, kw_only=True):
    """A request that was made, and for whom. Each hop of a redirect is one."""

    request: Request
    reach: Reach


class FakeEgress:
    """`answers` maps an address, with or without its query, to what comes of it; what `rule`
    returns comes first. Nothing else is there. `fetched` is what was let through."""

    def __init__(
        self,
        answers: Mapping[str, Answer | HoldfastError] | None = None,
        rule: Callable[[Request], Answer | None] | None = None,
    ) -> None:
        self.answers = dict(answers or {})
        self.fetched: list[Fetched] = []
        self._rule = rule

    async def fetch(self, request: Request, reach: Reach) -> Answer:
        passed: list[str] = []
        for hop in range(request.hops + 1):
            _permit(request, reach)
            self.fetched.append(Fetched(request=request, reach=reach))
            answer = self._answer(request)
            location = next((v for k, v in answer.headers.items() if k.lower() == "location"), "")
            if answer.status not in _REDIRECTS or not location or not request.hops:
                led = (*passed, *answer.hops)
                return replace(_kept(answer, request), hops=led)
            passed.append(request.url)
            if hop == request.hops:
                raise NotAllowed(f"more than {hop} redirects", code="egress_redirects")
            request = replace(request, url=urljoin(request.url, location))
        raise AssertionError("the last hop returns")

    @asynccontextmanager
    async def serve(
        self, listener: socket.socket, reach: Reach, *, port: int = 0
    ) -> AsyncGenerator[Pass]:
        """Plain requests for whole addresses, one for each connection; no tunnels."""
        proxy = f"http://127.0.0.1:{port or listener.getsockname()[1]}"
        async with (
            await SocketListener.from_socket(listener) as listening,
            anyio.create_task_group() as group,
        ):

            async def answer(stream: SocketStream) -> None:
                async with stream:
                    await self._serve_one(stream, reach)

            group.start_soon(listening.serve, answer)
            yield Pass(environment={"HTTP_PROXY": proxy, "http_proxy": proxy})
            group.cancel_scope.cancel()

    def _answer(self, request: Request) -> Answer:
        found = self._rule(request) if self._rule else None
        if found is None:
            plain = request.url.partition("?")[0]
            gone = Unavailable(f"nobody answers at {plain}", code="egress_unreachable")
            told = self.answers.get(request.url) or self.answers.get(plain) or gone
            if isinstance(told, HoldfastError):
                raise told
            found = told
        return replace(found, url=found.url or request.url)

    async def _serve_one(self, stream: SocketStream, reach: Reach) -> None:
        head = b""
        while b"\r\n\r\n" not in head and len(head) < _LONGEST_HEAD:
            try:
                head += await stream.receive()
            except anyio.EndOfStream:
                return
        method, _, rest = head.partition(b" ")
        url = rest.partition(b" ")[0].decode("ascii", errors="replace")
        try:
            asked = Request(url=url, method=method.decode("ascii", errors="replace"), hops=0)
            answer = await self.fetch(asked, reach)
        except HoldfastError as error:
            answer = Answer(
                status=error.http_status, headers={}, body=f"{error.code}\n".encode(), url=url
            )
        size = f"Content-Length: {len(answer.body)}\r\nConnection: close"
        await stream.send(f"HTTP/1.1 {answer.status} -\r\n{size}\r\n\r\n".encode() + answer.body)


def _permit(request: Request, reach: Reach) -> None:
    parts = urlsplit(request.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = parts.hostname or ""
    if _is_address(host) and host not in reach.private:
        raise NotAllowed(f"{host} is an address", code="egress_literal")
    named = [way for way in reach.allowed if fnmatchcase(host, way.host) and way.port == port]
    reading = reach.web and request.method in {"GET", "HEAD"}
    if reading or any(not way.methods or request.method in way.methods for way in named):
        return
    code = "egress_method" if named else "egress_host"
    raise NotAllowed(f"{request.method} {host} is not allowed", code=code)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _kept(answer: Answer, request: Request) -> Answer:
    body = b"" if request.method == "HEAD" else answer.body
    cut = answer.cut or len(body) > request.most
    if request.hear is not None and body:
        request.hear(body)
    return replace(answer, body=body[: request.most], cut=cut)
