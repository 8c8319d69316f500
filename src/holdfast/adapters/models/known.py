"""The providers that everybody knows: what they speak, where they are, and what they are asked by.

To add one that speaks OpenAI's chat completions: one line in `KNOWN`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .settings import KINDS, Flavour, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A provider that everybody knows: the names of its keys and URLs, and its usual model.

    `open`: it can be asked without a key, so its URL alone makes it known. `beside`: another way to
    ask a provider that is listed already. `base_url` may hold `{region}`; "" must be given.
    """

    kind: Kind
    keys: tuple[str, ...]
    urls: tuple[str, ...]
    base_url: str
    model: str
    flavour: Flavour = ""
    open: bool = False
    beside: bool = False

    @property
    def local(self) -> bool:
        """A server of one's own, perhaps on this machine: it goes behind all others."""
        return self.open and self.kind != "openai"


def _chat(
    name: str,
    base_url: str,
    model: str,
    *,
    flavour: Flavour = "",
    keys: tuple[str, ...] = (),
    open: bool = False,  # noqa: A002 - the field's name
) -> Known:
    """A provider of OpenAI's chat completions; `name` begins its variables."""
    return Known(
        kind="openai-compatible",
        keys=(*keys, f"{name}_API_KEY"),
        urls=(f"{name}_BASE_URL",),
        base_url=base_url,
        model=model,
        flavour=flavour,
        open=open,
    )


