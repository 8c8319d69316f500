"""A request of somebody who is not believed: read strictly, answered once.

Whatever two readers could understand differently is refused before it is parsed: both lengths,
a folded line, a line end that is half of one. What is passed on is written anew, never copied.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from http import HTTPStatus

import anyio
import h11

from holdfast.core.error import HoldfastError, NotAllowed, Unavailable

from .line import Line

LONGEST_HEAD = 1 << 16
MOST_HEADERS = 128
_HEAD_SECONDS = 15.0
_BODY_SILENCE = 60.0
_LINGER = 1.0
_ODD = re.compile(rb"\r(?!\n)|(?<!\r)\n|\x00|\n[ \t]|\A\r\n")
_LENGTH = re.compile(rb"\n(?:content-length|transfer-encoding)\s*:([^\r]*)", re.IGNORECASE)
_STATUS = {
    "egress_token": 407,
    "egress_malformed": 400,
    "egress_too_large": 431,
    "egress_slow": 408,
    "egress_quota": 429,
    "egress_busy": 503,
    "egress_timeout": 504,
}
_REASONS = {one.value: one.phrase for one in HTTPStatus}
HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-connection proxy-authorization proxy-authenticate te trailer"
    b" trailers upgrade transfer-encoding expect".split()
)
Headers = list[tuple[bytes, bytes]]


class Inbound:
    """One request on a line, and the answer to it. The line is of no use afterwards."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=LONGEST_HEAD)
        self._headless = self.answered = False
        self.request: h11.Request

    async def read(self) -> bool:
        """Read the head; False when there is none. Raises `NotAllowed` for what is not plain."""
        try:
            with anyio.fail_after(_HEAD_SECONDS):
                head, rest = await self._head()
        except TimeoutError:
            what = "the request did not come in time"
            raise NotAllowed(what, code="egress_slow") from None
        if not head:
            return False
        if _ODD.search(head):
            raise _malformed("its lines are not plain")
        # Counted here: the library makes one of several that say the same.
        if len(lengths := _LENGTH.findall(head)) > 1 or b"," in b"".join(lengths):
            raise _malformed("it has more than one length")
        try:
            self._http.receive_data(head)
            request = self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise _malformed(str(error)) from None
        if not isinstance(request, h11.Request):
            raise _malformed("it has no end")
        self.request, self._headless = request, request.method == b"HEAD"
        if rest and request.method == b"CONNECT":
            self._line.give_back(rest)
        elif rest:
            self._http.receive_data(rest)
        self._refuse_two_readings()
        return True

    async def body(self) -> AsyncGenerator[bytes]:
        if self._http.they_are_waiting_for_100_continue:
            await self._say(h11.InformationalResponse(status_code=100, headers=[]))
        while True:
            try:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    self._http.receive_data(await self._line.receive(_BODY_SILENCE))
                    continue
            except h11.RemoteProtocolError as error:
                raise _malformed(str(error)) from None
            if not isinstance(event, h11.Data):
                return
            yield bytes(event.data)

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.request.headers if key == name]

    def one(self, name: bytes) -> str:
        """The header's value, "" if there is none. Raises `NotAllowed` for two."""
        found = self.all(name)
        if len(found) > 1:
            raise _malformed(f"it has several headers {name.decode()}")
        return found[0].decode("latin-1") if found else ""

    @property
    def target(self) -> str:
        return self.request.target.decode("ascii")

    @property
    def method(self) -> str:
        return self.request.method.decode("ascii")

    def kept_headers(self) -> Headers:
        """Those that concern the other end."""
        return end_to_end(list(self.request.headers))

    async def connected(self) -> None:
        """From now on the line is a tunnel."""
        self.answered = True
        await self._line.send(b"HTTP/1.1 200 Connection established\r\n\r\n")

    async def begin(self, status: int, headers: Headers) -> None:
        self.answered = True
        headers = [*headers, (b"connection", b"close")]
        reason = _REASONS.get(status, "")
        await self._say(h11.Response(status_code=status, headers=headers, reason=reason))

    async def piece(self, data: bytes) -> None:
        if data:
            await self._say(h11.Data(data=data))

    async def end(self) -> None:
        await self._say(h11.EndOfMessage())
        await self._line.end()

    async def refuse(self, error: HoldfastError) -> None:
        """Say why not, if it is not too late for that."""
        if self.answered:
            return
        status = _STATUS.get(error.code, 502 if isinstance(error, Unavailable) else 403)
        text = f"holdfast: {error} [{error.code}]\n".encode()
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(text)),
            (b"x-holdfast-egress", error.code.encode()),
        ]
        if status == 407:
            headers.append((b"proxy-authenticate", b'Basic realm="holdfast"'))
        await self.begin(status, headers)
        if not self._headless:
            await self.piece(text)
        await self.end()
        with anyio.move_on_after(_LINGER):  # What is still on its way must not tear the answer.
            while await self._line.receive():
                pass

    async def _say(self, event: h11.Event) -> None:
        try:
            data = self._http.send(event)
        except h11.LocalProtocolError:
            what = "the answer cannot be passed on as it came"
            raise Unavailable(what, code="egress_broken") from None
        if data:
            await self._line.send(data)

    async def _head(self) -> tuple[bytes, bytes]:
        read = bytearray()
        while (end := read.find(b"\r\n\r\n")) < 0:
            if len(read) > LONGEST_HEAD:
                raise _too_large()
            if not (piece := await self._line.receive()):
                if read:
                    raise _malformed("it has no end")
                return b"", b""
            read += piece
        if end > LONGEST_HEAD:
            raise _too_large()
        return bytes(read[: end + 4]), bytes(read[end + 4 :])

    def _refuse_two_readings(self) -> None:
        lengths, codings = self.all(b"content-length"), self.all(b"transfer-encoding")
        if len(list(self.request.headers)) > MOST_HEADERS:
            raise _too_large()
        if self.request.http_version not in (b"1.0", b"1.1"):
            raise _malformed("it is of another version")
        if codings and codings[0].lower() != b"chunked":
            raise _malformed("its transfer coding is not chunked")
        if codings and self.request.http_version != b"1.1":
            raise _malformed("it is of HTTP/1.0 and chunked")
        if self.request.method == b"CONNECT" and (lengths or codings):
            raise _malformed("CONNECT has no body")


def end_to_end(headers: Headers) -> Headers:
    """Without what is meant for the next one only."""
    said = {
        word.strip().lower()
        for key, value in headers
        if key == b"connection"
        for word in value.split(b",")
    }
    return [(key, value) for key, value in headers if key not in HOP_BY_HOP | said]


def _malformed(why: str) -> NotAllowed:
    return NotAllowed(f"the request is not plain HTTP: {why}", code="egress_malformed")


def _too_large() -> NotAllowed:
    return NotAllowed("the head of the request is too large", code="egress_too_large")
