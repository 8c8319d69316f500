"""Connections to providers over aiohttp: compiled, at a third of what httpx2's own transport costs.

Everything above stays httpx2's: the libraries of the providers, proxies, limits, unpacking. Only a
request without a proxy goes this way (decision 43).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from io import BytesIO

import aiohttp
import httpx2
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

_IDLE = 5.0
"""Seconds that a connection is kept for the next call; as httpx2 has it."""
_LONGEST_LINE = 65_536
_SLOWEST = 16_384
"""Bytes a second that a body may take at the least, beyond the patience for each part."""
_AT_ONCE = 65_536
_AS_SAID = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
_FRAMING = b"transfer-encoding"


class Swift(httpx2.AsyncBaseTransport):
    """Asks without following, unpacking or remembering anything, like every transport of httpx2.

    A request that could not be sent or whose answer breaks off raises httpx2's own errors.
    """

    def __init__(self, trust: ssl.SSLContext) -> None:
        self._trust = trust
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        session = self._session or self._opened()
        body = await request.aread()
        wanted = request.extensions.get("timeout", {})
        patience = [wanted.get(part) for part in ("connect", "write", "read")]
        whole = None  # what fits into the kernel's buffers is never waited for
        if len(body) > _AT_ONCE and None not in patience:
            whole = sum(patience) + len(body) / _SLOWEST
        with _told(request):
            async with asyncio.timeout(whole) if whole else nullcontext():
                answer = await session.request(
                    request.method,
                    _address(str(request.url)),
                    headers=_headers(request),
                    data=BytesIO(body) if len(body) > _AT_ONCE else body or None,
                    allow_redirects=False,
                    timeout=_timeout(*(wanted.get(part) for part in ("connect", "read"))),
                )
        network = _Network(answer)
        return httpx2.Response(
            answer.status,
            headers=list(answer.raw_headers),
            stream=_Body(answer, network, request),
            extensions={
                "network_stream": network,
                "http_version": b"HTTP/1.1",
                "reason_phrase": (answer.reason or "").encode(errors="replace"),
            },
        )

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        """How many calls go on at once is for the provider's lane to say, not for a limit here."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._trust, limit=0, keepalive_timeout=_IDLE),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_AS_SAID,
            max_line_size=_LONGEST_LINE,
            max_field_size=_LONGEST_LINE,
        )
        return self._session


class _Network:
    """What comes over the connection; its reader may put a `read` of their own before this one."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._content = answer.content
        self._lost: Exception | None = None

    async def read(self, _most: int, _seconds: float | None = None) -> bytes:
        """All that has come, at least one byte; none at the end."""
        if self._lost is not None:
            raise self._lost
        try:
            return await self._content.readany()
        except (aiohttp.ClientError, TimeoutError) as error:
            # What came before it broke off is still to be heard; the library would throw it away.
            left: Callable[[int], bytes] = getattr(self._content, "_read_nowait")  # noqa: B009
            if not (last := left(-1)):
                raise
            self._lost = error
            return last


class _Body(httpx2.AsyncByteStream):
    """What is answered, in the parts in which it comes. Not read whole, it ends the connection."""

    def __init__(
        self, answer: aiohttp.ClientResponse, network: _Network, request: httpx2.Request
    ) -> None:
        self._answer, self._network, self._request = answer, network, request

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        whole = False
        try:
            with _told(self._request):
                while part := await self._network.read(_AT_ONCE):
                    yield part
            whole = True
        finally:
            if not whole:
                self._answer.close()

    async def aclose(self) -> None:
        self._answer.release()


@contextmanager
def _told(request: httpx2.Request) -> Generator[None]:
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
    except (aiohttp.ClientError, HttpProcessingError) as error:
        raise httpx2.RemoteProtocolError(_words(error), request=request) from error


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


@lru_cache(maxsize=256)
def _address(url: str) -> URL:
    return URL(url, encoded=True).with_user(None)


@lru_cache(maxsize=64)
def _timeout(connect: float | None, read: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=None, connect=connect, sock_connect=connect, sock_read=read, ceil_threshold=1e9
    )


def _headers(request: httpx2.Request) -> list[tuple[str, str]]:
    """As they are, but for how the body is framed: that is this transport's to say."""
    return [
        (name.decode("ascii"), value.decode())
        for name, value in request.headers.raw
        if name.lower() != _FRAMING
    ]
