"""Gemini generateContent."""

from __future__ import annotations

import httpx2
from google.genai import errors
from pydantic_ai.models import Model
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.providers.google import GoogleProvider

from .remote import Address
from .translate import Voice

FAULTS: tuple[type[Exception], ...] = (errors.APIError, errors.UnknownApiResponseError)


def open_model(address: Address, http: httpx2.AsyncClient) -> Model:
    at = address.provider
    provider = GoogleProvider(api_key=at.api_key or "none", base_url=at.base_url, http_client=http)
    return GoogleModel(address.model, provider=provider)


def voice(address: Address, model: Model) -> Voice:
    return Voice(
        name=address.provider_name, system=model.system, thinking="ahead", flags_errors=True
    )
