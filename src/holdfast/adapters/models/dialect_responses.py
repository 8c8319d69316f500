"""OpenAI responses: nothing is kept at the provider, so its thoughts come and go sealed."""

from __future__ import annotations

import httpx2
import openai
from pydantic_ai.models import Model
from pydantic_ai.models.openai import OpenAIResponsesModel, OpenAIResponsesModelSettings
from pydantic_ai.profiles import merge_profile
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.openai import OpenAIProvider

from .remote import Address
from .translate import Voice

FAULTS: tuple[type[Exception], ...] = (openai.OpenAIError,)

_OURS = OpenAIModelProfile(openai_supports_encrypted_reasoning_content=True)


def open_model(address: Address, http: httpx2.AsyncClient) -> Model:
    at = address.provider
    client = openai.AsyncOpenAI(
        base_url=at.base_url, api_key=at.api_key or "none", http_client=http, max_retries=0
    )
    profile = OpenAIProvider.model_profile(address.model) or OpenAIModelProfile()
    if profile.get("openai_supports_reasoning"):
        profile = merge_profile(profile, _OURS)
    return OpenAIResponsesModel(
        address.model,
        provider=OpenAIProvider(openai_client=client),
        profile=profile,
        settings=OpenAIResponsesModelSettings(openai_store=False, openai_truncation="disabled"),
    )


def voice(address: Address, model: Model) -> Voice:
    return Voice(
        name=address.provider_name, system=model.system, thinking="sealed", tells_odds=True
    )
