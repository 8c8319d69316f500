"""Embeddings at AWS Bedrock: the extra `bedrock`."""

from __future__ import annotations

import httpx2
from pydantic_ai.embeddings import EmbeddingModel
from pydantic_ai.embeddings.bedrock import BedrockEmbeddingModel
from pydantic_ai.providers.bedrock import BedrockProvider

from . import dialect_bedrock
from .remote import Address

FAULTS = dialect_bedrock.FAULTS


def open_model(address: Address, http: httpx2.AsyncClient) -> EmbeddingModel:
    provider = BedrockProvider(bedrock_client=dialect_bedrock.open_client(address))
    return BedrockEmbeddingModel(address.model, provider=provider)
