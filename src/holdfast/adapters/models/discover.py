"""Which providers there are, and where each has its credential, the preferred first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast
from urllib.parse import urlsplit

from holdfast.core.error import Invalid

from .credentials import ADDED, KEYCHAIN, SAVED, Keys, Server, is_provider_name
from .known import KNOWN, Known
from .logins.registry import Logins
from .settings import Flavour, Kind, ModelsConfig, Provider

_ACCESS_KEY = "AWS_ACCESS_KEY_ID"
_MODELS: Mapping[str, str] = {
    "bedrock": "BEDROCK_DEFAULT_MODEL",
    "azure": "AZURE_OPENAI_DEPLOYMENT",
}
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


def configured(config: ModelsConfig, logins: Logins) -> tuple[Found, ...]:
    """What is found without looking around, the preferred first. A configured name wins.

    Raises `Invalid` for a configured provider without a usable address.
    """
    keys = Keys(config.env, config.vault, config.keychain)
    logged_in = tuple(_logged_in(logins))
    there = [one for one in _known(keys, config.env, logged_in) if not _is_beside(one)]
    found = {one.name: one for one in there if not _is_local(one)}
    for name, provider in config.providers.items():
        complete = _completed(name, provider, keys, config.env)
        if urlsplit(complete.base_url).scheme not in {"http", "https"} or not complete.host:
            raise Invalid(
                f"The provider {name}: base_url is missing or not a URL.",
                hint="give its whole address, like http://127.0.0.1:8000/v1",
            )
        note = f"takes the place of the built-in {name}" if name in KNOWN else ""
        found[name] = Found(name=name, source="configuration", provider=complete, note=note)
    for one in (*_added(keys), *there):
        found.setdefault(one.name, one)
    return tuple(found.values())


def beside(config: ModelsConfig) -> tuple[Found, ...]:
    """Other ways to ask providers that are found: there when named, but not listed."""
    keys = Keys(config.env, config.vault, config.keychain)
    return tuple(one for one in _known(keys, config.env) if _is_beside(one))


def _is_beside(found: Found) -> bool:
    return (known := KNOWN.get(found.name)) is not None and known.beside


def _is_local(found: Found) -> bool:
    return (known := KNOWN.get(found.name)) is not None and known.local


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


def _known(keys: Keys, env: Mapping[str, str], logged_in: tuple[Found, ...] = ()) -> list[Found]:
    """All with a key in a variable, then the logins, then the keychain's keys, then the saved."""
    places = (list[Found](), [*logged_in], list[Found](), list[Found]())
    for name, known in KNOWN.items():
        url = _first(env, known.urls)
        there = keys.all(name, known.keys)
        if not there and not (url and known.open):
            continue
        provider = known_provider(name, env, there[0].value if there else "")
        source = there[0].source if there else url
        if not provider.base_url or (source == _ACCESS_KEY and not provider.secret_key):
            continue
        also = tuple(key.source for key in there[1:])
        place = places[{KEYCHAIN: 2, SAVED: 3}.get(source, 0)]
        place.append(Found(name=name, source=source, provider=provider, also=also))
    return [one for place in places for one in place]


def _logged_in(logins: Logins) -> Iterator[Found]:
    """What a borrowed login gives is used only where it is named."""
    for vendor, shelf, token in logins.all():
        provider = Provider(
            kind=cast("Kind", vendor.kind),
            base_url=token.base_url or vendor.base_url,
            models=token.models or vendor.models,
            free=True,
            login=vendor.name,
        )
        yield Found(
            name=vendor.name,
            source=shelf.place,
            provider=provider,
            automatic=not vendor.borrowed,
            note=vendor.note,
        )


def known_provider(name: str, env: Mapping[str, str], key: str) -> Provider:
    """A provider that everybody knows, asked with this key."""
    known = KNOWN[name]
    provider = Provider(
        kind=known.kind,
        base_url=_address(known, env),
        api_key=key,
        models=_usual(known, env),
        flavour=known.flavour,
    )
    return _with_account(provider, env)


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
    known = _who(name, provider)
    flavour = provider.flavour or (known.flavour if known else "") or _flavour_at(provider.host)
    provider = replace(provider, api_key=key, flavour=flavour)
    if known is None or provider.base_url:
        return replace(provider, base_url=_root(provider.kind, provider.base_url))
    key = key or env.get(_first(env, known.keys), "").strip()
    models = provider.models or _usual(known, env)
    provider = _with_account(replace(provider, api_key=key, models=models), env)
    return replace(provider, base_url=_address(known, env, provider.region))


def _who(name: str, provider: Provider) -> Known | None:
    """Who the provider is: by its name, else the best known one that speaks the same."""
    known = KNOWN.get(name)
    if known and known.kind == provider.kind:
        return known
    if provider.kind == "openai-compatible":
        return None
    return next((known for known in KNOWN.values() if known.kind == provider.kind), None)


def _address(known: Known, env: Mapping[str, str], region: str = "") -> str:
    if known.kind == "ollama" and env.get("OLLAMA_HOST", "").strip():
        return _ollama_host(env)
    given = env.get(_first(env, known.urls), "")
    url = given or known.base_url.format(region=region or _region(env))
    return _root(known.kind, url)


def _usual(known: Known, env: Mapping[str, str]) -> tuple[str, ...]:
    """The models of a provider that are known before it is asked."""
    told = env.get(_MODELS.get(known.kind, ""), "").strip()
    model = told or known.model
    return (model,) if model else ()


def _with_account(provider: Provider, env: Mapping[str, str]) -> Provider:
    """With what else the environment says of an account: AWS's secrets, Azure's version."""
    match provider.kind:
        case "azure":
            version = provider.api_version or env.get("OPENAI_API_VERSION", "").strip()
            return replace(provider, api_version=version)
        case "bedrock":
            region = provider.region or _region(env)
            if provider.secret_key or provider.api_key != env.get(_ACCESS_KEY, "").strip():
                return replace(provider, region=region)
            return replace(
                provider,
                region=region,
                secret_key=env.get("AWS_SECRET_ACCESS_KEY", "").strip(),
                session_token=env.get("AWS_SESSION_TOKEN", "").strip(),
            )
        case _:
            return provider


def _region(env: Mapping[str, str]) -> str:
    return env.get(_first(env, ("AWS_REGION", "AWS_DEFAULT_REGION")), "us-east-1").strip()


def _flavour_at(host: str) -> Flavour:
    """Whose ways a configured server has, if it is one that everybody knows under its own host."""
    if not host:
        return ""
    known = next((one for one in KNOWN.values() if f"//{host}/" in one.base_url), None)
    return known.flavour if known else ""


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
