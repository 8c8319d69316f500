"""A streamed chat completion in few large pieces instead of many small ones.

Each piece of a reply costs the same however short it is, all the way to who hears it. So pieces
that carry nothing but more of the same are put together, as many as have come; and of a stream that
flows, no more is read for a moment, so that they can come.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import anyio
import httpx2
import msgspec
from openai import APIConnectionError, APIError, APITimeoutError, AsyncStream
from openai.types.chat import ChatCompletionChunk

from .event_frames import EventFrames
from .merging import Merging
from .readers import READERS

# How long is waited for more, and how long after its first words a reply is not waited for.
_GATHER = 0.04
_AT_FIRST = 0.02
# How long the connection may take to be free for the next call when a reply has ended.
_AFTERWARDS = 0.1

_decode = msgspec.json.Decoder().decode


class ChatStream(AsyncStream[ChatCompletionChunk]):
    """As the library's, but for how it is read."""

    async def __stream__(self) -> AsyncIterator[ChatCompletionChunk]:
        group = READERS.get()
        if group is None:
            async for chunk in super().__stream__():
                yield chunk
            return
        response = self.response
        reader = _Reader(response)
        group.start_soon(reader.read)
        try:
            async for data in reader.pieces():
                if error := _error_in(data):
                    raise APIError(_message(error), request=response.request, body=error)
                yield self._understood(data)
        except httpx2.TimeoutException as error:
            raise APITimeoutError(request=response.request) from error
        except (httpx2.RequestError, httpx2.StreamError) as error:
            raise APIConnectionError(request=response.request) from error
        finally:
            await response.aclose()

    def _understood(self, data: object) -> ChatCompletionChunk:
        """As the client does it; its own way is not a public one."""
        understood: Callable[..., ChatCompletionChunk]
        understood = getattr(self._client, "_process_response_data")  # noqa: B009 - see above
        return understood(data=data, cast_to=ChatCompletionChunk, response=self.response)


def _error_in(data: object) -> object:
    return cast("dict[str, object]", data).get("error") if isinstance(data, dict) else None


def _message(error: object) -> str:
    said = cast("dict[str, object]", error).get("message") if isinstance(error, dict) else None
    return said if said and isinstance(said, str) else "An error occurred during streaming"


class _Reader:
    """Reads a response to its end in one task, and gives what came to another."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        self._frames, self._merging = EventFrames(), Merging()
        self._came = anyio.Event()
        self._done = self._closed = False
        self._failed: Exception | None = None
        self._patient_from = math.inf

    async def pieces(self) -> AsyncIterator[object]:
        """Ends when the reply does; raises what went wrong once all before it has been given."""
        while self._merging or not self._closed:
            await self._came.wait()
            self._came = anyio.Event()
            for data in self._merging.take():
                yield data
        if self._failed is not None:
            raise self._failed

    async def read(self) -> None:
        try:
            with anyio.CancelScope() as rest, self._slowed():
                async for piece in self._response.aiter_bytes():
                    if not self._done:
                        self._hear(piece)
                    if self._done and rest.deadline == math.inf:
                        rest.deadline = anyio.current_time() + self._rest()
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            if not self._done:
                self._failed = error
        # Not when cancelled: who listens is cancelled as well, and must not hear an end before it.
        self._closed = True
        self._came.set()

    def _rest(self) -> float:
        """One connection for one call is read to its end, so that it can be used again."""
        return _AFTERWARDS if self._failed is None and self._is_plain() else 0

    def _is_plain(self) -> bool:
        return self._response.http_version == "HTTP/1.1"

    def _hear(self, piece: bytes) -> None:
        for data in self._frames.feed(piece):
            if data.startswith(b"[DONE]"):
                self._done = True
                break
            try:
                self._merging.add(_decoded(data))
            except (ValueError, RecursionError) as error:
                self._failed, self._done = error, True
                break
        if self._merging:
            if self._merging.flows and self._patient_from == math.inf:
                self._patient_from = anyio.current_time() + _AT_FIRST
            self._came.set()

    @contextmanager
    def _slowed(self) -> Generator[None]:
        """All that has come is read at once: while text flows, that is not done all the time.

        The moment to wait is when everything that was read has been given away.
        """
        network: Any = self._response.extensions.get("network_stream")
        if network is None or not self._is_plain():
            yield
            return
        read: Callable[[int, float | None], Awaitable[bytes]]
        read = partial(cast("Any", type(network)).read, network)

        async def read_after_a_moment(max_bytes: int, timeout: float | None = None) -> bytes:
            flows = self._merging.flows and not self._done
            if flows and anyio.current_time() >= self._patient_from:
                await anyio.sleep(_GATHER)
            return await read(max_bytes, timeout)

        network.read = read_after_a_moment
        try:
            yield
        finally:
            self._merging.flows = False
            if network.read is read_after_a_moment:
                del network.read


def _decoded(data: bytes) -> object:
    """As the library reads it; the quick reader is stricter."""
    try:
        return _decode(data)
    except msgspec.DecodeError:
        return json.loads(data.decode())
