"""OpenAI chat completions at Azure: the model's name is that of a deployment."""

from __future__ import annotations

from typing import cast

import httpx2
import openai
from pydantic_ai.models import Model
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles import merge_profile
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.azure import AzureProvider

from .lean_openai import LeanClient
from .remote import Address
from .translate import Voice

FAULTS: tuple[type[Exception], ...] = (openai.OpenAIError,)

_STRICT = OpenAIModelProfile(openai_chat_streaming_requires_finish_reason=True)


def open_provider(address: Address, http: httpx2.AsyncClient) -> AzureProvider:
    at = address.provider
    endpoint = at.base_url.removesuffix("/openai/v1").rstrip("/")
    # Without a version, the interface that has none: `…/openai/v1`.
    return AzureProvider(
        azure_endpoint=endpoint if at.api_version else f"{endpoint}/openai/v1",
        api_version=at.api_version or None,
        api_key=at.api_key or "none",
        http_client=http,
    )


def open_model(address: Address, http: httpx2.AsyncClient) -> Model:
    profile = merge_profile(AzureProvider.model_profile(address.model), _STRICT)
    provider = AzureProvider(openai_client=_client(address, http))
    return OpenAIChatModel(address.model, provider=provider, profile=profile)


def _client(address: Address, http: httpx2.AsyncClient) -> openai.AsyncAzureOpenAI:
    """Without a version, the interface that has none: `…/openai/v1`, which is as OpenAI's own."""
    at = address.provider
    key, endpoint = at.api_key or "none", at.base_url.removesuffix("/openai/v1").rstrip("/")
    if at.api_version:
        return openai.AsyncAzureOpenAI(
            azure_endpoint=endpoint,
            api_version=at.api_version,
            api_key=key,
            http_client=http,
            max_retries=0,
        )
    plain = LeanClient(
        base_url=f"{endpoint}/openai/v1", api_key=key, http_client=http, max_retries=0
    )
    return cast("openai.AsyncAzureOpenAI", plain)


def voice(address: Address, model: Model) -> Voice:
    return Voice(name=address.provider_name, system=model.system, thinking="field", tells_odds=True)
