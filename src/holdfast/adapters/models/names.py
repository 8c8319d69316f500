"""Which model a name means: exact, in another case, the beginning of it, or by its maker's name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from holdfast.core.error import Invalid

_MAKERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("claude", ("anthropic",)),
    ("gpt-", ("openai",)),
    ("chatgpt-", ("openai",)),
    ("o1", ("openai",)),
    ("o3", ("openai",)),
    ("o4", ("openai",)),
    ("text-embedding-", ("openai",)),
    ("gemini", ("google",)),
    ("grok", ("xai",)),
    ("kimi", ("moonshot",)),
    ("moonshot", ("moonshot",)),
    ("deepseek", ("deepseek",)),
    ("glm", ("zai",)),
    ("qwen", ("qwen",)),
    ("qwq", ("qwen",)),
    ("mistral", ("mistral",)),
    ("codestral", ("mistral",)),
    ("devstral", ("mistral",)),
    ("magistral", ("mistral",)),
    ("ministral", ("mistral",)),
    ("minimax", ("minimax",)),
    ("llama", ("groq", "together")),
)
"""How the names of models begin, and who has them, the preferred first."""

_MOST = 5
_ALIKE = 0.7


class Shelf(Struct, frozen=True, kw_only=True):
    """A provider that can be asked, and the models it is known to have.

    `whole`: it has no others, it says so itself. `open`: nobody knows how its models are called.
    Without `automatic` it is asked only where it is named.
    """

    provider: str
    models: tuple[str, ...] = ()
    default: str = ""
    whole: bool = False
    open: bool = False
    local: bool = False
    automatic: bool = True


def resolve(name: str, shelves: Sequence[Shelf], known: Sequence[str]) -> str:
    """`provider/model` for what somebody typed. `shelves` are in the order of preference.

    `known` are names of providers that could be connected. A provider that is named is the one that
    is asked. Raises `Invalid` with what could have been meant.
    """
    provider, slash, model = name.partition("/")
    shelf = next((one for one in shelves if one.provider == provider), None)
    if shelf is not None and slash and model:
        return f"{provider}/{_on(shelf, model)}"
    if shelf is not None:
        if shelf.default:
            return shelf.default
        hint = f"name one of its models: {provider}/<model>"
        raise Invalid(f"No model of {provider} is known.", code="unknown_model", hint=hint)
    if not (slash and provider in known) and (found := _somewhere(name, shelves)):
        return found
    raise Invalid(
        f"There is no model {name!r}.", code="unknown_model", hint=_hint(name, shelves, known)
    )


def makers(model: str) -> tuple[str, ...]:
    """Who has models that are called like this."""
    return next((who for start, who in _MAKERS if model.lower().startswith(start)), ())


def alike(name: str, names: Sequence[str], most: int = _MOST) -> list[str]:
    """Those of `names` that somebody who typed `name` may have meant, the likeliest first."""
    lower = {one.lower(): one for one in reversed(names)}
    close = difflib.get_close_matches(name.lower(), lower, n=most, cutoff=_ALIKE)
    inside = [one for one in lower if len(name) > 2 and name.lower() in one and one not in close]
    return [lower[one] for one in (*close, *inside)][:most]


def _on(shelf: Shelf, model: str) -> str:
    """The model of one provider. What is not on an incomplete list may be there all the same."""
    found = _match(model, shelf.models, whole=shelf.whole)
    if found or not shelf.whole:
        return found or model
    count = len(shelf.models)
    meant = alike(model, shelf.models)
    raise Invalid(
        f"Model {model!r} not found in {shelf.provider} ({count} models available).",
        code="unknown_model",
        hint=_or([f"{shelf.provider}/{one}" for one in meant])
        or f"holdfast model list {shelf.provider}",
    )


def _match(model: str, models: Sequence[str], *, whole: bool) -> str:
    if model in models:
        return model
    lower = model.lower()
    if same := [one for one in models if one.lower() == lower]:
        return same[0]
    begins = [one for one in models if one.lower().startswith(lower) or lower.startswith(one)]
    return begins[0] if whole and len(begins) == 1 else ""


def _somewhere(name: str, shelves: Sequence[Shelf]) -> str:
    """The model that a name without a provider means; empty if it may mean several, or none."""
    usual = [one for one in shelves if one.automatic]
    lower = name.lower()
    same = list(_all(lambda one: one.lower() == lower, usual))
    if same:
        return next((one for one in same if one.endswith(f"/{name}")), same[0])
    if "/" in name:
        return ""
    begins = list(_all(lambda one: one.lower().startswith(lower), [o for o in usual if o.whole]))
    if len({one.partition("/")[2] for one in begins}) == 1:
        return begins[0]
    by_name = {one.provider: one for one in usual if not one.whole}
    if maker := next((one for one in makers(name) if one in by_name), ""):
        return f"{maker}/{name}"
    if begins or alike(name, [model for one in shelves for model in one.models], 1):
        return ""
    unlisted = [one for one in usual if one.open and not one.whole and not one.models]
    unlisted.sort(key=lambda one: not one.local)
    return f"{unlisted[0].provider}/{name}" if unlisted else ""


def _all(fits: Callable[[str], bool], shelves: Sequence[Shelf]) -> Iterator[str]:
    return (f"{one.provider}/{model}" for one in shelves for model in one.models if fits(model))


def _hint(name: str, shelves: Sequence[Shelf], known: Sequence[str]) -> str:
    provider, _, rest = name.partition("/")
    for maker in (provider, *makers(name)):
        if maker in known and all(one.provider != maker for one in shelves):
            return f"connect its provider first: holdfast connect {maker}"
    names = [f"{one.provider}/{model}" for one in shelves for model in one.models]
    bare = {one.partition("/")[2]: one for one in reversed(names)}
    meant = alike(name, names) or [bare[one] for one in alike(name, list(bare))]
    if not meant and rest:
        providers = [*(one.provider for one in shelves), *known]
        meant = [f"{one}/{rest}" for one in difflib.get_close_matches(provider, providers, n=1)]
    return _or(meant) or f"holdfast model list shows them; there are: {_few(names)}"


def _or(names: Sequence[str]) -> str:
    return f"did you mean {' or '.join(names)}?" if names else ""


def _few(names: Sequence[str]) -> str:
    more = len(names) - 2 * _MOST
    return ", ".join(names[: 2 * _MOST]) + (f" and {more} more" if more > 0 else "")
