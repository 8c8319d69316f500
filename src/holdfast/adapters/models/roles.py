"""Which models a name stands for, in order: `provider/model`, a provider, or the `@role` of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from holdfast.core.error import Invalid

from .discover import Found
from .known import KNOWN
from .settings import EMBEDDER, ROLES, ModelsConfig, Role

_SMALL = (
    ("anthropic", "claude-haiku-4-5"),
    ("copilot", "gpt-4o-mini"),
    ("openai", "gpt-4o-mini"),
    ("chatgpt", "gpt-4o-mini"),
    ("google", "gemini-2.5-flash"),
    ("groq", "llama-3.1-8b-instant"),
    ("deepseek", "deepseek-chat"),
    ("xai", "grok-3-mini"),
    ("moonshot", "moonshot-v1-8k"),
    ("together", "meta-llama/Llama-3.2-3B-Instruct-Turbo"),
    ("ollama", ""),
)
"""What is small, cheap and good enough, the preferred first; "" is the provider's default."""


def in_order(name: str, config: ModelsConfig, default: str, small: str) -> tuple[str, ...]:
    """The names that `name` stands for: the one that is wanted, then its fallbacks.

    `@executor` without a model is `default`, `@small` is `small`, every other role without one is
    the executor. A role's own fallbacks go before those of its model. Raises `Invalid`.
    """
    wanted = name.strip() or "@executor"
    if not wanted.startswith("@"):
        return (wanted, *config.fallback.get(wanted, ()))
    part = wanted[1:]
    if wanted == EMBEDDER:
        hint = "holdfast model embed asks it"
        raise Invalid(f"{wanted} gives vectors, no answers.", code="unknown_model", hint=hint)
    if part not in ROLES:
        known = ", ".join(f"@{role}" for role in ROLES)
        raise Invalid(f"There is no role {wanted!r}.", code="unknown_model", hint=f"use {known}")
    role = config.roles.get(part, Role())
    model = role.model or {"executor": default, "small": small}.get(part, "")
    if not model:
        first, *others = in_order("@executor", config, default, small)
        return (first, *(role.fallback or others))
    return (model, *(role.fallback or config.fallback.get(model, ())))


def sorted_out(
    names: Sequence[str], usable: Callable[[str], str]
) -> tuple[list[str], list[tuple[str, str]]]:
    """The full names of those that can be asked; who cannot, and why. `Invalid` if nobody can."""
    able: list[str] = []
    unable: dict[str, Invalid] = {}
    for name in names:
        try:
            full = usable(name)
        except Invalid as problem:
            unable[name] = problem
        else:
            able += [full] if full not in able else []
    if not able:
        raise next(iter(unable.values()))
    return able, [(name, f"{why} {why.hint}".strip()) for name, why in unable.items()]


def doubts(config: ModelsConfig, usable: Callable[[str], str]) -> list[tuple[str, str]]:
    """The models that the configuration names as somebody's and that cannot be asked; and why."""
    found: dict[str, str] = {}
    for name in _named(config):
        try:
            usable(name)
        except Invalid as problem:
            found[name] = f"{problem} {problem.hint}".strip()
    return list(found.items())


def _named(config: ModelsConfig) -> Iterator[str]:
    if config.default:
        yield config.default
    for name, role in config.roles.items():
        if name != EMBEDDER[1:]:  # that one is asked otherwise
            yield from filter(None, (role.model, *role.fallback))
    for models in config.fallback.values():
        yield from models


def small_of(found: Sequence[Found]) -> str:
    """The first of the small models whose provider was found; empty if none was."""
    by_name = {one.name: one for one in found}
    for provider, model in _SMALL:
        if there := by_name.get(provider):
            if model:
                return f"{provider}/{model}"
            if there.default:
                return there.default
    return ""


def without_key(found: Found) -> bool:
    """Whether a provider that wants a key has none here."""
    at, known = found.provider, KNOWN.get(found.name)
    if at.api_key or at.login:
        return False
    keyed = at.kind in {"openai", "anthropic", "google"}
    keyed |= at.kind == "openai-compatible" and known is not None and not known.open
    return bool(at.key_env) or (keyed and not at.local)


def check_key(name: str, found: Found) -> None:
    """Raises `Invalid` for a model whose provider wants a key and has none."""
    if not without_key(found):
        return
    alike = (one for one in KNOWN.values() if one.kind == found.provider.kind)
    known = KNOWN.get(found.name) or next(alike, None)
    variable = found.provider.key_env or (known.keys[0] if known else "a key")
    hint = f"set {variable} in the daemon's environment, or: holdfast connect {found.name}"
    raise Invalid(f"No API key is configured for {name}.", code="no_key", hint=hint)
