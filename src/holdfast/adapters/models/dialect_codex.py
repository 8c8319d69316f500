"""The Responses interface behind ChatGPT and Codex subscriptions."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import openai
from pydantic_ai import messages as m
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.openai import OpenAIResponsesModel, OpenAIResponsesModelSettings
from pydantic_ai.models.openai_codex import OpenAICodexModel
from pydantic_ai.providers.openai_chatgpt import OpenAIChatGPTProvider
from pydantic_ai.providers.openai_codex import OpenAICodexProvider
from pydantic_ai.settings import ModelSettings

from .remote import Address
from .translate import Voice

FAULTS: tuple[type[Exception], ...] = (openai.OpenAIError,)


class _Codex(OpenAICodexModel):
    """The same conversation always has the same cache key: from how it begins."""

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[m.ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: Any = None,
    ) -> AsyncGenerator[StreamedResponse]:
        settings = OpenAIResponsesModelSettings(**(model_settings or {}))
        key = cache_key(messages, model_request_parameters)
        settings["openai_prompt_cache_key"] = key
        headers = {"session-id": key, **settings.get("extra_headers", {})}
        settings["extra_headers"] = headers
        opened = super().request_stream(messages, settings, model_request_parameters, run_context)
        async with opened as stream:
            yield stream


def cache_key(messages: list[m.ModelMessage], parameters: ModelRequestParameters) -> str:
    """A digest of the tools and of what was said before the model first spoke."""
    said = hashlib.sha256()
    for tool in parameters.function_tools:
        said.update(f"{tool.name}\0{tool.description}\0".encode())
    for message in messages:
        if isinstance(message, m.ModelResponse):
            break
        for part in message.parts:
            said.update(f"{part.part_kind}\0{getattr(part, 'content', '')!r}\0".encode())
    return said.hexdigest()[:32]


def open_model(address: Address, http: httpx2.AsyncClient) -> Model:
    """The client's own auth puts the login on each request; the key here is none."""
    client = openai.AsyncOpenAI(
        base_url=address.provider.base_url, api_key="none", http_client=http, max_retries=0
    )
    if address.provider.kind == "chatgpt":
        return OpenAIResponsesModel(
            address.model, provider=OpenAIChatGPTProvider(openai_client=client)
        )
    return _Codex(address.model, provider=OpenAICodexProvider(openai_client=client))


def voice(address: Address, model: Model) -> Voice:
    return Voice(name=address.provider_name, system=model.system, thinking="sealed")
