"""One question to one model through pydantic-ai's model layer: asked, streamed, checked, priced."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import anyio
import httpx2
import msgspec
from pydantic_ai import messages as m
from pydantic_ai.exceptions import AgentRunError, UserError
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage

from holdfast.core.context import Prompt
from holdfast.core.message import Reply, Usage
from holdfast.ports.model import Delta, ToolSpec

from . import prices, wire
from .failures import explained, failure
from .remote import Address, tokens_of
from .translate import Voice, from_response, to_messages, to_tools, used_tools

Hear = Callable[[Delta], None]

# What the libraries raise when an answer has another shape than they expect.
_SHAPE: tuple[type[Exception], ...] = (
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    AssertionError,
)


class Dialect(Protocol):
    """A module `dialect_*`: how a kind of provider is opened, and how it wants things said."""

    FAULTS: tuple[type[Exception], ...]

    def open_model(self, address: Address, http: httpx2.AsyncClient) -> Model: ...

    def voice(self, address: Address, model: Model) -> Voice: ...


def open_exchange(address: Address, dialect: Dialect, http: httpx2.AsyncClient) -> OpenExchange:
    model = dialect.open_model(address, http)
    faults = (AgentRunError, UserError, httpx2.HTTPError, *dialect.FAULTS, *_SHAPE)
    return OpenExchange(address, http, model, dialect.voice(address, model), faults)


class OpenExchange:
    """A model with its connection: every question is one streamed request, tried once."""

    def __init__(
        self,
        address: Address,
        http: httpx2.AsyncClient,
        model: Model,
        voice: Voice,
        faults: tuple[type[Exception], ...],
    ) -> None:
        self._address, self._http, self._model = address, http, model
        self._voice, self._faults = voice, faults
        self._takes_tools: bool | None = None if address.provider.kind == "ollama" else True

    async def takes_tools(self) -> bool:
        """Ollama is asked, once; it refuses requests with tools that a model cannot call."""
        if self._takes_tools is None:
            at = self._address
            self._takes_tools = await wire.ollama_has_tools(at.provider, at.model, self._http)
        return self._takes_tools

    async def ask(self, prompt: Prompt, tools: tuple[ToolSpec, ...], hear: Hear) -> Reply:
        settings = ModelSettings(max_tokens=self._address.max_output, cache=True, max_retries=0)
        declared = tools
        if not tools and self._voice.needs_tools and (declared := used_tools(prompt)):
            settings["tool_choice"] = "none"
        response = await self._streamed(prompt, settings, declared, hear)
        return self._reply(response, prompt, tools)

    async def _streamed(
        self, prompt: Prompt, settings: ModelSettings, tools: tuple[ToolSpec, ...], hear: Hear
    ) -> m.ModelResponse:
        """The whole response, within the time it may take."""
        patience = self._address.timeouts
        begun = False
        response: m.ModelResponse | None = None
        messages = to_messages(prompt, self._voice)
        parameters = ModelRequestParameters(function_tools=to_tools(tools))
        try:
            with (
                anyio.move_on_after(patience.total),
                anyio.move_on_after(patience.first) as silence,
            ):
                messages = self._model.prepare_messages(messages, parameters)
                async with self._model.request_stream(messages, settings, parameters) as stream:
                    async for event in stream:
                        begun = True
                        silence.deadline = anyio.current_time() + patience.idle
                        _tell(event, hear)
                    response = stream.get()
        except self._faults as error:
            raise explained(error, self._address, begun=begun) from None
        if response is None:
            raise failure("timeout", self._address)
        return response

    def _reply(
        self, response: m.ModelResponse, prompt: Prompt, tools: tuple[ToolSpec, ...]
    ) -> Reply:
        self._check_end(response)
        answer = from_response(response, self._voice)
        usage = self._usage(
            response, tokens_of(prompt, tools), said=len(msgspec.json.encode(answer))
        )
        finish = "length" if response.finish_reason == "length" else "stop"
        return Reply(
            text=answer.text,
            thoughts=answer.thoughts,
            calls=answer.calls,
            usage=usage,
            model=self._address.name,
            finish="calls" if answer.calls and finish == "stop" else finish,
        )

    def _check_end(self, response: m.ModelResponse) -> None:
        """Raise unless the provider itself said that this was the end, and a good one.

        The libraries take a stream that was cut for a short answer. Only a reason to stop that
        came over the wire proves the end: after it no provider sends content any more.
        """
        match response.finish_reason:
            case "content_filter":
                raise failure("content_filtered", self._address)
            case "error":
                raise failure("malformed", self._address)
            case _:
                if not (response.provider_details or {}).get("finish_reason"):
                    raise failure("incomplete", self._address)

    def _usage(self, response: m.ModelResponse, given: int, *, said: int) -> Usage:
        """What the provider counted; where it counted nothing, what it can have been at most."""
        counted = response.usage
        if counted.unmeasured_requests or not (counted.input_tokens or counted.output_tokens):
            counted = RequestUsage(input_tokens=given, output_tokens=math.ceil(said / 3))
        return Usage(
            input=counted.input_tokens,
            output=counted.output_tokens,
            cache_read=counted.cache_read_tokens,
            cache_write=counted.cache_write_tokens,
            reasoning=counted.output_reasoning_tokens,
            cost=self._cost(counted, response.model_name),
        )

    def _cost(self, counted: RequestUsage, answered: str | None) -> int | None:
        """By the name that the provider answered under, else by the name it was asked under."""
        at = self._address.provider
        if at.costs_nothing:
            return 0
        for model in (answered, self._address.model):
            if model:
                price = prices.cost(counted, model, kind=at.kind, base_url=at.base_url)
                if price is not None:
                    return price
        return None


def _tell(event: m.ModelResponseStreamEvent, hear: Hear) -> None:
    match event:
        case m.PartStartEvent(part=m.TextPart(content=text)) if text:
            hear(Delta(text=text))
        case m.PartStartEvent(part=m.ThinkingPart(content=text)) if text:
            hear(Delta(thought=text))
        case m.PartStartEvent(part=m.ToolCallPart(tool_name=name)):
            hear(Delta(call=name))
        case m.PartDeltaEvent(delta=m.TextPartDelta(content_delta=text)) if text:
            hear(Delta(text=text))
        case m.PartDeltaEvent(delta=m.ThinkingPartDelta(content_delta=text)) if text:
            hear(Delta(thought=text))
        case _:
            pass
