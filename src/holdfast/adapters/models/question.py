"""A prompt as the library wants it asked: messages, settings and what may be answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, cast

from msgspec import Struct
from pydantic_ai import messages as m
from pydantic_ai.exceptions import ModelHTTPError, UserError
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.settings import ModelSettings

from holdfast.core.agent import Shape, Style
from holdfast.core.context import Prompt
from holdfast.core.error import HoldfastError
from holdfast.core.message import File, PersonSaid
from holdfast.ports.model import ToolSpec

from .failures import failure
from .remembered import Remembered, alike
from .remote import Address
from .translate import Voice, is_text, to_messages, to_tools, used_tools

Files = Callable[[str], Awaitable[bytes]]

_SHAPING = ("response_format", "json_schema", "output_config", "outputconfig", "text.format")
_SAMPLING = ("temperature", "top_p")
Level = Literal["low", "medium", "high"]
Effort = bool | Level
_UNTUNED = ("thinking_always_enabled", "anthropic_disallows_sampling_settings")
_ADAPTIVE = ("anthropic_supports_adaptive_thinking", "bedrock_supports_adaptive_thinking")
_BUDGETS: Mapping[Level, int] = {"low": 2_048, "medium": 10_000, "high": 16_384}
_LESS: Mapping[Level, tuple[Level, ...]] = {
    "low": ("low",),
    "medium": ("medium", "low"),
    "high": ("high", "medium", "low"),
}
_EFFORTS: Mapping[str, Effort] = {
    "off": False,
    "on": True,
    "low": "low",
    "medium": "medium",
    "high": "high",
}


class Question(Struct, frozen=True, kw_only=True):
    """One request to a model, in the library's words."""

    messages: list[m.ModelMessage]
    settings: ModelSettings
    parameters: ModelRequestParameters


