"""Requests of the house's own tools: the same gate for each hop, and bounded in every direction."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from contextlib import aclosing
from functools import partial
from urllib.parse import urljoin

import anyio
import h11
from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.egress import Target, target_of
from holdfast.core.error import NotAllowed, Unavailable
from holdfast.core.reach import Reach
from holdfast.ports.egress import Answer, Request

from .gate import Asked, Crossing, Gate
from .inbound import HOP_BY_HOP, Headers
from .outbound import Outbound, asked_headers, readable, shown_headers
from .outside import Outside
from .veil import Veil

_METHOD = re.compile(r"[A-Z]{1,20}")
_NEVER = ("CONNECT", "TRACE")
_OURS = HOP_BY_HOP | {b"host", b"content-length", b"accept-encoding"}
_ELSEWHERE = {b"accept", b"accept-language", b"user-agent", b"content-type"}
_MOVED = (301, 302, 303, 307, 308)
_AS_GET = (301, 302, 303)
_AGENT = (b"user-agent", b"holdfast")


class _Hop(Struct, frozen=True, kw_only=True):
    """One request of those that a redirect may make of one."""

    target: Target
    method: str
    headers: Headers
    body: bytes


class _Got(Struct, frozen=True, kw_only=True):
    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: bool


class Fetching:
    """Makes requests for as long as they redirect."""

    def __init__(self, gate: Gate, outside: Outside) -> None:
        self._gate, self._outside = gate, outside

    async def fetch(self, request: Request, reach: Reach) -> Answer:
        try:
            with anyio.fail_after(request.seconds):
                return await self._followed(request, reach)
        except TimeoutError:
            what = f"no answer within {request.seconds:g} s"
            raise Unavailable(what, code="egress_timeout") from None

    async def _followed(self, request: Request, reach: Reach) -> Answer:
        first = _without_query(request.url)
        hop = await self._noted(partial(_first, request), request.method, first, reach)
        passed: list[str] = []
        for left in range(request.hops, -1, -1):
            got = await self._once(hop, request, reach)
            place = got.headers.get("location")
            if got.status not in _MOVED or place is None or not request.hops:
                return Answer(
                    status=got.status,
                    headers=got.headers,
                    body=got.body,
                    url=hop.target.url,
                    cut=got.cut,
                    hops=tuple(passed),
                )
            passed.append(hop.target.url)
            if left:
                moved = partial(_next, hop, got.status, place)
                hop = await self._noted(moved, hop.method, _without_query(place), reach)
        raise Unavailable(f"more than {request.hops} redirects", code="egress_redirects")

    async def _noted(
        self, understood: Callable[[], _Hop], method: str, where: str, reach: Reach
    ) -> _Hop:
        """What is refused before it has a proper target is written down too."""
        try:
            return understood()
        except NotAllowed as error:
            await self._gate.refused("fetch", method, where, error, reach)
            raise

    async def _once(self, hop: _Hop, request: Request, reach: Reach) -> _Got:
        asked = Asked(kind="fetch", method=hop.method, target=hop.target)
        async with (
            self._gate.crossing(asked, reach) as crossing,
            self._outside.connected(hop.target, crossing) as line,
        ):
            outbound = Outbound(line, hop.target.host)
            given = [*hop.headers, (b"accept-encoding", b"gzip, deflate")]
            headers = asked_headers(given, hop.target, crossing)
            if hop.body or hop.method not in ("GET", "HEAD"):
                headers.append((b"content-length", b"%d" % len(hop.body)))
            await outbound.begin(hop.method, hop.target, headers)
            if hop.body:
                await outbound.piece(hop.body)
            await outbound.end()
            answer = await outbound.answer()
            readable(answer, crossing)
            crossing.status = answer.status_code
            return await _read(answer, outbound, crossing, request)


def _first(request: Request) -> _Hop:
    method = request.method.upper()
    if not _METHOD.fullmatch(method) or method in _NEVER:
        raise NotAllowed(f"{method[:20]!r} is not a method to use", code="egress_method")
    target = target_of(request.url)
    headers = [
        (key.lower().encode(errors="replace"), value.encode(errors="replace"))
        for key, value in request.headers.items()
        if key.lower().encode(errors="replace") not in _OURS
    ]
    if not any(key == b"user-agent" for key, _ in headers):
        headers.append(_AGENT)
    return _Hop(target=target, method=method, headers=headers, body=request.body)


def _next(hop: _Hop, status: int, place: str) -> _Hop:
    """What a redirect asks for. Another place gets no body, and no header that could be a key."""
    try:
        target = target_of(urljoin(hop.target.url, place))
    except ValueError:
        what = f"{hop.target.host} leads to what is no address"
        raise NotAllowed(what, code="egress_malformed") from None
    if status in _AS_GET and hop.method not in ("GET", "HEAD"):
        hop = replace(hop, method="GET", body=b"")
    if _origin(target) == _origin(hop.target):
        return replace(hop, target=target)
    if hop.body:
        what = f"{hop.target.host} asks to send the body to {target.host}"
        raise NotAllowed(what, code="egress_redirect")
    headers = [one for one in hop.headers if one[0] in _ELSEWHERE]
    return replace(hop, target=target, headers=headers)


def _origin(target: Target) -> tuple[str, str, int]:
    return target.scheme, target.host, target.port


async def _read(
    answer: h11.Response, outbound: Outbound, crossing: Crossing, request: Request
) -> _Got:
    most, hear = request.most, request.hear
    veil = Veil(crossing.hidden)
    headers: dict[str, str] = {}
    for key, value in shown_headers(answer):
        name, text = key.decode(), _text(veil.header(value))
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    coded = headers.get("content-encoding", "").strip().lower()
    unpacked = _Unpacked() if coded in ("gzip", "x-gzip", "deflate") else None
    if unpacked:
        headers = {k: v for k, v in headers.items() if k not in _PACKED}
    body = bytearray()
    async with aclosing(outbound.body()) as pieces:
        async for piece in pieces:
            before = len(body)
            body += unpacked.more(piece, most + 1 - before) if unpacked else veil.body(piece)
            if len(body) > most or (hear is not None and hear(bytes(body[before:]))):
                break
    body += veil.rest()
    return _Got(
        status=answer.status_code,
        headers=headers,
        body=bytes(body[:most]),
        cut=len(body) > most,
    )


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


_PACKED = ("content-encoding", "content-length")


class _Unpacked:
    """A compressed body, never more of it than is asked for."""

    def __init__(self) -> None:
        self._work = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def more(self, data: bytes, most: int) -> bytes:
        try:
            return self._work.decompress(data, max(1, most))
        except zlib.error:
            raise Unavailable(
                "the answer is not compressed as it says", code="egress_broken"
            ) from None


def _without_query(url: str) -> str:
    return url.partition("?")[0]
