"""A model that embeds behind a provider's HTTP interface, light until it is first asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from holdfast.core.budget import Reservation
from holdfast.ports.embedder import Embedded, Purpose

from .embedders import WAYS
from .loading import load, load_aside
from .remote import EXTRAS, Address, without_extra

# The texts of one request: what providers take, or less where answers would become large.
_USUAL_BATCH = 32
_BATCHES = {"openai": 256, "openai-responses": 256, "azure": 256, "google": 100}
_SMALLER = {"qwen": 10}
_COHERE_BATCH = 96
_BYTES = 250_000  # of one request: providers count 300,000 tokens, and a token has a byte or more
_PER_TEXT = 8  # tokens that a model puts around a text


class Exchange(Protocol):
    """An embedding model that has been opened: see embedding_exchange.py."""

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Embedded: ...


class RemoteEmbedder:
    """Asks over HTTP. The library that speaks the protocol is imported at the first question."""

    def __init__(self, address: Address, client: Callable[[], Any]) -> None:
        self._address, self._client = address, client
        self._exchange: Exchange | None = None

    @property
    def name(self) -> str:
        return self._address.name

    def batches(self, texts: Sequence[str]) -> Iterator[Sequence[str]]:
        """The texts in order, as many at once as the provider takes."""
        most = self._most()
        batch: list[str] = []
        room = _BYTES
        for text in texts:
            size = len(text.encode())
            if batch and (len(batch) == most or size > room):
                yield batch
                batch, room = [], _BYTES
            batch.append(text)
            room -= size
        if batch:
            yield batch

    def reserve(self, texts: Sequence[str]) -> Reservation:
        """The most that one request can use: no token is less than a byte."""
        address, at = self._address, self._address.provider
        if address.costs_nothing:
            return Reservation()
        tokens = sum(len(text.encode()) + _PER_TEXT for text in texts)
        prices = load("prices")
        sold = prices.Sold(address.model, at.kind, at.base_url, address.price)
        return Reservation(tokens=tokens, cost=prices.most(tokens, 0, sold))

    async def embed(self, texts: Sequence[str], purpose: Purpose) -> Embedded:
        """One request, tried once. Raises only `ModelFailure`."""
        if self._address.login:
            await self._address.login.token()  # says what to do where there is none
        return await (await self._opened()).embed(texts, purpose)

    async def _opened(self) -> Exchange:
        if self._exchange is not None:
            return self._exchange
        kind = self._address.provider.kind
        exchanges = await load_aside("embedding_exchange")
        try:
            way = await load_aside(WAYS[kind])
        except ImportError:
            if kind not in EXTRAS:
                raise
            raise without_extra(self._address, EXTRAS[kind]) from None
        opened: Exchange = exchanges.open_exchange(self._address, way, self._client())
        self._exchange = opened
        return opened

    def _most(self) -> int:
        at = self._address.provider
        if at.kind == "bedrock":  # all but Cohere's models take one text at a time
            return _COHERE_BATCH if "cohere." in self._address.model else 1
        return _SMALLER.get(at.flavour) or _BATCHES.get(at.kind, _USUAL_BATCH)
