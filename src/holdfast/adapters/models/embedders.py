"""Which model embeds: the one that is named, that of the role, or the usual one of who is found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdfast.core.error import Invalid

from . import roles
from .discover import Found
from .known import KNOWN
from .settings import EMBEDDER, Flavour, Kind, ModelsConfig, Role

WAYS: Mapping[Kind, str] = {
    "openai": "embedding_openai",
    "openai-compatible": "embedding_openai",
    "openai-responses": "embedding_openai",
    "azure": "embedding_openai",
    "ollama": "embedding_openai",
    "google": "embedding_google",
    "bedrock": "embedding_bedrock",
}
"""The protocols that have embeddings, and the module of each."""

_USUAL: Mapping[str, str] = {
    "openai": "text-embedding-3-small",
    "openai-responses": "text-embedding-3-small",
    "google": "gemini-embedding-001",
    "bedrock": "amazon.titan-embed-text-v2:0",
    "mistral": "mistral-embed",
    "openrouter": "openai/text-embedding-3-small",
    "requesty": "openai/text-embedding-3-small",
    "together": "intfloat/multilingual-e5-large-instruct",
    "fireworks": "nomic-ai/nomic-embed-text-v1.5",
    "siliconflow": "BAAI/bge-m3",
    "qwen": "text-embedding-v4",
    "dashscope": "text-embedding-v4",
    "zhipu": "embedding-3",
}
# How the names of embedding models on one's own servers look, the preferred first.
_LOOKS = (
    "text-embedding-3-small", "nomic-embed", "mxbai-embed", "embeddinggemma", "qwen3-embedding",
    "bge-m3", "snowflake-arctic-embed", "embed", "bge-", "minilm", "gte-", "e5-",
)  # fmt: skip
# Chat only, although they speak as OpenAI does.
_WITHOUT = frozenset({"cerebras", "deepseek", "grok", "groq", "moonshot"})
_HINT = "connect openai, google, mistral or a local Ollama with nomic-embed-text"


def chosen(name: str, config: ModelsConfig, found: Sequence[Found]) -> str:
    """`provider/model` for `name`; see `ports.Embedder`. Of two with one name the first counts."""
    wanted = name.strip() or EMBEDDER
    if wanted == EMBEDDER:
        wanted = config.roles.get(EMBEDDER[1:], Role()).model or usual(found)
        if not wanted:
            raise Invalid("There is no embedding model here.", code="unknown_model", hint=_HINT)
    elif wanted.startswith("@"):
        hint = f"use {EMBEDDER}, or name a model"
        raise Invalid(f"{wanted} does not embed.", code="unknown_model", hint=hint)
    provider, _, model = wanted.partition("/")
    there = next((one for one in found if one.name == provider), None)
    if there is None or not _embeds(there.provider.kind, there.provider.flavour):
        raise _cannot(provider, there, usual(found))
    if not model and not (model := usual_of(there)):
        hint = f"name it: {provider}/<model>"
        raise Invalid(
            f"No embedding model of {provider} is known.", code="unknown_model", hint=hint
        )
    return f"{provider}/{model}"


def usual(found: Sequence[Found]) -> str:
    """The first that can be used without being named; empty if there is none."""
    for one in found:
        able = one.automatic and _embeds(one.provider.kind, one.provider.flavour)
        if able and not roles.without_key(one) and (model := usual_of(one)):
            return f"{one.name}/{model}"
    return ""


def usual_of(found: Found) -> str:
    """One that the provider lists, else the one that it is known for."""
    for look in _LOOKS:
        for model in found.models:
            if look in model.lower():
                return model
    at, known = found.provider, KNOWN.get(found.name)
    if known and known.kind == at.kind and found.name in _USUAL:
        return _USUAL[found.name]
    return "" if at.local else _USUAL.get(at.kind, "")


def _cannot(provider: str, there: Found | None, instead: str) -> Invalid:
    hint = f"use {instead}" if instead else _HINT
    known = KNOWN.get(provider)
    if there is not None or (known and not _embeds(known.kind, known.flavour)):
        return Invalid(f"{provider} has no embeddings.", code="unknown_model", hint=hint)
    if known:
        hint = f"holdfast connect {provider}"
    return Invalid(f"{provider!r} is no provider here.", code="unknown_model", hint=hint)


def _embeds(kind: Kind, flavour: Flavour) -> bool:
    return kind in WAYS and flavour not in _WITHOUT
