"""OpenAI chat completions: OpenAI itself, Ollama, and every server that speaks the same."""

from __future__ import annotations

import httpx2
import openai
from pydantic_ai.models import Model
from pydantic_ai.models.ollama import OllamaModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles import merge_profile
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.ollama import OllamaProvider
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

from .lean_openai import LeanClient
from .remote import Address
from .translate import Voice

_NO_KEY = "none"
FAULTS: tuple[type[Exception], ...] = (openai.OpenAIError,)

# A stream without a finish reason was cut; the library would take it for a whole answer.
_STRICT = OpenAIModelProfile(openai_chat_streaming_requires_finish_reason=True)
_PLAIN = OpenAIModelProfile(
    openai_chat_streaming_requires_finish_reason=True,
    openai_chat_supports_max_completion_tokens=False,
    openai_supports_strict_tool_definition=False,
)


def open_model(address: Address, http: httpx2.AsyncClient) -> Model:
    at = address.provider
    url = f"{at.base_url}/v1" if at.kind == "ollama" else at.base_url
    client = LeanClient(
        base_url=url, api_key=at.api_key or _NO_KEY, http_client=http, max_retries=0
    )
    match at.kind:
        case "ollama":
            profile = merge_profile(OllamaProvider.model_profile(address.model), _PLAIN)
            profile.pop("openai_chat_thinking_field", None)
            provider = OllamaProvider(openai_client=client)
            return OllamaModel(address.model, provider=provider, profile=profile)
        case "openai":
            profile = merge_profile(OpenAIProvider.model_profile(address.model), _STRICT)
            return OpenAIChatModel(
                address.model, provider=OpenAIProvider(openai_client=client), profile=profile
            )
        case _:
            profile = merge_profile(OpenAICompatibleProvider.model_profile(address.model), _PLAIN)
            named = OpenAICompatibleProvider(address.provider_name, openai_client=client)
            return OpenAIChatModel(address.model, provider=named, profile=profile)


def voice(address: Address, model: Model) -> Voice:
    return Voice(name=address.provider_name, system=model.system, thinking="field")
