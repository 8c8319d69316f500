"""All servers of a house: which there are, what may be used of them, what a person agreed to."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup
from msgspec import Struct
from msgspec.structs import replace

from holdfast.adapters.tools.beneath import Denied
from holdfast.adapters.tools.output import Fitted, Spool
from holdfast.core.error import HoldfastError, Invalid, NotFound, Refused, Unavailable
from holdfast.core.gate.servers import problems
from holdfast.core.ids import CallId, TaskId, digest
from holdfast.ports.blobs import Blobs
from holdfast.ports.clock import Clock
from holdfast.ports.mcp import Inspection, ServerSpec, ServerState
from holdfast.ports.mcp import ServerTool as ToolRow
from holdfast.ports.tools import Job, Tool

from . import lock, saved, standing
from .lock import Entry, Quarantine
from .offers import Greeting, Offer, digest_of, offered
from .sessions import Sessions, World, told
from .standing import ADDED, LOCKFILE, Books
from .tool import Means, ServerTool, Told, called, described, prefix_of
from .trouble import Trouble

_log = logging.getLogger("holdfast.mcp")

Configured = Callable[[], Sequence[ServerSpec]]
"""The servers of the configuration that is in force now."""


class Household(Struct, frozen=True, kw_only=True):
    """What servers and their tools get from the house.

    `taken` are names of tools that no server gets; `agent` is for whom one is looked at.
    """

    home: Path
    world: World
    blobs: Blobs
    spool: Spool
    clock: Clock
    progress: Told
    configured: Configured
    taken: frozenset[str]
    agent: str


class _Seen(Struct, frozen=True, kw_only=True):
    """What a look at a server showed."""

    spec: ServerSpec
    offers: tuple[Offer, ...]
    digest: str


class Servers:
    """Implements `ports.ToolServers`; `usable` and `get` are the tools that may be used."""

    def __init__(self, household: Household, group: TaskGroup) -> None:
        self._house = household
        self._books = standing.books(household.home)
        self._sessions = Sessions(household.world, self._check, group)
        self._means = Means(
            sessions=self._sessions, blobs=household.blobs, progress=household.progress
        )
        self._seen: dict[str, _Seen] = {}
        self._absent: dict[str, frozenset[str]] = {}
        self._writing = anyio.Lock()
        self._built: tuple[object, ...] = ()
        self._tools: Mapping[str, Tool] = {}

    # What agents may use.

    def get(self, name: str) -> Tool | None:
        return self._usable().get(name)

    def usable(self) -> Sequence[Tool]:
        return tuple(self._usable().values())

    async def release(self, task: TaskId) -> None:
        """The task needs no server any more."""
        await self._sessions.release(task)

    def _usable(self) -> Mapping[str, Tool]:
        """Made anew only when something changed."""
        configured = self._house.configured()
        parts = (configured, self._books, *self._absent.items())
        if self._built != parts:
            self._built, self._tools = parts, self._made(configured)
        return self._tools

    def _made(self, configured: Sequence[ServerSpec]) -> Mapping[str, Tool]:
        tools: dict[str, Tool] = {}
        for spec in standing.specs(configured, self._books).values():
            if (entry := standing.trusted(spec, self._books)) is None:
                continue
            absent = self._absent.get(spec.name, frozenset())
            for row, offer in self._rows(spec, entry.offers, set(tools)):
                if row.offered and offer.name not in absent:
                    tool = ServerTool(row.tool, spec, standing.agreed(spec, offer), self._means)
                    tools[row.tool] = Fitted(tool, self._house.spool)
        return tools

    # What people ask.

    def all(self) -> Sequence[ServerState]:
        states = standing.states(self._house.configured(), self._books)
        return [replace(one, running=self._sessions.running(one.name)) for one in states]

    def tools(self, name: str) -> Sequence[ToolRow]:
        spec = self._spec(name)
        entry = self._books.lock.servers.get(name)
        return [row for row, _ in self._rows(spec, entry.offers if entry else ())]

    async def inspect(self, name: str) -> Inspection:
        spec = self._spec(name)
        workspace = self._house.home / "mcp" / name
        task = TaskId(self._house.clock.new_id("look"))
        job = Job(task=task, call=CallId(name), workspace=workspace, agent=self._house.agent)
        began, looks = time.monotonic(), list[tuple[Greeting, tuple[Offer, ...]]]()
        failed: Denied | None = None
        try:
            async with self._sessions.look(spec, job) as (peer, greeting):
                looked = await offered(peer, spec.start_seconds) if greeting.has_tools else ()
                looks.append((greeting, looked))
        except* (HoldfastError, Trouble, Denied, OSError) as failures:
            failed = told(name, failures)
        if failed is not None and not looks:
            raise Unavailable(str(failed), code=failed.code, hint="holdfast serve logs")
        greeting, offers = looks[0]
        await self._check(spec, offers)
        return self._inspected(spec, greeting, offers, round((time.monotonic() - began) * 1000))

    async def trust(self, name: str, digest: str) -> ServerState:
        spec = self._spec(name)
        seen = self._seen.get(name)
        if seen is None or seen.digest != digest or seen.spec != spec:
            what = f"{name} is not what was shown any more, or nobody has looked at it"
            raise Refused(what, code="mcp_not_seen", hint=f"holdfast mcp trust {name}")
        entry = Entry(
            place=lock.place(spec),
            where=lock.where(spec),
            trusted_at=self._house.clock.now(),
            tools=tuple(standing.agreed(spec, offer) for offer in seen.offers),
        )
        await self._enter(name, entry)
        await self._sessions.close(name)
        self._absent.pop(name, None)
        return self._state(name)

    async def add(self, spec: ServerSpec) -> ServerState:
        if wrong := list(problems(spec)):
            raise Invalid("; ".join(wrong), code="bad_server")
        if spec.name in standing.specs(self._house.configured(), self._books):
            hint = f"holdfast mcp remove {spec.name}"
            raise Refused(f"there is a server {spec.name} already", code="mcp_exists", hint=hint)
        await self._save({**self._books.added, spec.name: spec})
        return self._state(spec.name)

    async def remove(self, name: str) -> None:
        self._spec(name)
        if any(spec.name == name for spec in self._house.configured()):
            hint = f"take [mcp.servers.{name}] out of it"
            what = f"the server {name} is in the configuration"
            raise Refused(what, code="mcp_configured", hint=hint)
        await self._save({key: spec for key, spec in self._books.added.items() if key != name})
        await self._enter(name, None)
        self._seen.pop(name, None)
        self._absent.pop(name, None)
        await self._sessions.close(name)

    def _inspected(
        self, spec: ServerSpec, greeting: Greeting, offers: tuple[Offer, ...], took: int
    ) -> Inspection:
        seen = _Seen(spec=spec, offers=offers, digest=digest([lock.place(spec), digest_of(offers)]))
        self._seen[spec.name] = seen
        entry = self._books.lock.servers.get(spec.name)
        changes = lock.changes(entry.offers, offers) if entry else ()
        return Inspection(
            name=spec.name,
            title=greeting.title,
            version=greeting.version,
            protocol=greeting.protocol,
            milliseconds=took,
            tools=tuple(row for row, _ in self._rows(spec, offers)),
            digest=seen.digest,
            trusted=standing.trusted(spec, self._books) is not None,
            changes=changes,
        )

    def _rows(
        self, spec: ServerSpec, offers: Sequence[Offer], taken: Iterable[str] = ()
    ) -> list[tuple[ToolRow, Offer]]:
        everyone = standing.specs(self._house.configured(), self._books)
        return _rows(spec, offers, {*self._house.taken, *taken}, everyone.values())

    # What a server says of itself, held against what was agreed to.

    async def _check(self, spec: ServerSpec, offers: tuple[Offer, ...]) -> str:
        """Why it may not be used; empty if it may."""
        entry = standing.trusted(spec, self._books)
        if entry is None:
            return f"a person must agree to what it offers first: holdfast mcp trust {spec.name}"
        if lock.drifted(entry.offers, offers):
            changes = lock.changes(entry.offers, offers)
            out = Quarantine(since=self._house.clock.now(), changes=changes)
            await self._enter(spec.name, replace(entry, quarantine=out))
            _log.warning("the server %s is quarantined: %s", spec.name, "; ".join(changes)[:2_000])
            return f"it is not what was agreed to any more: holdfast mcp trust {spec.name}"
        names = {offer.name for offer in offers}
        absent = frozenset(old.name for old in entry.offers if old.name not in names)
        self._absent = {**self._absent, spec.name: absent}
        return ""

    async def _enter(self, name: str, entry: Entry | None) -> None:
        """Write down what is agreed to about one server. Raises `Broken`, `Unavailable`."""
        async with self._writing:
            kept = self._sound()
            fresh = kept.lock.having(name, entry)
            path = self._house.home / LOCKFILE
            await to_thread.run_sync(partial(lock.write, path, fresh))
            self._books = replace(kept, lock=fresh)

    async def _save(self, servers: Mapping[str, ServerSpec]) -> None:
        async with self._writing:
            kept = self._sound()
            await to_thread.run_sync(partial(saved.write, self._house.home / ADDED, servers))
            self._books = replace(kept, added=servers)

    def _sound(self) -> Books:
        """What is damaged is not overwritten, but read again: somebody may have mended it."""
        if self._books.problem is not None:
            self._books = standing.books(self._house.home)
            if self._books.problem is not None:
                raise self._books.problem
        return self._books

    def _spec(self, name: str) -> ServerSpec:
        found = standing.specs(self._house.configured(), self._books).get(name)
        if found is None:
            hint = "holdfast mcp list"
            raise NotFound(f"there is no server {name}", code="mcp_server_not_found", hint=hint)
        return found

    def _state(self, name: str) -> ServerState:
        return next(one for one in self.all() if one.name == name)


class Offered:
    """Implements `ports.Tools` over the servers."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    def get(self, name: str) -> Tool | None:
        return self._servers.get(name)

    def all(self) -> Sequence[Tool]:
        return self._servers.usable()


def _rows(
    spec: ServerSpec, offers: Sequence[Offer], names: set[str], everyone: Iterable[ServerSpec]
) -> list[tuple[ToolRow, Offer]]:
    """Each tool as agents have it. One whose every name is taken is not offered."""
    found: list[tuple[ToolRow, Offer]] = []
    own, others = prefix_of(spec), map(prefix_of, everyone)
    foreign = tuple(other for other in others if other != own and other.startswith(own))
    for offer in offers:
        name = called(spec, offer.name, names, foreign)
        agreed = standing.agreed(spec, offer)
        row = ToolRow(
            name=offer.name,
            tool=name,
            effect=agreed.effect,
            description=described(spec, agreed),
            offered=name not in names and standing.wanted(spec, offer, name),
        )
        names.add(name)
        found.append((row, offer))
    return found


@asynccontextmanager
async def open_servers(household: Household) -> AsyncGenerator[Servers]:
    """All servers for as long as this lasts; every conversation is ended at its end."""
    async with anyio.create_task_group() as group:
        try:
            yield Servers(household, group)
        finally:
            group.cancel_scope.cancel()
