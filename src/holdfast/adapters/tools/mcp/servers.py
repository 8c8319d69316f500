"""All servers of a house: which there are, what may be used of them, what a person agreed to."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
from anyio.abc import TaskGroup
from msgspec import Struct
from msgspec.structs import replace

from holdfast.adapters.tools.beneath import Denied
from holdfast.adapters.tools.output import Spool
from holdfast.core.error import HoldfastError, Invalid, NotFound, Refused, Unavailable
from holdfast.core.gate.servers import problems
from holdfast.core.ids import CallId, TaskId, digest
from holdfast.core.mcp import ServerSpec
from holdfast.core.reach import Reach
from holdfast.ports.blobs import Blobs
from holdfast.ports.clock import Clock
from holdfast.ports.mcp import Inspection, ServerQuestion, ServerRemark, ServerState
from holdfast.ports.mcp import ServerTool as ToolRow
from holdfast.ports.tools import Job, Tool
from holdfast.ports.vault import Vault

from . import library, lock, standing
from .greeting import Greeting
from .keeping import Keeping
from .lock import Entry, Quarantine
from .login.logins import Logins
from .login.tools import login_tools
from .login.use import Means as LoginMeans
from .offering import Offering, rows
from .offers import Offer, digest_of, offered
from .opening import World
from .sessions import Sessions, told
from .talk import Peer
from .tool import Means, Told
from .trouble import Trouble

_log = logging.getLogger("holdfast.mcp")

T = TypeVar("T")
Configured = Callable[[], Sequence[ServerSpec]]
"""The servers of the configuration that is in force now."""


class Household(Struct, frozen=True, kw_only=True):
    """What servers and their tools get from the house.

    `taken` are names of tools that no server gets; `agent` is for whom one is looked at; `reveal`
    gives a secret of a login that the configuration names, for a server. `changed` is called when
    what they offer, or how they stand, has changed.
    """

    home: Path
    world: World
    blobs: Blobs
    spool: Spool
    clock: Clock
    progress: Told
    configured: Configured
    vault: Vault
    reveal: Callable[[str, str], Awaitable[str]]
    taken: frozenset[str]
    agent: str
    changed: Callable[[], None]


class _Seen(Struct, frozen=True, kw_only=True):
    """What a look at a server showed."""

    spec: ServerSpec
    offers: tuple[Offer, ...]
    digest: str
    resources: bool
    updates: bool


def _seen(spec: ServerSpec, greeting: Greeting, offers: tuple[Offer, ...]) -> _Seen:
    return _Seen(
        spec=spec,
        offers=offers,
        digest=digest([lock.place(spec), digest_of(offers)]),
        resources=greeting.has_resources,
        updates=greeting.updates,
    )


class Servers:
    """Implements `ports.ToolServers`; `usable` and `get` are the tools that may be used."""

    def __init__(self, household: Household, group: TaskGroup) -> None:
        self._house = household
        self._kept = Keeping(household.home, household.changed)
        self.logins = Logins(_for_logins(household, self._spec, self._everyone))
        self.bearer = self.logins.used.bearer
        self._sessions = Sessions(household.world, self._check, self.logins.used, group)
        self._means = Means(
            sessions=self._sessions, blobs=household.blobs, progress=household.progress
        )
        self._seen: dict[str, _Seen] = {}
        self._absent: dict[str, frozenset[str]] = {}
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
        parts = (configured, self._kept.books, self.logins.used.version, *self._absent.items())
        if self._built != parts:
            self._built, self._tools = parts, self._made(configured)
        return self._tools

    def _made(self, configured: Sequence[ServerSpec]) -> Mapping[str, Tool]:
        specs = standing.specs(configured, self._kept.books).values()
        trusted = [(one, standing.trusted(one, self._kept.books)) for one in specs]
        waiting = [one for one in specs if self.logins.used.wanted(one)]
        offering = Offering(
            means=self._means,
            spool=self._house.spool,
            absent=self._absent,
            taken=self._house.taken,
            everyone=tuple(specs),
        )
        tools = offering.tools([(spec, entry) for spec, entry in trusted if entry])
        return {**{one.spec.name: one for one in login_tools(self.logins, waiting)}, **tools}

    # What people ask.

    def all(self) -> Sequence[ServerState]:
        states = standing.states(self._house.configured(), self._kept.books)
        return [replace(one, running=self._sessions.running(one.name)) for one in states]

    def tools(self, name: str) -> Sequence[ToolRow]:
        spec = self._spec(name)
        entry = self._kept.books.lock.servers.get(name)
        return _shown(self._rows(spec, entry.offers if entry else ()), self._absent.get(name, ()))

    async def inspect(self, name: str) -> Inspection:
        spec, began = self._spec(name), time.monotonic()

        async def look(peer: Peer, greeting: Greeting) -> tuple[Greeting, tuple[Offer, ...]]:
            looked = await offered(peer, spec.start_seconds) if greeting.has_tools else ()
            return greeting, looked

        greeting, offers = await self._looked(spec, look)
        await self._check(spec, offers)
        seen = _seen(spec, greeting, offers)
        self._seen[name] = seen
        entry = self._kept.books.lock.servers.get(name)
        return Inspection(
            name=name,
            title=greeting.title,
            version=greeting.version,
            protocol=greeting.protocol,
            milliseconds=round((time.monotonic() - began) * 1000),
            tools=tuple(row for row, _ in self._rows(spec, offers)),
            digest=seen.digest,
            trusted=standing.trusted(spec, self._kept.books) is not None,
            changes=lock.changes(entry.offers, offers) if entry else (),
        )

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
            resources=seen.resources,
            updates=seen.updates,
        )
        await self._kept.enter(name, entry)
        await self._sessions.close(name)
        self._absent.pop(name, None)
        return self._state(name)

    async def add(self, spec: ServerSpec) -> ServerState:
        if wrong := list(problems(spec)):
            raise Invalid("; ".join(wrong), code="bad_server")
        if spec.name in standing.specs(self._house.configured(), self._kept.books):
            hint = f"holdfast mcp remove {spec.name}"
            raise Refused(f"there is a server {spec.name} already", code="mcp_exists", hint=hint)
        await self._kept.save({**self._kept.books.added, spec.name: spec})
        return self._state(spec.name)

    async def remove(self, name: str) -> None:
        self._spec(name)
        if any(spec.name == name for spec in self._house.configured()):
            hint = f"take [mcp.servers.{name}] out of it"
            what = f"the server {name} is in the configuration"
            raise Refused(what, code="mcp_configured", hint=hint)
        await self._kept.save(
            {key: spec for key, spec in self._kept.books.added.items() if key != name}
        )
        await self._kept.enter(name, None)
        self._seen.pop(name, None)
        self._absent.pop(name, None)
        await self._sessions.close(name)
        self._house.world.heard.forget(name)

    async def _looked(self, spec: ServerSpec, look: Callable[[Peer, Greeting], Awaitable[T]]) -> T:
        """What a conversation of its own shows. Raises `Unavailable`."""
        name, house = spec.name, self._house
        task = TaskId(house.clock.new_id("look"))
        workspace = house.home / "mcp" / name
        job = Job(
            task=task, call=CallId(name), workspace=workspace, agent=house.agent, unattended=True
        )
        found, failed = list[T](), list[Denied]()
        try:
            async with self._sessions.look(spec, job) as (peer, greeting):
                found.append(await look(peer, greeting))
        except* (HoldfastError, Trouble, Denied, OSError) as failures:
            failed.append(told(name, failures))
        if not found:
            login = failed[0].code == "mcp_login_needed"
            hint = f"holdfast mcp login {name}" if login else "holdfast serve logs"
            raise Unavailable(str(failed[0]), code=failed[0].code, hint=hint)
        return found[0]

    async def ask(self, name: str, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        spec = self._spec(name)

        async def look(peer: Peer, _: Greeting) -> dict[str, Any]:
            return await library.asked(peer, method, params, spec.seconds)

        return await self._looked(spec, look)

    def remarks(self, name: str) -> Sequence[ServerRemark]:
        return self._house.world.heard.of(self._spec(name).name)

    def questions(self) -> Sequence[ServerQuestion]:
        return self._house.world.questions.all()

    def answer(self, question: str, content: Mapping[str, Any] | None) -> ServerQuestion:
        asked = self._house.world.questions
        return asked.answer(question, accept=content is not None, content=content or {})

    def _rows(self, spec: ServerSpec, offers: Sequence[Offer]) -> list[tuple[ToolRow, Offer]]:
        return rows(spec, offers, set(self._house.taken), self._everyone())

    # What a server says of itself, held against what was agreed to.

    async def _check(self, spec: ServerSpec, offers: tuple[Offer, ...]) -> str:
        """Why it may not be used; empty if it may."""
        entry = standing.trusted(spec, self._kept.books)
        if entry is None:
            return f"a person must agree to what it offers first: holdfast mcp trust {spec.name}"
        if lock.drifted(entry.offers, offers):
            changes = lock.changes(entry.offers, offers)
            out = Quarantine(since=self._house.clock.now(), changes=changes)
            await self._kept.enter(spec.name, replace(entry, quarantine=out))
            _log.warning("the server %s is quarantined: %s", spec.name, "; ".join(changes)[:2_000])
            return f"it is not what was agreed to any more: holdfast mcp trust {spec.name}"
        if (absent := _missing(entry.offers, offers)) != self._absent.get(spec.name, frozenset()):
            self._absent = {**self._absent, spec.name: absent}
            self._house.changed()
        return ""

    def _everyone(self) -> Sequence[ServerSpec]:
        return tuple(standing.specs(self._house.configured(), self._kept.books).values())

    def _spec(self, name: str) -> ServerSpec:
        found = standing.specs(self._house.configured(), self._kept.books).get(name)
        if found is None:
            hint = "holdfast mcp list"
            raise NotFound(f"there is no server {name}", code="mcp_server_not_found", hint=hint)
        return found

    def _state(self, name: str) -> ServerState:
        return next(one for one in self.all() if one.name == name)


def _missing(agreed: Sequence[Offer], now: Sequence[Offer]) -> frozenset[str]:
    return frozenset({old.name for old in agreed} - {one.name for one in now})


def _shown(found: Sequence[tuple[ToolRow, Offer]], absent: Collection[str]) -> list[ToolRow]:
    """What is not there just now is not offered."""
    return [replace(row, offered=row.offered and row.name not in absent) for row, _ in found]


class Offered:
    """Implements `ports.Tools` over the servers."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    def get(self, name: str) -> Tool | None:
        return self._servers.get(name)

    def all(self) -> Sequence[Tool]:
        return self._servers.usable()


def _for_logins(
    house: Household,
    find: Callable[[str], ServerSpec],
    everyone: Callable[[], Sequence[ServerSpec]],
) -> LoginMeans:
    """What logins get from the house: a way out of their own for each conversation."""

    def reach(name: str) -> Reach:
        task = TaskId(house.clock.new_id("look"))
        workspace = house.home / "mcp" / name
        job = Job(task=task, call=CallId(name), workspace=workspace, agent=house.agent)
        return house.world.reach(job, f"mcp:{name}")

    return LoginMeans(
        vault=house.vault,
        egress=house.world.egress,
        clock=house.clock,
        reveal=house.reveal,
        reach=reach,
        find=find,
        all=everyone,
    )


@asynccontextmanager
async def open_servers(household: Household) -> AsyncGenerator[Servers]:
    """All servers for as long as this lasts; every conversation is ended at its end."""
    async with anyio.create_task_group() as group:
        try:
            yield Servers(household, group)
        finally:
            group.cancel_scope.cancel()
