"""All models that can be asked here, by the name `provider/model`.

To add a provider that speaks a known protocol: a table `[models.providers.<name>]` in the
configuration. To add a protocol: a module `dialect_<kind>.py`, and its line in remote.py.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import anyio
from msgspec import Struct

from holdfast.core.context import Prompt
from holdfast.core.error import Invalid
from holdfast.core.message import Reply
from holdfast.ports.model import Account, Delta, Model, ToolSpec

from . import discover
from .discover import KNOWN, Found
from .loading import load, load_aside
from .offline import OFFLINE, Direct, OfflineModel
from .paying import asked
from .remote import Address, RemoteModel
from .settings import ModelsConfig, Probe


class Described(Struct, frozen=True, kw_only=True):
    """What there is and what is used, for a person to read. Holds no secret to show."""

    found: tuple[Found, ...]
    names: tuple[str, ...]
    using: str
    line: str


class Catalog:
    """Implements `ports.Models`. Knows what is configured; `detect` looks for local servers too."""

    def __init__(self, config: ModelsConfig, *, more: Mapping[str, Model] | None = None) -> None:
        self._config = config
        self._found = discover.configured(config)
        self._models: dict[str, Model] = {OFFLINE: OfflineModel(), **(more or {})}
        self._client: Any = None
        self._lanes: dict[str, anyio.CapacityLimiter] = {}

    @property
    def default(self) -> str:
        """The model that is used when none is named."""
        if self._config.default:
            return self._config.default
        usable = (one.default for one in self._found if one.automatic)
        return next(filter(None, usable), OFFLINE)

    def find(self, name: str) -> Model:
        wanted = self._full_name(name.strip() or self.default)
        if wanted not in self._models:
            self._models[wanted] = Direct(self._remote(wanted))
        return self._models[wanted]

    async def answer(
        self,
        name: str,
        prompt: Prompt,
        tools: tuple[ToolSpec, ...],
        hear: Callable[[Delta], None],
        account: Account,
    ) -> Reply:
        model = self.find(name)
        async with self._lane(model.name.partition("/")[0]):
            return await asked(model, prompt, tools, hear, account)

    def _lane(self, provider: str) -> anyio.CapacityLimiter:
        if provider not in self._lanes:
            self._lanes[provider] = anyio.CapacityLimiter(self._config.per_provider)
        return self._lanes[provider]

    def refresh(self) -> None:
        """Look at keys, logins and added servers once more. Who is being asked is not disturbed."""
        local = [one for one in self._found if one.source == "local"]
        found = list(discover.configured(self._config))
        self._found = (*found, *(one for one in local if _is_new(one, found)))
        for name, model in list(self._models.items()):
            if isinstance(model, Direct):
                del self._models[name]

    async def detect(self) -> Described:
        """Look for servers on this machine, and ask those without known models for theirs."""
        found, seconds = list(self._found), self._config.probe_seconds
        open_ports = await listening(self._config.probes if self._config.probe else (), seconds)
        if not open_ports and all(one.models for one in found):
            return self.describe()  # nothing to ask: the HTTP client need not be loaded
        wire = await load_aside("wire")
        for one in await wire.look_around(open_ports, seconds):
            found += [one] if _is_new(one, found) else []
        client = self._shared_client()
        for index, one in enumerate(found):
            if not one.models:
                named = await wire.models_of(one.provider, client, 3.0)
                found[index] = discover.with_models(one, named or ())
        self._found = tuple(found)
        return self.describe()

    def describe(self) -> Described:
        using = self.default
        line = discover.line(self._found, using)
        return Described(found=self._found, names=self._names(), using=using, line=line)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None
        for name, model in list(self._models.items()):
            if isinstance(model, Direct):
                del self._models[name]

    def _remote(self, name: str) -> RemoteModel:
        provider, _, model = name.partition("/")
        found = self._by_name()[provider]
        address = Address(
            provider_name=provider,
            model=model,
            provider=found.provider,
            timeouts=self._config.timeouts,
        )
        return RemoteModel(address, self._shared_client)

    def _shared_client(self) -> Any:
        if self._client is None:
            self._client = load("wire").new_client(self._config.timeouts)
        return self._client

    def _full_name(self, name: str) -> str:
        """`provider/model` for `name`, which may be a provider alone. Raises `Invalid`."""
        if name in self._models:
            return name
        provider, slash, model = name.partition("/")
        found = self._by_name().get(provider)
        if found and slash and model:
            return name
        if found and found.default:
            return found.default
        if found:
            hint = f"name one of its models: {provider}/<model>"
            raise Invalid(f"No model of {provider} is known.", code="unknown_model", hint=hint)
        raise Invalid(
            f"There is no model {name!r}.", code="unknown_model", hint=self._meant(name, provider)
        )

    def _meant(self, name: str, provider: str) -> str:
        if known := KNOWN.get(provider):
            return f"set {known.keys[0]} to use {provider}"
        names = self._names()
        same = [one for one in names if one.partition("/")[2] == name]
        close = same or difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        providers = difflib.get_close_matches(provider, [*self._by_name(), *KNOWN], n=1)
        if not close and providers:
            rest = name.partition("/")[2]
            close = [f"{providers[0]}/{rest}" if rest else providers[0]]
        if close:
            return f"did you mean {' or '.join(close)}?"
        return f"there are: {', '.join(names)}"

    def _names(self) -> tuple[str, ...]:
        listed = [f"{one.name}/{model}" for one in self._found for model in one.models]
        ours = [name for name, model in self._models.items() if not isinstance(model, Direct)]
        return (*listed, *ours)

    def _by_name(self) -> dict[str, Found]:
        return {one.name: one for one in self._found}


async def listening(probes: tuple[Probe, ...], seconds: float) -> tuple[Probe, ...]:
    """Those of `probes` at whose port somebody listens within `seconds`."""
    open_ports: set[str] = set()

    async def knock(probe: Probe) -> None:
        where = urlsplit(probe.base_url)
        with anyio.move_on_after(seconds):
            try:
                async with await anyio.connect_tcp(where.hostname or "", where.port or 80):
                    open_ports.add(probe.base_url)
            except OSError:
                return

    async with anyio.create_task_group() as group:
        for probe in probes:
            group.start_soon(knock, probe)
    return tuple(probe for probe in probes if probe.base_url in open_ports)


def _is_new(found: Found, known: list[Found]) -> bool:
    return all(
        one.name != found.name and (one.host != found.host or not one.provider.local)
        for one in known
    )
