"""All models that can be asked here, by the name `provider/model`.

To add a provider that speaks a known protocol: a table `[models.providers.<name>]` in the
configuration. To add a protocol: a module `dialect_<kind>.py`, and its line in remote.py.
"""

from __future__ import annotations

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
from holdfast.ports.choosing import Card
from holdfast.ports.model import Account, Delta, Model, ModelHealth, ToolSpec

from . import discover, roles
from .answering import Call, Means, Question
from .directory import Directory
from .discover import Found
from .embedding import Embeddings
from .health import Remembered
from .lending import Lender, opened
from .listing import Listings
from .loading import load_aside
from .logins.login import Login
from .logins.registry import Logins
from .offline import OFFLINE, OfflineModel
from .reading import check_shape
from .remote import Address
from .settings import ModelsConfig, Probe, with_choices


class Described(Struct, frozen=True, kw_only=True):
    """What there is and what is used, for a person to read. Holds no secret to show."""

    found: tuple[Found, ...]
    names: tuple[str, ...]
    using: str
    line: str


def wall() -> Instant:
    return time.time_ns() // 1_000_000


class Catalog:
    """Implements `ports.Models`; its `embedder` implements that port over the same providers.

    Knows what is configured; `detect` looks for local servers too. `remember` names the file that
    keeps the models' health; `files` gives the bytes of a file that is shown, by its digest; `now`
    and `sleep` are for tests.
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
        self._config = self._told = config
        self.logins = logins_of(config)
        ours = {OFFLINE: OfflineModel(), **(more or {})}
        self._lender = Lender(ours, self._place, config.per_provider, files)
        self._health = Remembered(now, remember)
        self._now, self._sleep = now, sleep
        self._chosen: Mapping[str, str] = {}
        self._directory = Directory(Listings(now, config.lists), ours)
        self._directory.fill(discover.configured(config, self.logins), discover.beside(config))
        self.embedder = Embeddings(self._who_embeds, self._lender, self._health, sleep)

    def check(self, config: ModelsConfig) -> None:
        """Raises `Invalid` for what `configure` would not take."""
        discover.configured(config, logins_of(config))

    def configure(self, config: ModelsConfig) -> None:
        """From now on this; calls under way end as they began. Raises `Invalid`: nothing changes.

        What `detect` has found on this machine stays.
        """
        logins = logins_of(config).after(self.logins)
        found = list(discover.configured(config, logins))
        local = (one for one in self._directory.found if one.source == "local" and config.probe)
        found += [one for one in local if _is_new(one, found)]
        before = {one.name: one.provider for one in self._directory.found}
        for one in found:
            if one.provider != before.get(one.name, one.provider):
                self._health.changed(one.name)
        self._directory.fill(tuple(found), discover.beside(config))
        self._told, self.logins = config, logins
        self._config = with_choices(config, self._chosen)
        self._lender.changed(config.per_provider)

    @property
    def config(self) -> ModelsConfig:
        return self._config

    @property
    def default(self) -> str:
        """The model that is used when none is named and the executor has none of its own."""
        if self._config.default:
            return self._config.default
        there = self._directory
        usable = (there.default_of(one) for one in there.found if one.automatic)
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
        return [*roles.doubts(self._config, self._usable), *self.embedder.doubts()]

    def _candidates(self, name: str) -> tuple[list[str], list[tuple[str, str]]]:
        """Who can be asked for `name`, in order; who cannot, and why. `Invalid` if nobody can."""
        there = (one for one in self._directory.found if one.automatic)
        usable = [one for one in there if not roles.without_key(one)]
        names = roles.in_order(name, self._config, self.default, roles.small_of(usable))
        if len(names) == 1:  # the fallbacks of a model are also those of every name it has
            with suppress(Invalid):
                names += tuple(self._config.fallback.get(self._directory.full(names[0]), ()))
        return roles.sorted_out(names, self._usable)

    def _usable(self, name: str) -> str:
        """The full name of a model that can be asked. Raises `Invalid`."""
        full = self._directory.full(name)
        found = self._directory.find(full.partition("/")[0])
        if full not in self._lender.ours and found is not None:
            roles.check_key(full, found)
        return full

    def lasting_logins(self) -> tuple[Login, ...]:
        """The logins that are kept alive while nobody uses them."""
        return self.logins.lasting()

    def refresh(self) -> None:
        """Look at keys, logins and added servers once more. Who is being asked is not disturbed."""
        self.configure(self._told)

    def choose(self, roles: Mapping[str, str]) -> None:
        """These models were chosen for roles; they count where nothing is configured."""
        self._chosen = roles
        self._config = with_choices(self._told, roles)

    async def detect(self) -> Described:
        """Look for servers on this machine, and ask those without known models for theirs."""
        found, seconds = list(self._directory.found), self._config.probe_seconds
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
        self._directory.fill(tuple(found))
        return self.describe()

    async def learn(self) -> None:
        """Ask those of whose models nobody has told, unless they have said within the hour."""
        if await self._directory.learn():
            self._lender.changed(self._config.per_provider)

    async def cards(self, *, fresh: bool) -> tuple[Card, ...]:
        """What is known of all models here; whose list is too old is asked, or everybody."""
        if await self._directory.refresh(fresh=fresh):
            self._lender.changed(self._config.per_provider)
        return self._directory.cards(self._config.windows)

    def describe(self) -> Described:
        using = self.default
        there = self._directory
        line = discover.line(there.found, using)
        return Described(found=there.found, names=there.names(), using=using, line=line)

    async def close(self) -> None:
        self._health.save()
        await self._lender.close()

    def _who_embeds(self) -> tuple[ModelsConfig, tuple[Found, ...]]:
        return self._config, self._directory.everyone

    def _place(self, name: str) -> Address:
        provider, _, model = name.partition("/")
        found = self._directory.find(provider)
        if found is None:
            raise LookupError(f"{provider} is not here any more")
        card = self._directory.card(name, self._config.windows)
        return Address(
            provider_name=provider,
            model=model,
            window=card.window,
            listed_output=card.output,
            provider=found.provider,
            timeouts=found.provider.timeouts or self._config.timeouts,
            login=self.logins.find(found.provider.login) if found.provider.login else None,
            price=self._config.price(name),
        )


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
