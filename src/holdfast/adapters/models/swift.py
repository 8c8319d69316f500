"""Connections to providers over aiohttp: compiled, at a third of what httpx2's own transport costs.

Everything above stays httpx2's: the libraries of the providers, proxies, limits, unpacking. Only a
request without a proxy goes this way (decision 43), and none to a server whose HTTP aiohttp does
not read: that one is asked as before, from the next request on.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from asyncio import Future
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from io import BytesIO
from weakref import WeakKeyDictionary, ref

import aiohttp
import httpx2
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

_IDLE = 4.0
"""Seconds that a connection is kept for the next call: less than the 5 after which many hang up."""
_LONGEST_LINE, _MOST_HEADERS = 65_536, 1_000
_SLOWEST = 16_384
"""Bytes a second that a body may take at the least, beyond the patience for each part."""
_AT_ONCE = 65_536
_TURNS = 2
"""Rounds of the event loop in which a connection that was closed meanwhile is seen to be."""
_AS_SAID = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class NotRead(httpx2.RemoteProtocolError):
    """The server's HTTP is none that aiohttp reads; httpx2's own transport is more patient."""


class Swift(httpx2.AsyncBaseTransport):
    """Asks without following, unpacking or remembering anything, like every transport of httpx2.

    A request that could not be sent or whose answer breaks off raises httpx2's own errors.
    `careful` is asked in its place where a server was not understood.
    """

    def __init__(self, trust: ssl.SSLContext, careful: httpx2.AsyncBaseTransport) -> None:
        self._trust, self._careful = trust, careful
        self._odd: set[bytes] = set()
        self._session: aiohttp.ClientSession | None = None
        self._watches: WeakKeyDictionary[ResponseHandler, _Watch] = WeakKeyDictionary()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.netloc in self._odd:
            return await self._careful.handle_async_request(request)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        with self._told(request):
            answer = await self._asked(request)
        network = _Network(answer, self._watch(answer))
        return httpx2.Response(
            answer.status,
            headers=list(answer.raw_headers),
            stream=_Body(answer, network, lambda: self._told(request)),
            extensions={
                "network_stream": network,
                "http_version": b"HTTP/1.1",
                "reason_phrase": (answer.reason or "").encode(errors="replace"),
            },
        )

    async def aclose(self) -> None:
        await self._careful.aclose()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _asked(self, request: httpx2.Request) -> aiohttp.ClientResponse:
        body = await request.aread()
        wanted = request.extensions.get("timeout", {})
        connect, read, write = (wanted.get(part) for part in ("connect", "read", "write"))
        whole: float | None = None  # what fits into the kernel's buffers is never waited for
        if len(body) > _AT_ONCE and None not in (connect, read, write):
            whole = connect + read + write + len(body) / _SLOWEST
        session = self._session or self._opened()
        async with asyncio.timeout(whole) if whole else nullcontext():
            return await session.request(
                request.method,
                _address(_without_user(request.url)),
                headers=_headers(request),
                data=BytesIO(body) if len(body) > _AT_ONCE else body or None,
                allow_redirects=False,
                timeout=_timeout(connect, read),
            )

    def _opened(self) -> aiohttp.ClientSession:
        """How many calls go on at once is for the provider's lane to say, not for a limit here."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._trust, limit=0, keepalive_timeout=_IDLE),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_AS_SAID,
            max_line_size=_LONGEST_LINE,
            max_field_size=_LONGEST_LINE,
            max_headers=_MOST_HEADERS,
        )
        return self._session

    def _watch(self, answer: aiohttp.ClientResponse) -> _Watch | None:
        """None where the answer has come whole, and its connection is free again."""
        protocol = answer.connection.protocol if answer.connection is not None else None
        if protocol is None or (closed := protocol.closed) is None:
            return None
        if (watch := self._watches.get(protocol)) is None:
            watch = self._watches[protocol] = _Watch(protocol, closed)
        return watch

    @contextmanager
    def _told(self, request: httpx2.Request) -> Generator[None]:
        try:
            with _translated(request):
                yield
        except NotRead:
            self._odd.add(request.url.netloc)
            raise


