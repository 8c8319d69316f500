"""Anthropic messages."""

from __future__ import annotations

import anthropic
import httpx2
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider

from .remote import Address
from .translate import Voice

FAULTS: tuple[type[Exception], ...] = (anthropic.AnthropicError,)


def open_model(address: Address, http: httpx2.AsyncClient) -> Model:
    at = address.provider
    client = anthropic.AsyncAnthropic(
        base_url=at.base_url, api_key=at.api_key or "none", http_client=http, max_retries=0
    )
    return AnthropicModel(address.model, provider=AnthropicProvider(anthropic_client=client))


def voice(address: Address, model: Model) -> Voice:
    return Voice(
        name=address.provider_name,
        system=model.system,
        thinking="signed",
        flags_errors=True,
        needs_tools=True,
    )
