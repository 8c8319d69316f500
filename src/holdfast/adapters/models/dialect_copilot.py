"""GitHub Copilot: OpenAI chat completions, with what its gateway wants otherwise."""

from __future__ import annotations

import httpx2
import openai
from pydantic_ai.models import Model
from pydantic_ai.models.github_copilot import GitHubCopilotModel
from pydantic_ai.profiles import merge_profile
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.github_copilot import GitHubCopilotProvider

from .remote import Address
from .translate import Voice

FAULTS: tuple[type[Exception], ...] = (openai.OpenAIError,)

# A stream without a finish reason was cut; the library would take it for a whole answer.
_STRICT = OpenAIModelProfile(openai_chat_streaming_requires_finish_reason=True)


def open_model(address: Address, http: httpx2.AsyncClient) -> Model:
    """The client's own auth puts the login on each request; the key here is none."""
    provider = GitHubCopilotProvider(
        api_key="none", base_url=address.provider.base_url, http_client=http
    )
    provider.client.max_retries = 0
    profile = merge_profile(GitHubCopilotProvider.model_profile(address.model), _STRICT)
    return GitHubCopilotModel(address.model, provider=provider, profile=profile)


def voice(address: Address, model: Model) -> Voice:
    return Voice(name=address.provider_name, system=model.system, thinking="field")
