"""The OpenAI library's client without its dearest habits: most of the CPU time of a call.

It builds every request from its options anew, walks it along its type hints, sends it in a loop of
retries, builds every answer field by field in Python, and copies itself for each call. Here the
library builds one request, and those after it differ in their body only; an answer is read by the
compiled validator. What that refuses (servers are not always exact), and what is no JSON, is left
to the library's way.
"""

from __future__ import annotations

import ssl
from copy import copy
from typing import Any, TypeVar, cast

import anyio
import httpx2
import msgspec
import openai
import pydantic
from openai._base_client import make_request_options
from openai._models import FinalRequestOptions
from openai._utils import is_given
from openai._utils._json import openapi_dumps
from openai.resources.chat import AsyncChat, AsyncCompletions
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from .chat_stream import ChatStream

T = TypeVar("T")
_EXACT = {ChatCompletion, ChatCompletionChunk, CreateEmbeddingResponse}
_EXTRA = ("extra_headers", "extra_query", "timeout")
_OF_A_BODY = {b"content-length", b"transfer-encoding"}
_LOST = (httpx2.RequestError, ssl.SSLError, anyio.EndOfStream)


class LeanClient(openai.AsyncOpenAI):
    """Chat completions at a third of the price; everything else is as the library has it."""

    _pattern: tuple[object, httpx2.Request] | None = None

    @property
    def chat(self) -> AsyncChat:
        return _Chat(self)

    def with_options(self, **options: Any) -> LeanClient:
        """Asked for before every call, with what is so already."""
        so: dict[str, Any] = {
            "max_retries": self.max_retries,
            "http_client": self._client,
            "_extra_kwargs": {},
        }
        if all(name in so and so[name] == value for name, value in options.items()):
            return self
        return cast("LeanClient", super().with_options(**options))

    async def answer(self, body: object, extra: dict[str, Any], *, stream: bool) -> Any:
        """What the library's `post` returns, or raises, for a chat completion; tried once."""
        response = await self._sent(await self._request(extra, body), stream=stream)
        if stream:
            return ChatStream(cast_to=ChatCompletionChunk, response=response, client=self)
        kind, whole = response.headers.get("content-type", "").partition(";")[0], ChatCompletion
        if kind.strip().endswith("json"):
            data = response.json()
            return self._process_response_data(data=data, cast_to=whole, response=response)
        return await self._process_response(
            cast_to=whole,
            options=_options(extra),
            response=response,
            stream=False,
            stream_cls=None,
        )

    async def _request(self, extra: dict[str, Any], body: object) -> httpx2.Request:
        """As the library builds it, which is done anew only where more than the body differs."""
        given = (extra, self.api_key, self.base_url)
        if self._pattern is None or self._pattern[0] != given:
            options = await self._prepare_options(_options(extra))
            self._pattern = given, self._build_request(options)
        pattern = self._pattern[1]
        return httpx2.Request(
            "POST",
            pattern.url,
            headers=[one for one in pattern.headers.raw if one[0].lower() not in _OF_A_BODY],
            content=_dumped(body),
            extensions=dict(pattern.extensions),
        )

    async def _sent(self, request: httpx2.Request, *, stream: bool) -> httpx2.Response:
        try:
            response = await self._client.send(request, stream=stream)
        except httpx2.TimeoutException as error:
            raise openai.APITimeoutError(request=request) from error
        except _LOST as error:
            raise openai.APIConnectionError(request=request) from error
        if response.is_success:
            return response
        if not response.is_closed:
            await response.aread()
        raise self._make_status_error_from_response(response)

    def _process_response_data(
        self, *, data: object, cast_to: type[T], response: httpx2.Response
    ) -> T:
        if cast_to in _EXACT:
            try:
                return cast("type[Any]", cast_to).model_validate(data)
            except pydantic.ValidationError:
                pass
        return super()._process_response_data(data=data, cast_to=cast_to, response=response)


def _dumped(body: object) -> bytes:
    """As the library's own encoder has it, which is tried for what this one does not know."""
    try:
        return msgspec.json.encode(body)
    except (TypeError, ValueError):
        return openapi_dumps(body)


def _options(extra: dict[str, Any]) -> FinalRequestOptions:
    options = make_request_options(**extra, security={"bearer_auth": True})
    return FinalRequestOptions.construct(method="post", url="/chat/completions", **options)


class _Chat(AsyncChat):
    @property
    def completions(self) -> AsyncCompletions:
        return _Completions(self._client)


class _Completions(AsyncCompletions):
    async def create(self, **said: Any) -> Any:
        stream = said.pop("stream", False) is True
        more: dict[str, Any] = said.pop("extra_body", None) or {}
        beside = {name: said.pop(name, openai.NOT_GIVEN) for name in _EXTRA}
        extra = {name: copy(value) for name, value in beside.items() if is_given(value)}
        body: dict[str, Any] = {**said, **({"stream": True} if stream else {}), **more}
        told = {name: value for name, value in body.items() if is_given(value)}
        return await cast("LeanClient", self._client).answer(told, extra, stream=stream)