KNOWN: Mapping[str, Known] = {
    "anthropic": Known(
        kind="anthropic",
        keys=("ANTHROPIC_API_KEY",),
        urls=("ANTHROPIC_BASE_URL",),
        base_url="https://api.anthropic.com",
        model="claude-sonnet-5-5",
    ),
    "openai": Known(
        kind="openai",
        keys=("OPENAI_API_KEY",),
        urls=("OPENAI_BASE_URL",),
        base_url="https://api.openai.com/v1",
        model="gpt-4.1",
        open=True,
    ),
    "openai-responses": Known(
        kind="openai-responses",
        keys=("OPENAI_API_KEY",),
        urls=("OPENAI_RESPONSES_BASE_URL", "OPENAI_BASE_URL"),
        base_url="https://api.openai.com/v1",
        model="gpt-5",
        beside=True,
    ),
    "google": Known(
        kind="google",
        keys=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        urls=("GEMINI_BASE_URL", "GOOGLE_BASE_URL"),
        base_url="https://generativelanguage.googleapis.com",
        model="gemini-2.5-pro",
    ),
    "bedrock": Known(
        kind="bedrock",
        keys=("AWS_BEARER_TOKEN_BEDROCK", "AWS_ACCESS_KEY_ID"),
        urls=("BEDROCK_BASE_URL", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"),
        base_url="https://bedrock-runtime.{region}.amazonaws.com",
        model="global.anthropic.claude-sonnet-5-5",
    ),
    "azure": Known(
        kind="azure",
        keys=("AZURE_OPENAI_API_KEY", "AZURE_API_KEY"),
        urls=("AZURE_OPENAI_ENDPOINT", "AZURE_BASE_URL"),
        base_url="",
        model="",
    ),
    "openrouter": _chat(
        "OPENROUTER", "https://openrouter.ai/api/v1", "openrouter/auto", flavour="openrouter"
    ),
    "groq": _chat(
        "GROQ", "https://api.groq.com/openai/v1", "llama-3.3-70b-versatile", flavour="groq"
    ),
    "deepseek": _chat(
        "DEEPSEEK", "https://api.deepseek.com/v1", "deepseek-chat", flavour="deepseek"
    ),
    "xai": _chat("XAI", "https://api.x.ai/v1", "grok-4", flavour="grok"),
    "mistral": _chat(
        "MISTRAL", "https://api.mistral.ai/v1", "mistral-large-latest", flavour="mistral"
    ),
    "together": _chat(
        "TOGETHER",
        "https://api.together.xyz/v1",
        "meta-llama/Llama-3.3-70B-Instruct-Turbo",
        flavour="together",
    ),
    "moonshot": _chat(
        "MOONSHOT",
        "https://api.moonshot.ai/v1",
        "kimi-k2.5",
        flavour="moonshot",
        keys=("KIMI_API_KEY",),
    ),
    "qwen": _chat(
        "QWEN",
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        "qwen3-coder-plus",
        flavour="qwen",
    ),
    "dashscope": _chat(
        "DASHSCOPE",
        "https://dashscope.aliyuncs.com/compatible-mode/v1",
        "qwen3-coder-plus",
        flavour="qwen",
    ),
    "zai": _chat("ZAI", "https://api.z.ai/api/paas/v4", "glm-4.6", flavour="zai"),
    "zhipu": _chat("ZHIPU", "https://open.bigmodel.cn/api/paas/v4", "glm-4.6", flavour="zai"),
    "minimax": _chat("MINIMAX", "https://api.minimax.io/v1", "MiniMax-M2"),
    "cerebras": _chat("CEREBRAS", "https://api.cerebras.ai/v1", "gpt-oss-120b", flavour="cerebras"),
    "fireworks": _chat(
        "FIREWORKS",
        "https://api.fireworks.ai/inference/v1",
        "accounts/fireworks/models/kimi-k2-instruct",
        flavour="fireworks",
    ),
    "requesty": _chat("REQUESTY", "https://router.requesty.ai/v1", "openai/gpt-4.1"),
    "siliconflow": _chat("SILICONFLOW", "https://api.siliconflow.cn/v1", "deepseek-ai/DeepSeek-V3"),
    "volcengine": _chat(
        "VOLCENGINE",
        "https://ark.cn-beijing.volces.com/api/v3",
        "doubao-seed-1-6-251015",
        keys=("ARK_API_KEY",),
    ),
    "volcengine-coding": _chat(
        "VOLCENGINE_CODING", "https://ark.cn-beijing.volces.com/api/coding/v3", "ark-code-latest"
    ),
    "byteplus": _chat(
        "BYTEPLUS", "https://ark.ap-southeast.bytepluses.com/api/v3", "seed-1-6-250915"
    ),
    "byteplus-coding": _chat(
        "BYTEPLUS_CODING",
        "https://ark.ap-southeast.bytepluses.com/api/coding/v3",
        "ark-code-latest",
    ),
    "aihubmix": _chat("AIHUBMIX", "https://aihubmix.com/v1", "gpt-4.1"),
    "huggingface": _chat(
        "HUGGINGFACE",
        "https://router.huggingface.co/v1",
        "openai/gpt-oss-120b",
        keys=("HF_TOKEN",),
    ),
    "ollama": Known(
        kind="ollama",
        keys=("OLLAMA_API_KEY",),
        urls=("OLLAMA_HOST", "OLLAMA_BASE_URL"),
        base_url="http://127.0.0.1:11434",
        model="",
        open=True,
    ),
    "lmstudio": _chat("LMSTUDIO", "http://127.0.0.1:1234/v1", "", open=True),
    "llamacpp": _chat("LLAMACPP", "http://127.0.0.1:8080/v1", "", open=True),
    "vllm": _chat("VLLM", "http://127.0.0.1:8000/v1", "", open=True),
    "custom": _chat("CUSTOM", "", "", open=True),
}


_SPOKEN: Mapping[str, Kind] = {kind: kind for kind in KINDS}


def kind_of(name: str, kind: str, base_url: str) -> Kind:
    """What the provider `name` speaks, if the configuration says `kind` of it; `auto` says nothing.

    What nobody knows speaks chat completions; so does an `openai` with an address of its own.
    """
    known = KNOWN.get(name)
    told = known.kind if known and kind == "auto" else kind
    if told == "openai" and base_url:
        return "openai-compatible"
    return _SPOKEN.get(told, "openai-compatible")
