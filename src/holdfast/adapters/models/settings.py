"""What the models are told at assembly: the environment, the configured providers, the limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

from holdfast.ports.vault import Vault

from .credentials import Keychain
from .failover import Patience
from .logins.vendors import Addresses

Kind = Literal[
    "openai",
    "openai-responses",
    "anthropic",
    "google",
    "bedrock",
    "azure",
    "ollama",
    "openai-compatible",
    "copilot",
    "codex",
    "chatgpt",
]
_BY_LOGIN = ("copilot", "codex", "chatgpt")
KINDS: tuple[Kind, ...] = tuple(kind for kind in get_args(Kind) if kind not in _BY_LOGIN)
"""What a key is enough for."""
LISTS_NOTHING: frozenset[Kind] = frozenset({"azure", "bedrock"})
"""What cannot be asked for its models with a key alone."""
Flavour = Literal[
    "",
    "cerebras",
    "deepseek",
    "fireworks",
    "grok",
    "groq",
    "mistral",
    "moonshot",
    "openrouter",
    "qwen",
    "together",
    "zai",
]

Calls = Literal["auto", "native", "text", "none"]
"""How a provider's models call tools: its own way, in their text, or not at all."""

_LOOPBACK = {"localhost", "127.0.0.1", "::1", "0.0.0.0", "host.docker.internal"}  # noqa: S104 - compared with, not bound to


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long to wait, in seconds: to connect, for the first token, between tokens, in all."""

    connect: float = 10.0
    first: float = 180.0
    idle: float = 90.0
    total: float = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Where models are to be had. `base_url` "" is the provider's own.

    `models` are known by name, the first is its default. A key in the variable `key_env` goes
    before a saved one, and that before `api_key`. `free` None means: free if the server is on this
    machine. `max_output` caps the tokens of one reply; 0 means what is usual for the model.
    `timeouts` None: those of all. `login` names the login that is used instead of a key.
    `flavour` is whose ways an OpenAI-compatible server has. `headers` are sent with every request.
    `api_version` is Azure's. Bedrock has a `region`, and beside the key's id in `api_key` a
    `secret_key` and perhaps a `session_token`; without a secret, `api_key` is a bearer token.
    """

    kind: Kind
    base_url: str = ""
    api_key: str = field(default="", repr=False)
    key_env: str = ""
    models: tuple[str, ...] = ()
    free: bool | None = None
    max_output: int = 0
    window: int = 0
    tools: Calls = "auto"
    timeouts: Timeouts | None = None
    flavour: Flavour = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    api_version: str = ""
    region: str = ""
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    login: str = ""

    @property
    def host(self) -> str:
        """Host and port of the server, without anything that could be a secret; "" for none."""
        parts = urlsplit(self.base_url)
        try:
            _ = parts.port
        except ValueError:  # one that there is not
            return ""
        return f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or ""

    @property
    def local(self) -> bool:
        return (urlsplit(self.base_url).hostname or "") in _LOOPBACK

    @property
    def costs_nothing(self) -> bool:
        """Unless a price is set for the model that is asked."""
        return self.local if self.free is None else self.free


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a person says that a model costs: dollars per million tokens, and per call."""

    input: float = 0.0
    output: float = 0.0
    cache_read: float | None = None
    cache_write: float | None = None
    per_call: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A server that may be running on this machine: where to look for it, and what it speaks."""

    name: str
    kind: Kind
    base_url: str


LOCAL_SERVERS = (
    Probe(name="ollama", kind="ollama", base_url="http://127.0.0.1:11434"),
    Probe(name="lmstudio", kind="openai-compatible", base_url="http://127.0.0.1:1234/v1"),
    Probe(name="llamacpp", kind="openai-compatible", base_url="http://127.0.0.1:8080/v1"),
    Probe(name="vllm", kind="openai-compatible", base_url="http://127.0.0.1:8000/v1"),
)


RoleName = Literal["executor", "evaluator", "planner", "small"]
ROLES: tuple[RoleName, ...] = ("executor", "evaluator", "planner", "small")
EMBEDDER = "@embedder"
"""The one role whose model gives vectors and no answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """Which model plays a part, and who stands in for it. Empty: see roles.py."""

    model: str = ""
    fallback: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsConfig:
    """All that the catalogue is told. Nothing else is read, least of all the real environment.

    `vault` has the saved keys, servers and logins; `keychain` gives the key of a provider, or "".
    `borrowed` are the logins of other programs that may be used, `addresses` what is said otherwise
    of logins, and `locks` the folder where processes meet before they refresh one. `lists` is the
    folder that keeps what providers say they have; `windows` are by model.
    """

    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    providers: Mapping[str, Provider] = field(default_factory=dict[str, Provider])
    vault: Vault | None = None
    keychain: Keychain | None = None
    borrowed: frozenset[str] = frozenset()
    addresses: Mapping[str, Addresses] = field(default_factory=dict[str, Addresses])
    locks: Path = field(default_factory=Path)
    default: str = ""
    probe: bool = True
    probes: tuple[Probe, ...] = LOCAL_SERVERS
    probe_seconds: float = 0.3
    prices: Mapping[str, Price] = field(default_factory=dict[str, Price])
    timeouts: Timeouts = Timeouts()
    per_provider: int = 16
    lists: Path | None = None
    windows: Mapping[str, int] = field(default_factory=dict[str, int])
    roles: Mapping[str, Role] = field(default_factory=dict[str, Role])
    fallback: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    patience: Patience = field(default_factory=Patience)

    def price(self, name: str) -> Price | None:
        """What is set for `provider/model`: by its whole name, else by the first pattern."""
        if name in self.prices:
            return self.prices[name]
        return next((one for like, one in self.prices.items() if fnmatchcase(name, like)), None)


def with_choices(config: ModelsConfig, roles: Mapping[str, str]) -> ModelsConfig:
    """What is configured, and what was chosen where nothing is."""
    default = config.default or roles.get("executor", "")
    others = {role: model for role, model in roles.items() if role != "executor"}
    parts = {name: config.roles.get(name, Role()) for name in {*config.roles, *others}}
    filled = {
        name: replace(one, model=one.model or others.get(name, "")) for name, one in parts.items()
    }
    return replace(config, default=default, roles=filled)
