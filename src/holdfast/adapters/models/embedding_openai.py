"""OpenAI embeddings: OpenAI itself, Azure, Ollama, and every server that speaks the same."""

from __future__ import annotations

from typing import Any

import httpx2
import openai
from openai.resources.embeddings import AsyncEmbeddings
from openai.types import CreateEmbeddingResponse
from pydantic_ai.embeddings import EmbeddingModel
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

from . import dialect_azure, dialect_openai
from .lean_openai import LeanClient
from .remote import Address

FAULTS: tuple[type[Exception], ...] = (openai.OpenAIError,)


def open_model(address: Address, http: httpx2.AsyncClient) -> EmbeddingModel:
    if address.provider.kind == "azure":
        azure = dialect_azure.open_provider(address, http)
        azure.client.max_retries = 0
        return OpenAIEmbeddingModel(address.model, provider=azure)
    if address.provider.kind in {"openai", "openai-responses"}:
        client = dialect_openai.open_client(address, http, _Client)
        return OpenAIEmbeddingModel(address.model, provider=OpenAIProvider(openai_client=client))
    client = dialect_openai.open_client(address, http, _PlainClient)
    provider = OpenAICompatibleProvider(address.provider_name, openai_client=client)
    return OpenAIEmbeddingModel(address.model, provider=provider)


class _Client(LeanClient):
    @property
    def embeddings(self) -> AsyncEmbeddings:
        return _InOrder(self)


class _PlainClient(LeanClient):
    @property
    def embeddings(self) -> AsyncEmbeddings:
        return _InNumbers(self)


class _InOrder(AsyncEmbeddings):
    """Vectors in the order of their texts, whatever the order of the answer."""

    async def create(self, **said: Any) -> CreateEmbeddingResponse:
        response = await super().create(**said)
        response.data.sort(key=lambda one: one.index)
        if [one.index for one in response.data] != list(range(len(response.data))):
            raise ValueError("the vectors are numbered wrongly")
        return response


class _InNumbers(_InOrder):
    """The library asks for base64, which not every server knows."""

    async def create(self, **said: Any) -> CreateEmbeddingResponse:
        return await super().create(encoding_format="float", **said)