class _Watch:
    """Sees a connection end, which aiohttp does not tell every reader of an answer."""

    def __init__(self, protocol: ResponseHandler, closed: Future[None]) -> None:
        self._protocol = ref(protocol)  # which is to go once its connection has
        self.content: aiohttp.StreamReader | None = None
        self.broken = False
        closed.add_done_callback(self._ended)

    def _ended(self, closed: Future[None]) -> None:
        self.broken = closed.cancelled() or closed.exception() is not None
        content = self.content
        if content is None or content.is_eof() or content.exception() is not None:
            return
        protocol = self._protocol()
        why = protocol.exception() if protocol is not None else None
        known = isinstance(why, aiohttp.ClientPayloadError | HttpProcessingError)
        content.set_exception(why if known else aiohttp.ClientPayloadError("it ended too early"))


class _Network:
    """What comes over the connection; its reader may put a `read` of their own before this one."""

    def __init__(self, answer: aiohttp.ClientResponse, watch: _Watch | None) -> None:
        self._content, self._watch = answer.content, watch
        self._until_end = not answer.headers.keys() & {"Content-Length", "Transfer-Encoding"}
        self._lost: Exception | None = None
        if watch is not None:
            watch.content = answer.content

    async def read(self, _most: int, _seconds: float | None = None) -> bytes:
        """All that has come, at least one byte; none at the end."""
        if self._lost is not None:
            raise self._lost
        try:
            part = await self._content.readany()
        except (aiohttp.ClientError, HttpProcessingError, TimeoutError) as error:
            # What came before it broke off is still to be heard; the library would throw it away.
            left: Callable[[int], bytes] = getattr(self._content, "_read_nowait")  # noqa: B009
            if not (part := left(-1)):
                raise
            self._lost = error
        if not part and self._until_end and self._watch is not None and self._watch.broken:
            raise aiohttp.ClientPayloadError("it ended by a broken connection")
        return part

    def leave(self) -> None:
        if self._watch is not None and self._watch.content is self._content:
            self._watch.content = None


class _Body(httpx2.AsyncByteStream):
    """What is answered, in the parts in which it comes. Not read whole, it ends the connection."""

    def __init__(
        self,
        answer: aiohttp.ClientResponse,
        network: _Network,
        told: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._answer, self._network, self._told = answer, network, told

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        whole = False
        try:
            with self._told():
                while part := await self._network.read(_AT_ONCE):
                    yield part
            whole = True
        finally:
            self._network.leave()
            if not whole:
                self._answer.close()

    async def aclose(self) -> None:
        self._network.leave()
        self._answer.release()


@contextmanager
def _translated(request: httpx2.Request) -> Generator[None]:
    """aiohttp's errors as those of httpx2."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx2.ConnectTimeout(_words(error), request=request) from error
    except TimeoutError as error:
        raise httpx2.ReadTimeout(_words(error), request=request) from error
    except aiohttp.ClientConnectorError as error:
        raise httpx2.ConnectError(_words(error), request=request) from error
    except aiohttp.ClientOSError as error:
        raise httpx2.ReadError(_words(error), request=request) from error
    except (aiohttp.InvalidURL, ValueError) as error:
        raise httpx2.LocalProtocolError(_words(error), request=request) from error
    except (aiohttp.ClientResponseError, HttpProcessingError) as error:
        raise NotRead(_words(error), request=request) from error
    except aiohttp.ClientError as error:
        raise httpx2.RemoteProtocolError(_words(error), request=request) from error


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _without_user(url: httpx2.URL) -> str:
    """Whose password is in an address is said in a header already."""
    return str(url.copy_with(userinfo=b"") if url.userinfo else url)


@lru_cache(maxsize=256)
def _address(url: str) -> URL:
    return URL(url, encoded=True)


@lru_cache(maxsize=64)
def _timeout(connect: float | None, read: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=None, connect=connect, sock_connect=connect, sock_read=read, ceil_threshold=1e9
    )


def _headers(request: httpx2.Request) -> list[tuple[str, str]]:
    """As they are, but for the one that says how the body is framed, which is done here."""
    raw = request.headers.raw
    return [
        (_name(name), value.decode()) for name, value in raw if name.lower() != b"transfer-encoding"
    ]


@lru_cache(maxsize=256)
def _name(raw: bytes) -> str:
    """Raises `ValueError` for what is no name of a header: aiohttp would send it."""
    if not _TOKEN.fullmatch(raw):
        raise ValueError(f"{raw[:40]!r} is no name of a header")
    return raw.decode("ascii")
