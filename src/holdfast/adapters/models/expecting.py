"""The form of an answer, whole or streamed; what comes in the other one is understood."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

import httpx2

from holdfast.core.foreign import NotJson, decoded

_LONGEST_ANSWER = 64_000_000
_LONGEST_REFUSAL = 1_000_000
_ANSWERS = ("choices", "content", "output", "candidates")
# What a media type says of the form: nothing, if it is not one of these.
_FORMS = {"application/json": False, "text/event-stream": True}


class OtherForm(httpx2.TransportError):
    """The server answered in the form that was not asked for; what it said is kept."""


class NotAnAnswer(httpx2.TransportError):
    """The server answered with a page, with another address, or with more than anybody reads."""


class Expected:
    """What the next answer is to look like, and what came instead."""

    def __init__(self, *, streamed: bool, silence: float) -> None:
        self.streamed, self.silence = streamed, silence
        self.instead = self.elsewhere = ""
        self.kept: httpx2.Response | None = None


EXPECTED: ContextVar[Expected | None] = ContextVar("expected", default=None)


@contextmanager
def beside() -> Generator[None]:
    """For requests that are made on the way to an answer, and are none themselves."""
    outer = EXPECTED.set(None)
    try:
        yield
    finally:
        EXPECTED.reset(outer)


class Client(httpx2.AsyncClient):
    """A client that looks at the form of each answer before a library does.

    An answer in the other form is kept whole and played to the next request, which is made in that
    form; so every protocol is read by its own reader, and nothing is asked or paid twice.
    No answer is longer than a limit, unpacked, whatever its server sends.
    """

    async def send(self, request: httpx2.Request, **how: Any) -> httpx2.Response:
        expected = EXPECTED.get()
        if expected is not None and (kept := expected.kept) is not None:
            expected.kept = None
            return _played(kept, expected, request)
        wants_whole = not how.pop("stream", False)
        came = _bounded(await super().send(request, stream=True, **how))
        if wants_whole:
            await _whole(came)
        if expected is None:
            return came
        if came.has_redirect_location:
            expected.elsewhere = httpx2.URL(came.headers["location"]).host or "another path"
            await came.aclose()
            raise NotAnAnswer("a redirect", request=request)
        if came.status_code != 200:
            return came
        return await _examined(came, expected)


class _Bounded(httpx2.AsyncByteStream):
    """What a response says, unpacked, up to a limit."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        response, expected = self._response, EXPECTED.get()
        good = response.status_code == 200
        left = _LONGEST_ANSWER if good else _LONGEST_REFUSAL
        async for part in response.aiter_bytes():
            left -= len(part)
            if left >= 0:
                yield part
            elif good:
                if expected is not None:
                    expected.instead = "more than a reply can be"
                raise NotAnAnswer("too long", request=response.request)
            else:  # its status says enough
                return

    async def aclose(self) -> None:
        await self._response.aclose()


def _bounded(response: httpx2.Response) -> httpx2.Response:
    packed = {b"content-encoding", b"content-length", b"transfer-encoding"}
    return httpx2.Response(
        response.status_code,
        headers=[pair for pair in response.headers.raw if pair[0].lower() not in packed],
        stream=_Bounded(response),
        request=response.request,
        extensions=response.extensions,
    )


async def _examined(response: httpx2.Response, expected: Expected) -> httpx2.Response:
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "text/html":
        expected.instead = "a web page"
        await response.aclose()
        raise NotAnAnswer("a page", request=response.request)
    streamed = _FORMS.get(kind, expected.streamed)
    if streamed != expected.streamed:
        headers = {"content-type": kind}
        expected.kept = httpx2.Response(200, headers=headers, content=await _whole(response))
        raise OtherForm("the other form", request=response.request)
    if not streamed and response.is_stream_consumed:
        response.status_code = _status_within(response.content)
    return response


async def _whole(response: httpx2.Response) -> bytes:
    try:
        return await response.aread()
    finally:
        await response.aclose()


def _status_within(content: bytes) -> int:
    """200; but some gateways send errors as a success: then the status it should have had."""
    if b'"error"' not in content:
        return 200
    try:
        answer: object = decoded(content)
    except NotJson:
        return 200
    fields = cast("dict[str, object]", answer) if isinstance(answer, dict) else {}
    error = fields.get("error")
    if not error or any(fields.get(name) for name in _ANSWERS):
        return 200
    code = cast("dict[str, object]", error).get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code <= 599 else 500


def _played(kept: httpx2.Response, expected: Expected, request: httpx2.Request) -> httpx2.Response:
    """What was kept, as the answer to `request`."""
    content = kept.content
    status = 200 if expected.streamed else _status_within(content)
    return httpx2.Response(status, headers=kept.headers, content=content, request=request)
