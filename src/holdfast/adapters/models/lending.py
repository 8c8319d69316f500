"""Models to be asked: the clients they share, room at each provider, connections of one's own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio

from holdfast.ports.model import Model

from .loading import load, load_aside
from .offline import Direct
from .remote import Address, RemoteModel
from .remote_embedder import RemoteEmbedder
from .settings import Timeouts


@dataclass(frozen=True, kw_only=True)
class Lent:
    """One model for one call, whatever the configuration becomes meanwhile."""

    model: Model
    remote: RemoteModel | None
    lane: anyio.CapacityLimiter


class Lender:
    """Every model by its name. `place` says where a name is to be asked; `ours` are in-process."""

    def __init__(
        self,
        ours: Mapping[str, Model],
        place: Callable[[str], Address],
        per_provider: int,
        files: Callable[[str], Awaitable[bytes]] | None = None,
    ) -> None:
        self.ours, self._place, self._files = ours, place, files
        self._per_provider = per_provider
        self._models: dict[str, tuple[Model, RemoteModel]] = {}
        self._embedders: dict[str, RemoteEmbedder] = {}
        self._lanes: dict[str, anyio.CapacityLimiter] = {}
        self._clients: dict[tuple[Timeouts, str], Any] = {}

    def model(self, name: str) -> Model:
        """The same model for the same name, until something changes."""
        return self.ours.get(name) or self._remote(name)[0]

    def lend(self, name: str) -> Lent:
        remote = None if name in self.ours else self._remote(name)[1]
        return Lent(model=self.model(name), remote=remote, lane=self._lane(name))

    def embedder(self, name: str) -> tuple[RemoteEmbedder, anyio.CapacityLimiter]:
        """A model that embeds, and its provider's room, which is that of all its models."""
        if name not in self._embedders:
            address = self._place(name)
            self._embedders[name] = RemoteEmbedder(address, lambda: self._client_of(address))
        return self._embedders[name], self._lane(name)

    def client(self, timeouts: Timeouts) -> Any:
        """The HTTP client that all models with these timeouts share."""
        key = (timeouts, "")
        if key not in self._clients:
            self._clients[key] = load("wire").new_client(timeouts)
        return self._clients[key]

    def _client_of(self, address: Address) -> Any:
        """With a login the client is the provider's own: a token goes nowhere else."""
        if address.login is None:
            return self.client(address.timeouts)
        key = (address.timeouts, f"{address.provider.login} {address.provider.base_url}")
        if key not in self._clients:
            self._clients[key] = _client(address, pool=True)
        return self._clients[key]

    def changed(self, per_provider: int) -> None:
        """Names may have other places now. What is lent stays as it is."""
        self._models.clear()
        self._embedders.clear()
        self._per_provider = per_provider
        for lane in self._lanes.values():
            lane.total_tokens = per_provider

    async def close(self) -> None:
        """Close what is open. It opens again when it is needed."""
        self._models.clear()
        self._embedders.clear()
        while self._clients:
            _, client = self._clients.popitem()
            await client.aclose()

    def _lane(self, name: str) -> anyio.CapacityLimiter:
        provider = name.partition("/")[0]
        if provider not in self._lanes:
            self._lanes[provider] = anyio.CapacityLimiter(self._per_provider)
        return self._lanes[provider]

    def _remote(self, name: str) -> tuple[Model, RemoteModel]:
        if name not in self._models:
            address = self._place(name)
            remote = RemoteModel(address, lambda: self._client_of(address), self._files)
            self._models[name] = Direct(remote), remote
        return self._models[name]


@asynccontextmanager
async def opened(lent: Mapping[str, Lent], name: str, *, fresh: bool) -> AsyncGenerator[Model]:
    """A lent model when its provider has room; `fresh` over a connection that nobody has used."""
    one = lent[name]
    async with one.lane:
        if not fresh or one.remote is None:
            yield one.model
            return
        await load_aside("wire")
        client = _client(one.remote.address, pool=False)
        try:
            yield Direct(one.remote.afresh(client))
        finally:
            with anyio.CancelScope(shield=True):
                await client.aclose()


def _client(address: Address, *, pool: bool) -> Any:
    """An HTTP client that logs in where the provider wants it."""
    login = address.login
    auth = load("logins.apply").LoginAuth(login, address.provider.base_url) if login else None
    return load("wire").new_client(address.timeouts, pool=pool, auth=auth)
