"""Ways that some servers of chat completions have, beside those that the library knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from openai import omit
from openai.types import chat
from openai.types.chat import ChatCompletionChunk, chat_completion_chunk
from openai.types.completion_usage import CompletionUsage
from pydantic_ai.messages import ModelResponseStreamEvent, ThinkingPart
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.cerebras import CerebrasModel
from pydantic_ai.models.openai import (
    OpenAIChatModel,
    OpenAIChatModelSettings,
    OpenAIStreamedResponse,
)
from pydantic_ai.models.openrouter import OpenRouterModel
from pydantic_ai.models.zai import ZaiModel, ZaiStreamedResponse
from pydantic_ai.profiles import ModelProfile, merge_profile
from pydantic_ai.profiles.grok import GrokModelProfile, grok_model_profile
from pydantic_ai.profiles.groq import groq_model_profile
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage


def grok_profile(model: str) -> ModelProfile | None:
    said = cast("GrokModelProfile", grok_model_profile(model) or {})
    efforts = OpenAIModelProfile(
        openai_reasoning_efforts=said.get("grok_reasoning_efforts", frozenset())
    )
    return merge_profile(OpenAICompatibleProvider.model_profile(model), said, efforts)


def groq_profile(model: str) -> ModelProfile | None:
    efforts = OpenAIModelProfile(openai_reasoning_efforts=frozenset({"low", "medium", "high"}))
    if "gpt-oss" not in model:
        efforts = OpenAIModelProfile(openai_chat_thinking_false_body={"reasoning_effort": "none"})
    return merge_profile(
        OpenAICompatibleProvider.model_profile(model), groq_model_profile(model), efforts
    )


def mistral_profile(model: str) -> ModelProfile | None:
    """All of its present models take a schema."""
    schema = OpenAIModelProfile(supports_json_schema_output=True)
    return merge_profile(OpenAICompatibleProvider.model_profile(f"mistral/{model}"), schema)


class ChatModel(OpenAIChatModel):
    """Counts as the protocol says, whatever the library knows of a provider of that name."""

    @property
    def _streamed_response_cls(self) -> type[OpenAIStreamedResponse]:
        return _ChatStream

    def _map_usage(self, response: chat.ChatCompletion) -> RequestUsage:
        return _counted(super()._map_usage(response), response.usage)


class _ChatStream(OpenAIStreamedResponse):
    def _map_usage(self, response: ChatCompletionChunk) -> RequestUsage:
        return _counted(super()._map_usage(response), response.usage)


class CerebrasChat(ChatModel, CerebrasModel):
    """As the library has it."""


class ZaiChat(ChatModel, ZaiModel):
    """Has reasons to stop of its own."""

    @property
    def _streamed_response_cls(self) -> type[OpenAIStreamedResponse]:
        return _ZaiStream


class _ZaiStream(_ChatStream, ZaiStreamedResponse):
    """Both."""


class RoutedModel(OpenRouterModel):
    """Need not say which provider has answered: servers that act as OpenRouter do not."""

    def _validate_completion(self, response: chat.ChatCompletion) -> Any:
        if response.model_extra is not None:
            response.model_extra.setdefault("provider", "")
        return super()._validate_completion(response)


class GroqModel(ChatModel):
    """Counts the tokens of a stream in a place of its own; thinks in a field if told to."""

    @property
    def _streamed_response_cls(self) -> type[OpenAIStreamedResponse]:
        return _GroqStream

    def prepare_request(
        self, model_settings: ModelSettings | None, model_request_parameters: ModelRequestParameters
    ) -> tuple[ModelSettings | None, ModelRequestParameters]:
        settings, parameters = super().prepare_request(model_settings, model_request_parameters)
        if self.profile.get("supports_thinking") and "gpt-oss" not in self.model_name:
            return _with_body(settings, reasoning_format="parsed"), parameters
        return settings, parameters

    def _translate_thinking(
        self,
        model_settings: OpenAIChatModelSettings,
        model_request_parameters: ModelRequestParameters,
    ) -> Any:
        if "openai_reasoning_efforts" not in self.profile:
            return omit
        return super()._translate_thinking(model_settings, model_request_parameters)


class _GroqStream(_ChatStream):
    def _map_usage(self, response: ChatCompletionChunk) -> RequestUsage:
        if response.usage is None:
            own: object = (response.model_extra or {}).get("x_groq")
            usage = cast("dict[str, object]", own).get("usage") if isinstance(own, dict) else None
            if usage:
                counted = CompletionUsage.model_validate(usage)
                self._usage_received = True
                return super()._map_usage(response.model_copy(update={"usage": counted}))
        return super()._map_usage(response)


class MistralModel(ChatModel):
    """Sends thoughts as pieces of the content, and knows a few settings by other names."""

    @property
    def _streamed_response_cls(self) -> type[OpenAIStreamedResponse]:
        return _MistralStream

    def prepare_request(
        self, model_settings: ModelSettings | None, model_request_parameters: ModelRequestParameters
    ) -> tuple[ModelSettings | None, ModelRequestParameters]:
        settings, parameters = super().prepare_request(model_settings, model_request_parameters)
        if settings and (seed := settings.pop("seed", None)) is not None:
            return _with_body(settings, random_seed=seed), parameters
        return settings, parameters

    def _translate_thinking(
        self,
        model_settings: OpenAIChatModelSettings,
        model_request_parameters: ModelRequestParameters,
    ) -> Any:
        return omit

    def _get_stream_options(self, model_settings: OpenAIChatModelSettings) -> Any:
        """It counts without being asked, and refuses to be."""
        return omit

    def _process_response(self, response: chat.ChatCompletion | str, **how: Any) -> Any:
        thoughts = list(_thoughts_of(response))
        answer = super()._process_response(response, **how)
        if thoughts:
            name = self.system
            parts = [ThinkingPart("".join(thoughts), id="content", provider_name=name)]
            answer.parts = [*parts, *answer.parts]
        return answer


class _MistralStream(_ChatStream):
    def _map_thinking_delta(
        self, choice: chat_completion_chunk.Choice
    ) -> Iterable[ModelResponseStreamEvent]:
        yield from super()._map_thinking_delta(choice)
        for text in _thoughts_in(choice.delta.content):
            yield from self._parts_manager.handle_thinking_delta(
                vendor_part_id="thoughts",
                id="content",
                content=text,
                provider_name=self.provider_name,
            )


class QwenModel(ChatModel):
    """Thinks when told to in a field of its own."""

    def prepare_request(
        self, model_settings: ModelSettings | None, model_request_parameters: ModelRequestParameters
    ) -> tuple[ModelSettings | None, ModelRequestParameters]:
        wanted = (model_settings or {}).get("thinking")
        settings, parameters = super().prepare_request(model_settings, model_request_parameters)
        if wanted is not None:
            return _with_body(settings, enable_thinking=wanted is not False), parameters
        return settings, parameters

    def _translate_thinking(
        self,
        model_settings: OpenAIChatModelSettings,
        model_request_parameters: ModelRequestParameters,
    ) -> Any:
        return omit


def _counted(counted: RequestUsage, told: CompletionUsage | None) -> RequestUsage:
    """What was read from a cache is in a detail, or where DeepSeek and Moonshot say it."""
    if told is None:
        return counted
    more = told.model_extra or {}
    details, thought = told.prompt_tokens_details, told.completion_tokens_details
    read = (details and details.cached_tokens) or next(
        (more[name] for name in ("prompt_cache_hit_tokens", "cached_tokens") if name in more), 0
    )
    counted.input_tokens, counted.output_tokens = told.prompt_tokens, told.completion_tokens
    counted.cache_read_tokens = read if isinstance(read, int) else 0
    if thought and thought.reasoning_tokens:
        counted.output_reasoning_tokens = thought.reasoning_tokens
    return counted


def _with_body(settings: ModelSettings | None, **more: object) -> ModelSettings:
    body = cast("Mapping[str, object]", (settings or {}).get("extra_body") or {})
    return cast("ModelSettings", {**(settings or {}), "extra_body": {**body, **more}})


def _thoughts_of(response: chat.ChatCompletion | str) -> Iterator[str]:
    if isinstance(response, chat.ChatCompletion):
        for choice in response.choices or ():
            yield from _thoughts_in(getattr(choice.message, "content", None))


def _thoughts_in(content: object) -> Iterator[str]:
    """`[{"type": "thinking", "thinking": [{"type": "text", "text": …}]}, …]`"""
    if not isinstance(content, list):
        return
    for piece in cast("list[object]", content):
        if isinstance(piece, dict):
            fields = cast("dict[str, object]", piece)
            inner: object = fields.get("thinking") if fields.get("type") == "thinking" else None
            if isinstance(inner, str):
                yield inner
            for part in cast("list[object]", inner) if isinstance(inner, list) else ():
                text = cast("dict[str, object]", part).get("text") if isinstance(part, dict) else ""
                if isinstance(text, str) and text:
                    yield text
