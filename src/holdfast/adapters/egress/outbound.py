"""A request of ours, and the answer to it."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import h11

from holdfast.core.egress import Target
from holdfast.core.error import NotAllowed, Unavailable

from .gate import Crossing
from .inbound import LONGEST_HEAD, Headers, end_to_end
from .line import Line

_PARTS = (b"range", b"if-range")
_UNWANTED = frozenset({b"alt-svc"})


class Outbound:
    """One request on a line. Raises `Unavailable` for an answer that is none."""

    def __init__(self, line: Line, whom: str) -> None:
        self._line, self._whom = line, whom
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=LONGEST_HEAD)

    async def begin(self, method: str, target: Target, headers: Headers) -> None:
        try:
            request = h11.Request(method=method, target=target.path + target.query, headers=headers)
        except h11.LocalProtocolError:
            # Its own words could show a value that was put in.
            what = "a header or the path holds what cannot be sent"
            raise NotAllowed(what, code="egress_malformed") from None
        await self._line.send(self._http.send(request))

    async def piece(self, data: bytes) -> None:
        await self._say(h11.Data(data=data))

    async def end(self) -> None:
        await self._say(h11.EndOfMessage())

    async def answer(self) -> h11.Response:
        """Its head. What comes before it is not passed on."""
        while True:
            event = await self._next()
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse) or event.status_code == 101:
                raise self._broken()

    async def body(self) -> AsyncGenerator[bytes]:
        while isinstance(event := await self._next(), h11.Data):
            yield bytes(event.data)

    async def _next(self) -> object:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._line.receive())
        except h11.RemoteProtocolError:
            raise self._broken() from None
        return event

    async def _say(self, event: h11.Event) -> None:
        try:
            data = self._http.send(event)
        except h11.LocalProtocolError:
            what = "the request is longer or shorter than it said"
            raise NotAllowed(what, code="egress_malformed") from None
        if data:
            await self._line.send(data)

    def _broken(self) -> Unavailable:
        return Unavailable(f"the answer of {self._whom} is not plain HTTP", code="egress_broken")


def asked_headers(given: Headers, target: Target, crossing: Crossing) -> Headers:
    """What is sent: the names of what is given are in lower case."""
    put = {key.lower().encode(): value.encode() for key, value in crossing.headers.items()}
    if crossing.hidden:
        # What comes back must be readable, and whole: else what was put in could hide in it.
        put |= {b"accept-encoding": b"identity"}
    dropped = {b"host", *put, *(_PARTS if crossing.hidden else ())}
    kept = [one for one in given if one[0] not in dropped]
    return [(b"host", target.authority.encode()), *kept, *put.items(), (b"connection", b"close")]


def shown_headers(answer: h11.Response) -> Headers:
    """Those of an answer that concern whoever asked, with one length at most."""
    headers = list(answer.headers)
    if any(key == b"transfer-encoding" for key, _ in headers):
        headers = [one for one in headers if one[0] != b"content-length"]
    return [one for one in end_to_end(headers) if one[0] not in _UNWANTED]


def readable(answer: h11.Response, crossing: Crossing) -> None:
    """Raises `Unavailable` for what could hide what was put into the request."""
    coded = [value for key, value in answer.headers if key == b"content-encoding"]
    if crossing.hidden and any(value.lower() != b"identity" for value in coded):
        what = "the answer is compressed, though it may hold what was put into the request"
        raise Unavailable(what, code="egress_encoded")
