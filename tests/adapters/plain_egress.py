"""A way out over real HTTP, to this machine only: what the web's tools are tried with."""

from __future__ import annotations

import socket
from contextlib import AbstractAsyncContextManager
from urllib.parse import urljoin, urlsplit

import anyio
import httpx2
from msgspec.structs import replace

from holdfast.core.error import NotAllowed, Unavailable
from holdfast.ports.egress import Answer, Pass, Reach, Request


class PlainEgress:
    """Fetches what the reach names; unpacks, cuts and follows redirects itself. No proxy."""

    def serve(
        self, listener: socket.socket, reach: Reach, *, port: int = 0
    ) -> AbstractAsyncContextManager[Pass]:
        raise NotImplementedError

    async def fetch(self, request: Request, reach: Reach) -> Answer:
        try:
            with anyio.fail_after(request.seconds):
                async with httpx2.AsyncClient(trust_env=False, timeout=request.seconds) as client:
                    return await self._followed(client, request, reach)
        except TimeoutError as error:
            raise Unavailable("it said nothing", code="egress_timeout") from error
        except httpx2.HTTPError as error:
            raise Unavailable(f"it failed: {error}", code="egress_unreachable") from error

    async def _followed(self, client: httpx2.AsyncClient, request: Request, reach: Reach) -> Answer:
        passed: list[str] = []
        for hop in range(request.hops + 1):
            permit(request, reach)
            answer = await self._one(client, request)
            location = answer.headers.get("location", "")
            if answer.status // 100 != 3 or not location or not request.hops:
                return replace(answer, hops=tuple(passed))
            passed.append(request.url)
            if hop == request.hops:
                raise NotAllowed(f"more than {hop} redirects", code="egress_redirects")
            request = replace(request, url=urljoin(request.url, location))
        raise AssertionError

    async def _one(self, client: httpx2.AsyncClient, request: Request) -> Answer:
        body = b""
        async with client.stream(
            request.method, request.url, headers=dict(request.headers), content=request.body
        ) as response:
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > request.most or (request.hear and request.hear(piece)):
                    break
            return Answer(
                status=response.status_code,
                headers=dict(response.headers),
                body=body[: request.most],
                url=str(response.url),
                cut=len(body) > request.most,
            )


def permit(request: Request, reach: Reach) -> None:
    parts = urlsplit(request.url)
    if parts.hostname not in reach.private:
        raise NotAllowed(f"{parts.hostname} is an address", code="egress_literal")
    named = [
        way
        for way in reach.allowed
        if way.host == parts.hostname and way.port == parts.port and way.host in reach.private
    ]
    if not named:
        raise NotAllowed(f"{parts.hostname} is not allowed", code="egress_host")
    if not any(not way.methods or request.method in way.methods for way in named):
        raise NotAllowed(f"{request.method} is not allowed", code="egress_method")
