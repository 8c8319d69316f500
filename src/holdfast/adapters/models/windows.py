"""How many tokens a model can read in one call, where nobody says otherwise."""

from __future__ import annotations

from collections.abc import Mapping

USUAL = 128_000
_BY_NAME: tuple[tuple[str, int], ...] = (
    ("gemini-1.5-pro", 2_097_152),
    ("gemini", 1_048_576),
    ("claude", 200_000),
    ("gpt-4.1", 1_047_576),
    ("gpt-4o", 128_000),
    ("gpt-4-turbo", 128_000),
    ("gpt-4", 8_192),
    ("gpt-3.5", 16_385),
    ("gpt-5", 400_000),
    ("o1", 128_000),
    ("o3", 200_000),
    ("o4", 200_000),
    ("llama-3.1", 131_072),
    ("llama-3.3", 131_072),
    ("llama3.1", 131_072),
    ("grok-4", 256_000),
    ("grok", 131_072),
    ("deepseek", 128_000),
    ("kimi-k2", 262_144),
    ("glm-4", 128_000),
    ("mistral-large", 131_072),
    ("codestral", 262_144),
)


def window(name: str, wanted: Mapping[str, int], at_provider: int, listed: int, local: bool) -> int:
    """The window of `provider/model`.

    What is `wanted` for the model goes before what its provider has, what the server has listed,
    and what models of this name usually have. 0 for a server on this machine that does not say: it
    was started with a window of its own.
    """
    bare = name.partition("/")[2]
    for told in (wanted.get(name), wanted.get(bare), at_provider, listed):
        if told:
            return told
    return 0 if local else by_name(bare)


def by_name(model: str) -> int:
    """What models of this name usually have."""
    bare = model.rpartition("/")[2].lower()
    return next((size for start, size in _BY_NAME if bare.startswith(start)), USUAL)
