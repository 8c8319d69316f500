"""All models that can be asked here, by the name `provider/model`.

To add a provider that speaks a known protocol: a table `[models.providers.<name>]` in the
configuration. To add a protocol: a module `dialect_<kind>.py`, and its line in remote.py.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import anyio
from msgspec import Struct

from holdfast.core.context import Prompt
from holdfast.core.error import Invalid
from holdfast.core.ids import Instant
from holdfast.core.message import Reply
from holdfast.ports.model import Account, Delta, Model, ModelHealth, ToolSpec

from . import discover, roles
from .answering import Call, Means, Question
from .discover import Found
from .health import Remembered
from .known import KNOWN
from .lending import Lender, opened
from .loading import load_aside
from .logins.login import Login
from .logins.registry import Logins
from .offline import OFFLINE, OfflineModel
from .reading import check_shape
from .remote import Address
from .settings import ModelsConfig, Probe


class Described(Struct, frozen=True, kw_only=True):
    """What there is and what is used, for a person to read. Holds no secret to show."""

    found: tuple[Found, ...]
    names: tuple[str, ...]
    using: str
    line: str


def wall() -> Instant:
    return time.time_ns() // 1_000_000


class Catalog:
    """Implements `ports.Models`. Knows what is configured; `detect` looks for local servers too.

    `remember` names the file that keeps the models' health; `files` gives the bytes of a file that
    is shown, by its digest; `now` and `sleep` are for tests.
    """

    def __init__(
        self,
        config: ModelsConfig,
        *,
        more: Mapping[str, Model] | None = None,
        remember: Path | None = None,
        files: Callable[[str], Awaitable[bytes]] | None = None,
        now: Callable[[], Instant] = wall,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._config = config
        self.logins = logins_of(config)
        self._found = discover.configured(config, self.logins)
        self._beside = discover.beside(config)
        ours = {OFFLINE: OfflineModel(), **(more or {})}
        self._lender = Lender(ours, self._place, config.per_provider, files)
        self._health = Remembered(now, remember)
        self._now, self._sleep = now, sleep

    def configure(self, config: ModelsConfig) -> None:
        """From now on this; calls under way end as they began. Raises `Invalid`: nothing changes.

        What `detect` has found on this machine stays.
        """
        logins = logins_of(config).after(self.logins)
        found = list(discover.configured(config, logins))
        local = (one for one in self._found if one.source == "local" and config.probe)
        found += [one for one in local if _is_new(one, found)]
        before = self._by_name()
        self._config, self._found, self.logins = config, tuple(found), logins
        for one in found:
            if one.name in before and one.provider != before[one.name].provider:
                self._health.changed(one.name)
        self._beside = discover.beside(config)
        self._lender.changed(config.per_provider)

    @property
    def config(self) -> ModelsConfig:
        return self._config

    @property
    def default(self) -> str:
        """The model that is used when none is named and the executor has none of its own."""
        if self._config.default:
            return self._config.default
        usable = (one.default for one in self._found if one.automatic)
        return next(filter(None, usable), OFFLINE)

    def find(self, name: str) -> Model:
        return self._lender.model(self._candidates(name)[0][0])

    check_shape = staticmethod(check_shape)

    async def answer(
        self,
        name: str,
        prompt: Prompt,
        tools: tuple[ToolSpec, ...],
        hear: Callable[[Delta], None],
        account: Account,
    ) -> Reply:
        candidates, skipped = self._candidates(name)
        lent = {one: self._lender.lend(one) for one in candidates}
        means = Means(
            opens=partial(opened, lent),
            health=self._health,
            patience=self._config.patience,
            now=self._now,
            sleep=self._sleep,
        )
        question = Question(prompt=prompt, tools=tools, hear=hear, account=account)
        return await Call(question, means).reply(candidates, skipped)

    def health(self) -> tuple[ModelHealth, ...]:
        return self._health.report()

    def doubts(self) -> list[tuple[str, str]]:
        """The models that are configured as somebody's, and cannot be asked; and why."""
        return roles.doubts(self._config, self._usable)

    def _candidates(self, name: str) -> tuple[list[str], list[tuple[str, str]]]:
        """Who can be asked for `name`, in order; who cannot, and why. `Invalid` if nobody can."""
        usable = [one for one in self._found if one.automatic and not roles.without_key(one)]
        names = roles.in_order(name, self._config, self.default, roles.small_of(usable))
        if len(names) == 1:  # the fallbacks of a model are also those of every name it has
            with suppress(Invalid):
                names += tuple(self._config.fallback.get(self._full_name(names[0]), ()))
        return roles.sorted_out(names, self._usable)

    def _usable(self, name: str) -> str:
        """The full name of a model that can be asked. Raises `Invalid`."""
        full = self._full_name(name)
        found = self._by_name().get(full.partition("/")[0])
        if full not in self._lender.ours and found is not None:
            roles.check_key(full, found)
        return full

    def lasting_logins(self) -> tuple[Login, ...]:
        """The logins that are kept alive while nobody uses them."""
        return self.logins.lasting()

    def refresh(self) -> None:
        """Look at keys, logins and added servers once more. Who is being asked is not disturbed."""
        self.configure(self._config)

    async def detect(self) -> Described:
        """Look for servers on this machine, and ask those without known models for theirs."""
        found, seconds = list(self._found), self._config.probe_seconds
        open_ports = await listening(self._config.probes if self._config.probe else (), seconds)
        if not open_ports and all(one.models for one in found):
            return self.describe()  # nothing to ask: the HTTP client need not be loaded
        wire = await load_aside("wire")
        for one in await wire.look_around(open_ports, seconds):
            found += [one] if _is_new(one, found) else []
        client = self._lender.client(self._config.timeouts)
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
        self._health.save()
        await self._lender.close()

    def _place(self, name: str) -> Address:
        provider, _, model = name.partition("/")
        found = self._by_name()[provider]
        return Address(
            provider_name=provider,
            model=model,
            provider=found.provider,
            timeouts=found.provider.timeouts or self._config.timeouts,
            login=self.logins.find(found.provider.login) if found.provider.login else None,
            price=self._config.price(name),
        )

    def _full_name(self, name: str) -> str:
        """`provider/model` for `name`, which may be a provider alone. Raises `Invalid`."""
        if name in self._lender.ours:
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
        return (*listed, *self._lender.ours)

    def _by_name(self) -> dict[str, Found]:
        return {one.name: one for one in (*self._beside, *self._found)}


def logins_of(config: ModelsConfig) -> Logins:
    return Logins(
        config.env,
        config.vault,
        config.locks,
        borrowed=config.borrowed,
        addresses=config.addresses,
    )


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
