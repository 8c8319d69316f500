"""Gemini's embeddings."""

from __future__ import annotations

import httpx2
from google.genai import errors
from pydantic_ai.embeddings import EmbeddingModel
from pydantic_ai.embeddings.google import GoogleEmbeddingModel
from pydantic_ai.providers.google import GoogleProvider

from .remote import Address

FAULTS: tuple[type[Exception], ...] = (errors.APIError, errors.UnknownApiResponseError)


def open_model(address: Address, http: httpx2.AsyncClient) -> EmbeddingModel:
    at = address.provider
    provider = GoogleProvider(api_key=at.api_key or "none", base_url=at.base_url, http_client=http)
    return GoogleEmbeddingModel(address.model, provider=provider)
