"""One request for vectors through pydantic-ai's embedding models: asked, checked, priced."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import anyio
import httpx2
from pydantic_ai.embeddings import EmbeddingModel, EmbeddingResult, EmbeddingSettings
from pydantic_ai.exceptions import AgentRunError, UserError
from pydantic_ai.usage import RequestUsage

from holdfast.core.message import Usage
from holdfast.ports.embedder import Embedded, Purpose
from holdfast.ports.model import ModelFailure

from . import prices
from .counting import believed
from .expecting import EXPECTED, Expected
from .failures import MISSHAPEN, diverted, explained, failure
from .remote import Address


class Way(Protocol):
    """A module `embedding_*`: how an embedding model of a kind of provider is opened."""

    FAULTS: tuple[type[Exception], ...]

    def open_model(self, address: Address, http: httpx2.AsyncClient) -> EmbeddingModel: ...


def open_exchange(address: Address, way: Way, http: httpx2.AsyncClient) -> OpenExchange:
    faults = (AgentRunError, UserError, httpx2.HTTPError, *way.FAULTS, *MISSHAPEN)
    return OpenExchange(address, way.open_model(address, http), faults)


class OpenExchange:
    """An embedding model with its connection: every question is tried once."""

    def __init__(
        self, address: Address, model: EmbeddingModel, faults: tuple[type[Exception], ...]
    ) -> None:
        self._address, self._model, self._faults = address, model, faults
        self._settings = EmbeddingSettings(truncate=False)
        if address.provider.headers:
            self._settings["extra_headers"] = dict(address.provider.headers)

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Embedded:
        patience = self._address.timeouts
        expected = Expected(streamed=False, silence=max(patience.first, patience.idle))
        token = EXPECTED.set(expected)
        result: EmbeddingResult | None = None
        try:
            with anyio.move_on_after(patience.total):
                result = await self._model.embed(texts, input_type=purpose, settings=self._settings)
        except ModelFailure:
            raise
        except self._faults as error:
            if other := diverted(expected, self._address):
                raise other from None
            if expected.kept is not None:
                raise failure("malformed", self._address, "no vectors") from None
            raise explained(error, self._address, begun=False) from None
        finally:
            EXPECTED.reset(token)
        if result is None:
            raise failure("timeout", self._address)
        vectors = self._vectors(result, len(texts))
        usage = self._usage(result, texts)
        return Embedded(vectors=vectors, usage=usage, model=self._address.name)

    def _vectors(self, result: EmbeddingResult, wanted: int) -> tuple[tuple[float, ...], ...]:
        if len(result.embeddings) != wanted:
            what = f"{len(result.embeddings)} vectors for {wanted} texts"
            raise failure("malformed", self._address, what)
        try:
            vectors = tuple(tuple(map(float, vector)) for vector in result.embeddings)
        except (TypeError, ValueError):
            raise failure("malformed", self._address, "a vector that has no numbers") from None
        if len({len(vector) for vector in vectors}) != 1 or not vectors[0]:
            raise failure("malformed", self._address, "vectors of different lengths")
        if not all(math.isfinite(number) for vector in vectors for number in vector):
            raise failure("malformed", self._address, "a vector that is not finite")
        return vectors

    def _usage(self, result: EmbeddingResult, texts: Sequence[str]) -> Usage:
        """What the provider counted; Gemini and some servers do not: then a third of the bytes."""
        counted = believed(result.usage)
        if counted is None or not counted.input_tokens:
            about = sum(math.ceil(len(text.encode()) / 3) + 2 for text in texts)
            counted = RequestUsage(input_tokens=about)
        return Usage(input=counted.input_tokens, cost=self._cost(counted, result.model_name))

    def _cost(self, counted: RequestUsage, answered: str) -> int | None:
        """By the name that answered, else by the one that was asked."""
        address, at = self._address, self._address.provider
        if address.costs_nothing:
            return 0
        for model in filter(None, (answered, address.model)):
            sold = prices.Sold(model, at.kind, at.base_url, address.price)
            if (cost := prices.cost(counted, sold)) is not None:
                return cost
        return None
