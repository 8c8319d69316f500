"""One question to one model through pydantic-ai's model layer: asked, streamed, checked, priced."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import anyio
import httpx2
import msgspec
from pydantic_ai import exceptions as e
from pydantic_ai import messages as m
from pydantic_ai.exceptions import AgentRunError, UserError
from pydantic_ai.models import Model
from pydantic_ai.usage import RequestUsage

from holdfast.core.context import Prompt
from holdfast.core.message import Reply, Usage
from holdfast.ports.model import Delta, ModelFailure, ToolSpec

from . import prices, wire
from .counting import believed
from .estimate import tokens_of
from .expecting import EXPECTED, Expected
from .failures import MISSHAPEN, diverted, explained, failure
from .preparing import preparing_once
from .question import Asker, Files, Question
from .readers import readers
from .remote import Address
from .translate import Voice, from_response, odds_of

Hear = Callable[[Delta], None]


class Dialect(Protocol):
    """A module `dialect_*`: how a kind of provider is opened, and how it wants things said."""

    FAULTS: tuple[type[Exception], ...]

    def open_model(self, address: Address, http: httpx2.AsyncClient) -> Model: ...

    def voice(self, address: Address, model: Model) -> Voice: ...


def open_exchange(
    address: Address, dialect: Dialect, http: httpx2.AsyncClient, files: Files | None = None
) -> OpenExchange:
    model = preparing_once(dialect.open_model(address, http))
    faults = (AgentRunError, UserError, httpx2.HTTPError, *dialect.FAULTS, *MISSHAPEN)
    asker = Asker(address, model, dialect.voice(address, model), files)
    return OpenExchange(address, http, model, asker, faults)


class OpenExchange:
    """A model with its connection: every question is one request, tried once."""

    def __init__(
        self,
        address: Address,
        http: httpx2.AsyncClient,
        model: Model,
        asker: Asker,
        faults: tuple[type[Exception], ...],
    ) -> None:
        self._address, self._http, self._model = address, http, model
        self._asker, self._voice, self._faults = asker, asker.voice, faults
        self._takes_tools: bool | None = None if address.provider.kind == "ollama" else True

    async def takes_tools(self) -> bool:
        """Ollama is asked, once; it refuses requests with tools that a model cannot call."""
        if self._takes_tools is None:
            at = self._address
            self._takes_tools = await wire.ollama_has_tools(at.provider, at.model, self._http)
        return self._takes_tools

    async def ask(self, prompt: Prompt, tools: tuple[ToolSpec, ...], hear: Hear) -> Reply:
        patience = self._address.timeouts
        silence = max(patience.first, patience.idle) if prompt.stream else patience.total
        expected = Expected(streamed=prompt.stream, silence=silence)
        token = EXPECTED.set(expected)
        begun = False

        def heard(delta: Delta) -> None:
            nonlocal begun
            begun = True
            hear(delta)

        try:
            question = await self._asker.question(prompt, tools)
            response = await self._answer(question, expected, heard)
        except e.ModelHTTPError as error:
            if not begun and self._asker.unlearned(error, prompt):
                return await self.ask(prompt, tools, hear)
            raise explained(error, self._address, begun=begun) from None
        except ModelFailure:
            raise
        except self._faults as error:
            raise explained(error, self._address, begun=begun) from None
        finally:
            EXPECTED.reset(token)
        return self._reply(response, prompt, tools, streamed=expected.streamed)

    async def _answer(self, question: Question, expected: Expected, hear: Hear) -> m.ModelResponse:
        """Asked in the wanted form; what came in the other one is read in that one."""
        try:
            return await self._once(question, expected, hear)
        except self._faults:
            if other := diverted(expected, self._address):
                raise other from None
            if expected.kept is None:
                raise
        expected.streamed = not expected.streamed
        return await self._once(question, expected, hear)

    async def _once(self, question: Question, expected: Expected, hear: Hear) -> m.ModelResponse:
        """The whole response, within the time it may take."""
        patience = self._address.timeouts
        response: m.ModelResponse | None = None
        with anyio.move_on_after(patience.total):
            if not expected.streamed:
                response = await self._model.request(
                    question.messages, question.settings, question.parameters
                )
            else:
                response = await self._streamed(question, hear)
        if response is None:
            raise failure("timeout", self._address)
        return response

    async def _streamed(self, question: Question, hear: Hear) -> m.ModelResponse | None:
        """None if it was silent for too long."""
        patience = self._address.timeouts
        with anyio.move_on_after(patience.first) as silence:
            async with (
                readers(),
                self._model.request_stream(
                    question.messages, question.settings, question.parameters
                ) as stream,
            ):
                async for event in stream:
                    silence.deadline = anyio.current_time() + patience.idle
                    _tell(event, hear)
                return stream.get()
        return None

    def _reply(
        self,
        response: m.ModelResponse,
        prompt: Prompt,
        tools: tuple[ToolSpec, ...],
        *,
        streamed: bool,
    ) -> Reply:
        self._check_end(response, streamed=streamed)
        answer = from_response(response, self._voice)
        # Where the provider counted nothing, what it can have been at most.
        counted = believed(response.usage)
        if counted is None:
            given, taken = tokens_of(prompt, tools), len(msgspec.json.encode(answer))
            counted = RequestUsage(input_tokens=given, output_tokens=math.ceil(taken / 3))
        cut = response.finish_reason == "length" or response.state == "suspended"
        finish = "length" if cut else "stop"
        return Reply(
            text=answer.text,
            thoughts=answer.thoughts,
            calls=answer.calls,
            usage=self._usage(response, counted),
            model=self._address.name,
            finish="calls" if answer.calls and finish == "stop" else finish,
            logprobs=odds_of(response) if prompt.style.logprobs is not None else (),
        )

    def _check_end(self, response: m.ModelResponse, *, streamed: bool) -> None:
        """Raise unless the provider itself said that this was the end, and a good one.

        The libraries take a stream that was cut for a short answer. Only a reason to stop that
        came over the wire proves the end: after it no provider sends content any more. An answer
        that came whole proves it by being whole.
        """
        match response.finish_reason:
            case "content_filter":
                raise failure("content_filtered", self._address)
            case "error":
                raise failure("malformed", self._address)
            case _ if streamed:
                if not (response.provider_details or {}).get("finish_reason"):
                    raise failure("incomplete", self._address)
            case _ if not response.parts and not (response.provider_details or {}):
                raise failure("malformed", self._address)
            case _:
                pass

    def _usage(self, response: m.ModelResponse, counted: RequestUsage) -> Usage:
        cost, saved = self._money(counted, response.model_name)
        return Usage(
            input=counted.input_tokens,
            output=counted.output_tokens,
            cache_read=counted.cache_read_tokens,
            cache_write=counted.cache_write_tokens,
            reasoning=counted.output_reasoning_tokens,
            cost=cost,
            saved=saved,
        )

    def _money(self, counted: RequestUsage, answered: str | None) -> tuple[int | None, int]:
        """Cost and what was saved, by the name that answered, else by the one that was asked."""
        address, at = self._address, self._address.provider
        if address.costs_nothing:
            return 0, 0
        for model in filter(None, (answered, address.model)):
            sold = prices.Sold(model, at.kind, at.base_url, address.price)
            if (cost := prices.cost(counted, sold)) is not None:
                return cost, prices.saved(counted, sold)
        return None, 0


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
