"""Which providers there are, and where each has its credential, the preferred first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from holdfast.core.error import Invalid

from .credentials import ADDED, KEYCHAIN, SAVED, Keys, Server, is_provider_name
from .settings import Kind, ModelsConfig, Provider

_PREFERRED_LOCAL = (
    "qwen2.5-coder", "codestral", "deepseek-coder-v2", "llama3.3", "llama3.1", "mistral", "gemma2",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A provider that can be used, and where it was found. Shows no secret.

    `also` are places with another credential that does not count. Without `automatic` it is used
    only where it is named, never because it is there.
    """

    name: str
    source: str
    provider: Provider
    also: tuple[str, ...] = ()
    automatic: bool = True
    note: str = ""

    @property
    def models(self) -> tuple[str, ...]:
        return self.provider.models

    @property
    def host(self) -> str:
        return self.provider.host

    @property
    def default(self) -> str:
        """`provider/model`; empty if no model of it is known yet."""
        return f"{self.name}/{chosen}" if (chosen := _chosen(self.provider)) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A provider that everybody knows: the names of its keys and URLs, and its usual model."""

    kind: Kind
    keys: tuple[str, ...]
    urls: tuple[str, ...]
    base_url: str
    model: str


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
    ),
    "google": Known(
        kind="google",
        keys=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        urls=("GEMINI_BASE_URL", "GOOGLE_BASE_URL"),
        base_url="https://generativelanguage.googleapis.com",
        model="gemini-2.5-pro",
    ),
}


def configured(config: ModelsConfig) -> tuple[Found, ...]:
    """What is found without looking around, the preferred first. A configured name wins.

    Raises `Invalid` for a configured provider without a usable address.
    """
    keys = Keys(config.env, config.vault, config.keychain)
    found = {one.name: one for one in _known(keys, config.env)}
    for name, provider in config.providers.items():
        complete = _completed(name, provider, keys, config.env)
        if urlsplit(complete.base_url).scheme not in {"http", "https"} or not complete.host:
            raise Invalid(
                f"The provider {name}: base_url is missing or not a URL.",
                hint="give its whole address, like http://127.0.0.1:8000/v1",
            )
        note = f"takes the place of the built-in {name}" if name in KNOWN else ""
        found[name] = Found(name=name, source="configuration", provider=complete, note=note)
    for one in _added(keys):
        found.setdefault(one.name, one)
    if ollama := _ollama_host(config.env):
        provider = Provider(kind="ollama", base_url=ollama)
        found.setdefault("ollama", Found(name="ollama", source="OLLAMA_HOST", provider=provider))
    return tuple(found.values())


def with_models(found: Found, models: tuple[str, ...]) -> Found:
    """The same with the models that its server names, unless some are configured."""
    if found.models or not models:
        return found
    return replace(found, provider=replace(found.provider, models=models))


def line(found: tuple[Found, ...], using: str) -> str:
    """What was found and what is used, in one line."""
    names = ", ".join(f"{one.name} ({_from(one)})" for one in found)
    return f"Found: {names or 'no language model'}. Using: {using}."


def _from(found: Found) -> str:
    return f"on {found.host}" if found.source == "local" else f"from {found.source}"


def _known(keys: Keys, env: Mapping[str, str]) -> list[Found]:
    """Those that everybody knows: all with a variable, then the keychain's, then the saved."""
    places = (list[Found](), list[Found](), list[Found]())
    for name, known in KNOWN.items():
        url = _first(env, known.urls)
        there = keys.all(name, known.keys)
        if not there and not (url and known.kind == "openai"):
            continue
        provider = known_provider(name, env, there[0].value if there else "")
        source = there[0].source if there else url
        also = tuple(key.source for key in there[1:])
        place = places[{KEYCHAIN: 1, SAVED: 2}.get(source, 0)]
        place.append(Found(name=name, source=source, provider=provider, also=also))
    return [one for place in places for one in place]


def known_provider(name: str, env: Mapping[str, str], key: str) -> Provider:
    """A provider that everybody knows, asked with this key."""
    known = KNOWN[name]
    return Provider(
        kind=known.kind,
        base_url=_root(known.kind, env.get(_first(env, known.urls), "") or known.base_url),
        api_key=key,
        models=(known.model,),
    )


def _added(keys: Keys) -> Iterator[Found]:
    for name, server in keys.servers():
        provider = added_provider(server, keys.saved(name))
        if provider.host and is_provider_name(name) and name not in KNOWN:
            yield Found(name=name, source=ADDED, provider=provider)


def added_provider(server: Server, key: str) -> Provider:
    """A server that somebody added, asked with this key."""
    return Provider(
        kind="openai-compatible",
        base_url=server.base_url.rstrip("/"),
        api_key=key,
        models=server.models,
    )


def _completed(name: str, provider: Provider, keys: Keys, env: Mapping[str, str]) -> Provider:
    """With the provider's own address, and the key: of its variable, saved, or configured.

    A key from a variable that everybody knows goes to the provider's own address only.
    """
    key = keys.variable(provider.key_env) or keys.saved(name) or provider.api_key
    provider = replace(provider, api_key=key)
    known = next((known for known in KNOWN.values() if known.kind == provider.kind), None)
    if provider.kind == "ollama" and not provider.base_url:
        return replace(provider, base_url=_ollama_host(env) or "http://127.0.0.1:11434")
    if known is None or provider.base_url:
        return replace(provider, base_url=_root(provider.kind, provider.base_url))
    return replace(
        provider,
        base_url=_root(provider.kind, known.base_url),
        api_key=provider.api_key or env.get(_first(env, known.keys), "").strip(),
        models=provider.models or (known.model,),
    )


def _root(kind: Kind, url: str) -> str:
    """The URL as the client of this kind wants it: with `/v1` or without."""
    plain = url.strip().rstrip("/")
    match kind:
        case "anthropic" | "ollama":
            return plain.removesuffix("/v1")
        case "google":
            return plain.removesuffix("/v1beta")
        case _:
            return plain


def _ollama_host(env: Mapping[str, str]) -> str:
    """OLLAMA_HOST as a URL: it may be a host, a port, both, or a URL; `0.0.0.0` means here."""
    host = env.get("OLLAMA_HOST", "").strip().rstrip("/")
    if not host:
        return ""
    scheme, _, rest = host.rpartition("://")
    name, colon, port = rest.rpartition(":")
    if not colon:
        name, port = rest, "443" if scheme == "https" else "80" if scheme else "11434"
    name = "127.0.0.1" if name in {"", "0.0.0.0"} else name  # noqa: S104 - replaced, not bound to
    return f"{scheme or 'http'}://{name}:{port}"


def _chosen(provider: Provider) -> str:
    if provider.kind == "ollama":
        for wanted in _PREFERRED_LOCAL:
            for model in provider.models:
                if model.startswith(wanted):
                    return model
    return provider.models[0] if provider.models else ""


def _first(env: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((name for name in names if env.get(name, "").strip()), "")
