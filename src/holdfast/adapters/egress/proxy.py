"""A proxy on a socket inside a box: HTTP passes opened, TLS closed or opened as the reach says.

One connection carries one request. A request is read whole in its head, judged, written anew and
sent on a connection of its own to an address that was checked: there is nothing to smuggle into.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
import ssl
from contextlib import suppress
from functools import partial
from typing import Protocol

import anyio
import anyio.to_thread
from anyio.abc import ByteStream, SocketListener
from anyio.streams.tls import TLSStream

from holdfast.core.egress import Target, is_literal, opened, place_of, target_of
from holdfast.core.error import HoldfastError, NotAllowed, Unavailable
from holdfast.core.reach import Reach

from .gate import TUNNEL, Asked, Crossing, Gate
from .hello import Hello, read_hello
from .inbound import Inbound
from .line import GONE, Line, together
from .outbound import Outbound, asked_headers, readable, shown_headers
from .outside import Outside
from .veil import Veil

_log = logging.getLogger("holdfast.egress")
_FEWEST, _MOST = 4, 64
_BREATH = 0.1
_HANDSHAKE = 15.0
_SILENCE = 600.0
_WHO = "the box"
_NEVER = ("TRACE", TUNNEL)


class Authority(Protocol):
    """Signs for one box."""

    @property
    def certificate(self) -> bytes: ...

    def context(self, host: str) -> ssl.SSLContext:
        """How to be `host` for that box."""
        ...


class Room:
    """How many connections there may be, shared alike by all boxes: none keeps another out."""

    def __init__(self, total: int) -> None:
        self._total = total
        self.boxes = 0

    @property
    def share(self) -> int:
        """What one box may have at once."""
        return max(_FEWEST, min(_MOST, self._total // max(1, self.boxes)))


class Proxy:
    """The way out of one box. `token` is what it must show; it opens nothing else."""

    def __init__(
        self,
        gate: Gate,
        outside: Outside,
        reach: Reach,
        *,
        token: str,
        authority: Authority | None,
        room: Room,
    ) -> None:
        self._gate, self._outside, self._reach = gate, outside, reach
        self._token, self._authority, self._room = token, authority, room
        self._talking, self._left = 0, anyio.Event()

    async def serve(self, listener: SocketListener) -> None:
        self._room.boxes += 1
        try:
            async with anyio.create_task_group() as group:
                while True:
                    stream = await self._accepted(listener)
                    self._talking += 1
                    group.start_soon(self._talk, stream)
        finally:
            self._room.boxes -= 1

    async def _accepted(self, listener: SocketListener) -> ByteStream:
        while True:
            while self._talking >= self._room.share:
                self._left = anyio.Event()
                await self._left.wait()
            with suppress(OSError):  # None is free for a moment.
                return await listener.accept()
            await anyio.sleep(_BREATH)

    async def _talk(self, stream: ByteStream) -> None:
        try:
            async with stream:
                await self._one(Line(stream, _WHO), None)
        except Unavailable:
            pass  # Whoever is inside has gone.
        except HoldfastError as error:
            _log.error("a request was not written down: %s", error, extra={"code": error.code})
        except Exception:  # noqa: BLE001 - around a stranger's connection
            _log.exception("a request broke off")
        finally:
            self._talking -= 1
            self._left.set()

    async def _one(self, line: Line, within: Target | None) -> None:
        """One request; `within`: it came through TLS that was meant for there."""
        inbound = Inbound(line)
        method, host = "", within.host if within else ""
        try:
            if not await inbound.read():
                return
            method, host = inbound.method, host or inbound.target.partition("?")[0]
            if within is None:
                self._show_token(inbound)
            asked = _asked(inbound, within)
        except NotAllowed as error:
            # Clients ask once without a token before they show it.
            if error.code != "egress_token" or inbound.all(b"proxy-authorization"):
                await self._gate.refused("proxy", method, host, error, self._reach)
            await inbound.refuse(error)
            return
        try:
            if asked.closed:
                await self._connect(inbound, line, asked)
            else:
                await self._forward(inbound, asked)
        except (NotAllowed, Unavailable) as error:
            await inbound.refuse(error)
        except HoldfastError as error:
            _log.error("a request to %s failed: %s", host, error, extra={"code": error.code})
            what = "something is broken outside of the box"
            await inbound.refuse(Unavailable(what, code=error.code))

    def _show_token(self, inbound: Inbound) -> None:
        scheme, _, given = inbound.one(b"proxy-authorization").partition(" ")
        try:
            shown = base64.b64decode(given.strip(), validate=True)
        except (binascii.Error, ValueError):
            shown = b""
        right = hmac.compare_digest(shown, f"task:{self._token}".encode())
        if scheme.lower() != "basic" or not right:
            raise NotAllowed("this way out is not for whoever asks", code="egress_token")

    async def _connect(self, inbound: Inbound, line: Line, asked: Asked) -> None:
        target = asked.target
        if self._authority is not None and self._opens(target):
            await inbound.connected()
            await self._open(line, target, self._authority)
            return
        async with (
            self._gate.crossing(asked, self._reach) as crossing,
            self._outside.connected(target, crossing, closed=True) as upstream,
        ):
            await inbound.connected()
            crossing.status = 200
            hello = await read_hello(line)
            _same_name(hello, target.host)
            if hello.veiled and not self._reach.anywhere:
                what = "it may be meant for somebody else: the name in it is encrypted"
                raise NotAllowed(what, code="egress_hello")
            await _splice(line, upstream)

    def _opens(self, target: Target) -> bool:
        with suppress(NotAllowed):
            return opened(self._reach, target.host, target.port)
        return False  # The gate says so, and writes it down.

    async def _open(self, line: Line, target: Target, authority: Authority) -> None:
        try:
            _same_name(await read_hello(line), target.host)
        except NotAllowed as error:
            await self._gate.refused("proxy", TUNNEL, target.host, error, self._reach)
            return
        context = await anyio.to_thread.run_sync(authority.context, target.host)
        try:
            with anyio.fail_after(_HANDSHAKE):
                stream = await TLSStream.wrap(
                    line.taken(),
                    server_side=True,
                    ssl_context=context,
                    standard_compatible=False,
                )
        except GONE:
            what = "whoever is inside does not trust the authority of its box"
            error = NotAllowed(what, code="egress_untrusted")
            await self._gate.refused("proxy", TUNNEL, target.host, error, self._reach)
            return
        await self._one(Line(stream, _WHO), target)

    async def _forward(self, inbound: Inbound, asked: Asked) -> None:
        target = asked.target
        async with (
            self._gate.crossing(asked, self._reach) as crossing,
            self._outside.connected(target, crossing) as line,
        ):
            outbound = Outbound(line, target.host)
            headers = asked_headers(inbound.kept_headers(), target, crossing)
            if inbound.all(b"transfer-encoding"):
                headers.append((b"transfer-encoding", b"chunked"))
            await outbound.begin(asked.method, target, headers)

            async def ask() -> None:
                with suppress(Unavailable):  # It may answer without having listened to the end.
                    async for piece in inbound.body():
                        await outbound.piece(piece)
                    await outbound.end()

            await together(partial(_answer, inbound, outbound, crossing), ask)
            await inbound.end()  # only now: with TLS it reads, and so did who was still asking


async def _answer(inbound: Inbound, outbound: Outbound, crossing: Crossing) -> None:
    answer = await outbound.answer()
    readable(answer, crossing)
    crossing.status = answer.status_code
    veil = Veil(crossing.hidden)
    headers = [(key, veil.header(value)) for key, value in shown_headers(answer)]
    await inbound.begin(answer.status_code, headers)
    async for piece in outbound.body():
        await inbound.piece(veil.body(piece))
    await inbound.piece(veil.rest())


async def _splice(inside: Line, outside: Line) -> None:
    """Both ways, until the outside ends or nobody has said anything for long."""
    with anyio.CancelScope() as scope:

        async def pass_on(source: Line, sink: Line) -> None:
            while data := await source.receive(None):
                scope.deadline = anyio.current_time() + _SILENCE
                await sink.send(data)
            await sink.end()

        scope.deadline = anyio.current_time() + _SILENCE
        with suppress(Unavailable):  # Either may hang up as it likes: what it said was said.
            await together(partial(pass_on, outside, inside), partial(pass_on, inside, outside))
    if scope.cancelled_caught:
        raise Unavailable("nobody said anything", code="egress_timeout")


def _asked(inbound: Inbound, within: Target | None) -> Asked:
    """What is wanted, as its parts all say. Raises `NotAllowed`."""
    method = inbound.method
    if within is None and method == TUNNEL:
        host, port = place_of(inbound.target)
        target = Target(scheme="https", host=host, port=port)
    elif within is None:
        target = target_of(inbound.target)
        if target.secure:
            raise _malformed("TLS goes through CONNECT")
    elif inbound.target.startswith("/"):
        target = target_of(f"https://{within.authority}{inbound.target}")
    else:
        raise _malformed("what is wanted is not a path")
    if is_literal(target.host):
        raise NotAllowed(f"{target.host} is an address: only names pass", code="egress_literal")
    host = inbound.one(b"host")
    if host and place_of(host, target.port) != (target.host, target.port):
        what = f"the request is for {target.host}, and its header says {host[:200]}"
        raise NotAllowed(what, code="egress_host_header")
    upgrade = inbound.one(b"upgrade").lower()
    if upgrade not in ("", "h2c") or inbound.all(b"sec-websocket-key"):
        raise NotAllowed("the protocol is not changed here", code="egress_upgrade")
    if method in _NEVER and (within is not None or method != TUNNEL):
        raise NotAllowed(f"{method} is never passed on", code="egress_method")
    return Asked(kind="proxy", method=method, target=target)


def _same_name(hello: Hello, host: str) -> None:
    if hello.name != host:
        what = f"the connection is for {host}, and TLS is for {hello.name or 'nobody'}"
        raise NotAllowed(what, code="egress_sni")


def _malformed(why: str) -> NotAllowed:
    return NotAllowed(f"the request is not plain HTTP: {why}", code="egress_malformed")