class Asker:
    """Puts prompts to one model. What is the same for every prompt is made once."""

    def __init__(self, address: Address, model: Model, voice: Voice, files: Files | None) -> None:
        self.voice = voice
        self._address, self._model, self._files = address, model, files
        self._definitions = Remembered(to_tools, alike)
        profile = cast("dict[str, Any]", model.profile)
        also: tuple[str, ...] = profile.get("openai_unsupported_model_settings", ())
        self._profile, self._ignored = profile, {*model.unsupported_settings, *also}
        self._shapes = bool(profile.get("supports_json_schema_output"))

    async def question(self, prompt: Prompt, tools: tuple[ToolSpec, ...]) -> Question:
        files = await self._fetched(prompt)
        settings = self._settings(prompt.style)
        self._say_odds(settings, prompt.style)
        _say_choice(settings, prompt, tools)
        declared = tools
        if not tools and self.voice.needs_tools and (declared := used_tools(prompt)):
            settings["tool_choice"] = "none"
        parameters = self._parameters(prompt.shape, declared, settings)
        messages = to_messages(prompt, self.voice, files)
        messages = self._model.prepare_messages(messages, parameters)
        return Question(messages=messages, settings=settings, parameters=parameters)

    def unlearned(self, error: ModelHTTPError, prompt: Prompt) -> bool:
        """Whether the server refused only to be held to a shape; then it is not asked again."""
        words = str(error.body).lower()
        refused = error.status_code in {400, 422} and any(word in words for word in _SHAPING)
        if not refused or prompt.shape is None or not self._shapes:
            return False
        self._shapes = False
        return True

    def _parameters(
        self, shape: Shape | None, tools: tuple[ToolSpec, ...], settings: ModelSettings
    ) -> ModelRequestParameters:
        """With the wanted shape, where the model can be held to it beside these tools."""
        functions = self._definitions.of(tools)
        if shape is None or not self._shapes:
            return ModelRequestParameters(function_tools=functions)
        wanted = OutputObjectDefinition(json_schema=shape.schema, name=shape.name)
        shaped = ModelRequestParameters(
            function_tools=functions, output_mode="native", output_object=wanted
        )
        try:
            self._model.prepare_request(settings, shaped)
        except UserError:
            return ModelRequestParameters(function_tools=functions)
        return shaped

    def _settings(self, style: Style) -> ModelSettings:
        """What the prompt wishes for, as far as the model knows of such wishes."""
        most = self._address.max_output
        wanted = min(style.max_output or most, most)
        settings = ModelSettings(max_tokens=wanted, cache=True)
        settings["max_retries"] = 0
        if style.thinking in _EFFORTS:
            settings["thinking"] = self._effort(_EFFORTS[style.thinking], wanted)
        if headers := self._address.provider.headers:
            settings["extra_headers"] = dict(headers)
        self._sample(settings, style)
        ignored = {*self._ignored, *(_SAMPLING if self._reasons(style) else ())}
        known = {name: value for name, value in settings.items() if name not in ignored}
        return cast("ModelSettings", known)

    def _sample(self, settings: ModelSettings, style: Style) -> None:
        told: dict[str, Any] = {
            "stop_sequences": list(style.stop) or None,
            "seed": style.seed,
            "temperature": style.temperature,
            "top_p": style.top_p,
            "top_k": style.top_k,
            "presence_penalty": style.presence_penalty,
            "frequency_penalty": style.frequency_penalty,
        }
        if style.top_k is not None and "top_k" in self._ignored:
            told["extra_body"] = {"top_k": style.top_k}  # not in the protocol, but servers know it
        settings |= cast("ModelSettings", {k: v for k, v in told.items() if v is not None})

    def _say_odds(self, settings: ModelSettings, style: Style) -> None:
        """Raises `ModelFailure` where that cannot be said: a wish is not left out in silence."""
        others = style.logprobs
        if others is None:
            return
        if not self.voice.tells_odds or self._reasons(style):
            why = "it does not say how likely its words are (logprobs)"
            raise failure("invalid_request", self._address, why)
        settings |= cast("ModelSettings", {"openai_logprobs": True})
        if others:
            settings |= cast("ModelSettings", {"openai_top_logprobs": others})

    def _effort(self, wanted: Effort, most: int) -> Effort:
        """As much of it as fits a reply: older Claudes are given tokens for it, of the reply's."""
        known = self._profile
        ours = known.get("bedrock_thinking_variant", self._model.system) == "anthropic"
        if not wanted or not ours or any(known.get(name) for name in _ADAPTIVE):
            return wanted
        less = _LESS["medium" if wanted is True else wanted]
        return next((effort for effort in less if _BUDGETS[effort] < most), False)

    def _reasons(self, style: Style) -> bool:
        """Whether it will think before it answers: models that do take no temperature."""
        known = self._profile
        if any(known.get(name) for name in _UNTUNED):
            return True
        if not known.get("supports_thinking"):
            return False
        wanted = _EFFORTS.get(style.thinking)
        return bool(known.get("thinking_enabled_by_default") if wanted is None else wanted)

    async def _fetched(self, prompt: Prompt) -> Mapping[str, bytes]:
        """The bytes of all files that are shown. Raises `ModelFailure` for one that cannot be."""
        fetched: dict[str, bytes] = {}
        for entry in prompt.entries:
            for file in entry.files if isinstance(entry, PersonSaid) else ():
                if file.digest not in fetched:
                    fetched[file.digest] = await self._bytes_of(file)
        return fetched

    async def _bytes_of(self, file: File) -> bytes:
        if not self._can_see(file.media_type):
            why = f"it cannot read {file.name} ({file.media_type})"
            raise failure("invalid_request", self._address, why)
        if self._files is None:
            why = f"{file.name} cannot be shown: no files are kept here"
            raise failure("invalid_request", self._address, why)
        try:
            return await self._files(file.digest)
        except HoldfastError as error:
            why = f"{file.name} cannot be shown: {error}"
            raise failure("invalid_request", self._address, why) from None

    def _can_see(self, media_type: str) -> bool:
        if is_text(media_type):
            return True
        known = self._profile
        match media_type.partition("/")[0]:
            case "image":
                return bool(known.get("supports_image_input", True))
            case "audio":
                return bool(known.get("supports_audio_file_input", True))
            case "video":
                return bool(known.get("supports_video_input", True))
            case _:
                if not known.get("openai_chat_supports_document_input", True):
                    return False
                listed = known.get("supported_document_media_types", _DOCUMENTS)
                return bool(known.get("supports_document_input", True)) and media_type in listed


def _say_choice(settings: ModelSettings, prompt: Prompt, tools: tuple[ToolSpec, ...]) -> None:
    """Which of `tools` must be called, and whether several may be at once."""
    if not tools:
        return
    if not prompt.parallel:
        settings["parallel_tool_calls"] = False
    match prompt.choice:
        case "":
            pass
        case "none" | "required" as choice:
            settings["tool_choice"] = choice
        case named:
            settings["tool_choice"] = [named.removeprefix("=")]


_DOCUMENTS = frozenset({"application/pdf"})
