"""OpenAI chat completions: OpenAI itself, Ollama, and every server that speaks the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import httpx2
import openai
from pydantic_ai.models import Model
from pydantic_ai.models.ollama import OllamaModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles import ModelProfile, merge_profile
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.alibaba import AlibabaProvider
from pydantic_ai.providers.cerebras import CerebrasProvider
from pydantic_ai.providers.deepseek import DeepSeekProvider
from pydantic_ai.providers.fireworks import FireworksProvider
from pydantic_ai.providers.moonshotai import MoonshotAIProvider
from pydantic_ai.providers.ollama import OllamaProvider
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider
from pydantic_ai.providers.openrouter import OpenRouterProvider
from pydantic_ai.providers.together import TogetherProvider
from pydantic_ai.providers.zai import ZaiProvider

from . import flavours
from .lean_openai import LeanClient
from .remote import Address
from .settings import Flavour
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

_SHAPELESS = frozenset[Flavour]({"deepseek", "moonshot", "qwen", "zai"})
_NO_SHAPE = OpenAIModelProfile(supports_json_schema_output=False)

Profile = Callable[[str], ModelProfile | None]

# Whose ways: what it says of its models, and how it is spoken to.
_FLAVOURS: Mapping[Flavour, tuple[Profile, type[OpenAIChatModel]]] = {
    "": (OpenAICompatibleProvider.model_profile, flavours.ChatModel),
    "cerebras": (CerebrasProvider.model_profile, flavours.CerebrasChat),
    "deepseek": (DeepSeekProvider.model_profile, flavours.ChatModel),
    "fireworks": (FireworksProvider.model_profile, flavours.ChatModel),
    "grok": (flavours.grok_profile, flavours.ChatModel),
    "groq": (flavours.groq_profile, flavours.GroqModel),
    "mistral": (flavours.mistral_profile, flavours.MistralModel),
    "moonshot": (MoonshotAIProvider.model_profile, flavours.ChatModel),
    "openrouter": (OpenRouterProvider.model_profile, flavours.RoutedModel),
    "qwen": (AlibabaProvider.model_profile, flavours.QwenModel),
    "together": (TogetherProvider.model_profile, flavours.ChatModel),
    "zai": (ZaiProvider.model_profile, flavours.ZaiChat),
}


def open_client(
    address: Address, http: httpx2.AsyncClient, made: type[LeanClient] = LeanClient
) -> LeanClient:
    at = address.provider
    url = f"{at.base_url}/v1" if at.kind == "ollama" else at.base_url
    return made(base_url=url, api_key=at.api_key or _NO_KEY, http_client=http, max_retries=0)


def open_model(address: Address, http: httpx2.AsyncClient) -> Model:
    at, client = address.provider, open_client(address, http)
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
            told, model = _FLAVOURS[at.flavour]
            shape = _NO_SHAPE if at.flavour in _SHAPELESS else None
            profile = merge_profile(told(address.model), _PLAIN, shape)
            named = OpenAICompatibleProvider(address.provider_name, openai_client=client)
            return model(address.model, provider=named, profile=profile)


def voice(address: Address, model: Model) -> Voice:
    thinking = "sealed" if address.provider.flavour == "openrouter" else "field"
    return Voice(
        name=address.provider_name, system=model.system, thinking=thinking, tells_odds=True
    )
