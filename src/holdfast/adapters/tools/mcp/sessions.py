"""Servers at work: one conversation for each task that wants one, up when first used.

A conversation begins with a look at what the server offers. One that is not what a person agreed
to is not talked with any further.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup

from holdfast.adapters.tools.beneath import Denied
from holdfast.core.error import HoldfastError
from holdfast.core.ids import TaskId
from holdfast.core.mcp import ServerSpec
from holdfast.ports.tools import Job

from .following import followed
from .greeting import Greeting
from .login.use import InUse
from .offers import Offer, offered
from .opening import Openings, World
from .talk import Peer
from .trouble import UNFORESEEN, Trouble

_log = logging.getLogger("holdfast.mcp")
_PAUSE, _LONGEST_PAUSE = 0.5, 10.0
_STEADY = 60.0

Check = Callable[[ServerSpec, tuple[Offer, ...]], Awaitable[str]]
"""Compares what a server offers with what was agreed to; why it may not be used, or empty."""


class Session:
    """A conversation with one server: on its way up, up, or over."""

    def __init__(self, spec: ServerSpec) -> None:
        self.spec = spec
        self.peer: Peer | None = None
        self.trouble: Denied | None = None
        self.up, self.over = anyio.Event(), anyio.Event()
        self.touched = anyio.Event()
        self.users = 0
        self.closing = False
        self.scope = anyio.CancelScope()

    @property
    def usable(self) -> bool:
        """False once it is over, or about to be."""
        ended = self.peer is not None and bool(self.peer.over)
        return not (self.closing or ended or self.trouble)

    def touch(self) -> None:
        touched, self.touched = self.touched, anyio.Event()
        touched.set()


class Sessions:
    """All conversations. Each lives in `group`, and none outlives it."""

    def __init__(self, world: World, check: Check, logins: InUse, group: TaskGroup) -> None:
        self._openings = Openings(world, logins)
        self._most, self._check, self._group = world.most, check, group
        self._sessions: dict[tuple[str, str], Session] = {}
        self._falls: dict[str, tuple[int, float]] = {}

    def running(self, name: str) -> int:
        return sum(name == of for of, _ in self._sessions)

    @asynccontextmanager
    async def use(self, spec: ServerSpec, job: Job) -> AsyncGenerator[Peer]:
        """The task's conversation with a server; several calls may have it at once.

        Raises `Denied` while nothing was asked of the server yet.
        """
        session = await self._session(spec, job)
        session.users += 1
        try:
            await session.up.wait()
            if session.trouble is not None:
                raise Denied(session.trouble.code, str(session.trouble))
            if session.peer is None or not session.usable:
                raise Denied("mcp_gone", f"the server {spec.name} has ended; try once more")
            yield session.peer
        finally:
            session.users -= 1
            session.touch()

    @asynccontextmanager
    async def look(self, spec: ServerSpec, job: Job) -> AsyncGenerator[tuple[Peer, Greeting]]:
        """A conversation of its own, for seeing what a server is. Raises `Trouble`, `Denied`."""
        async with self._openings.begun(spec, job) as begun:
            yield begun

    async def release(self, task: TaskId) -> None:
        """The task needs no server any more. May be called for any task."""
        for (_, owner), session in list(self._sessions.items()):
            if owner == task:
                await self._close(session)

    async def close(self, name: str) -> None:
        """End every conversation with a server."""
        for (of, _), session in list(self._sessions.items()):
            if of == name:
                await self._close(session)

    async def _session(self, spec: ServerSpec, job: Job) -> Session:
        key = (spec.name, "" if spec.shared else job.task)
        while True:
            session = self._sessions.get(key)
            if session is not None and session.usable and session.spec == spec:
                return session
            if session is not None:
                await self._close(session)
                continue
            if await self._paused(spec):
                continue  # somebody else may have begun meanwhile
            break
        if len(self._sessions) >= self._most:
            text = f"no more than {self._most} servers may be at work at once; try later"
            raise Denied("too_many_servers", text)
        session = self._sessions[key] = Session(spec)
        self._group.start_soon(self._host, key, session, job)
        return session

    async def _paused(self, spec: ServerSpec) -> bool:
        """Wait a while after falls, longer after more of them; False if there was no need."""
        falls, since = self._falls.get(spec.name, (0, 0.0))
        pause = min(_LONGEST_PAUSE, _PAUSE * 2 ** (falls - 1)) if falls else 0.0
        rest = since + pause - anyio.current_time()
        if rest <= 0:
            return False
        await anyio.sleep(rest)
        return True

    def _fell(self, name: str) -> None:
        falls, since = self._falls.get(name, (0, 0.0))
        now = anyio.current_time()
        self._falls[name] = (falls + 1 if now - since < _STEADY else 1, now)

    async def _close(self, session: Session) -> None:
        session.closing = True
        session.scope.cancel()
        await session.over.wait()

    async def _host(self, key: tuple[str, str], session: Session, job: Job) -> None:
        """The life of one conversation, from its box to the end of it."""
        try:
            with session.scope:
                await self._live(session, job)
        except* (HoldfastError, Trouble, Denied, OSError) as failed:
            session.trouble = session.trouble or told(session.spec.name, failed)
        except* UNFORESEEN as failed:
            _log.error("talking with %s failed", session.spec.name, exc_info=failed)
            what = "something went wrong here; the daemon's log says what"
            known = Denied("mcp_failed", f"the server {session.spec.name}: {what}")
            session.trouble = session.trouble or known
        finally:
            if session.trouble is not None or not session.closing:
                self._fell(session.spec.name)
            self._sessions.pop(key, None)
            session.up.set()
            session.over.set()

    async def _live(self, session: Session, job: Job) -> None:
        spec = session.spec
        async with (
            self._openings.begun(spec, job) as (peer, greeting),
            anyio.create_task_group() as group,
        ):
            await self._checked(spec, peer, greeting)
            session.peer = peer
            session.up.set()
            group.start_soon(self._wake, session, peer)
            group.start_soon(self._keep_up, session, peer, greeting)
            group.start_soon(followed, peer, greeting)
            await self._until_done(session, peer)
            group.cancel_scope.cancel()

    async def _checked(self, spec: ServerSpec, peer: Peer, greeting: Greeting) -> None:
        """Raises `Denied` for a server that is not what was agreed to."""
        offers = await offered(peer, spec.start_seconds) if greeting.has_tools else ()
        if why := await self._check(spec, offers):
            raise Denied("mcp_quarantined", why)

    async def _keep_up(self, session: Session, peer: Peer, greeting: Greeting) -> None:
        """Look again whenever it says that its tools are others now, once a second at most."""
        while True:
            await peer.news.changed.wait()
            peer.news.changed = anyio.Event()
            try:
                await self._checked(session.spec, peer, greeting)
            except (Denied, Trouble) as why:
                code = why.code
                session.trouble = Denied(code, f"the server {session.spec.name}: {why}")
                session.touch()
                return
            await anyio.sleep(1)

    async def _wake(self, session: Session, peer: Peer) -> None:
        await peer.ended.wait()
        session.touch()

    async def _until_done(self, session: Session, peer: Peer) -> None:
        """Returns when it is to be closed, has ended by itself, or was idle for long."""
        while session.usable and not peer.over:
            touched = session.touched
            with anyio.move_on_after(session.spec.idle_seconds) as idle:
                await touched.wait()
            if idle.cancelled_caught and not session.users:
                session.closing = True


def told(name: str, failed: BaseExceptionGroup[BaseException]) -> Denied:
    """Why a server cannot be talked with, as a sentence with a stable code."""
    error: BaseException = failed
    while inside := getattr(error, "exceptions", ()):
        error = inside[0]
    hint = error.hint if isinstance(error, HoldfastError) else ""
    code = error.code if isinstance(error, HoldfastError | Trouble | Denied) else "mcp_failed"
    return Denied(code, f"the server {name}: {error}. {hint}".strip(" ."))
