"""How a conversation with a server comes about: a command in a box, or requests by the way out."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import anyio
from msgspec import Struct
from msgspec.structs import replace

from holdfast.core.mcp import ServerSpec
from holdfast.core.reach import SECRET, Allowed, Reach
from holdfast.ports.box import Boxes, BoxSpec
from holdfast.ports.egress import Answer, Egress, Request
from holdfast.ports.tools import Job

from . import address
from .asked import Host, Requests, Sample
from .greeting import Greeting, Known, greeted
from .heard import Heard
from .lines import Lines
from .login.use import InUse
from .posting import Way
from .questions import Questions
from .streamable import Streamable
from .streamed import streamed
from .talk import Peer, Talk
from .trouble import TurnedAway

Opened = Callable[[ServerSpec, Job], AbstractAsyncContextManager[Peer]]
_ELSEWHERE = (400, 404, 405)
_log = logging.getLogger("holdfast.mcp")

Reveal = Callable[[str, Job, str], Awaitable[str]]
"""The value of a secret that a server's own process may see: its name, for whom, for which tool."""


class World(Struct, frozen=True, kw_only=True):
    """What servers get from the house: boxes as `box` says, and ways out as `reach` allows.

    What steers programs of the host is `kept` in a folder while a server works there. `most` may
    be at work at once: each has a box for long.
    """

    boxes: Boxes
    egress: Egress
    reach: Callable[[Job, str], Reach]
    reveal: Reveal
    box: Callable[[ServerSpec, Job], BoxSpec]
    kept: Callable[[Path], AbstractAsyncContextManager[Sequence[str]]]
    questions: Questions
    sample: Sample
    heard: Heard
    most: int = 16


class Openings:
    """Opens conversations, each with what it needs, and closes all of that again."""

    def __init__(self, world: World, logins: InUse) -> None:
        self._world, self._logins, self._known = world, logins, Known()
        self._old: dict[str, ServerSpec] = {}

    @asynccontextmanager
    async def begun(self, spec: ServerSpec, job: Job) -> AsyncGenerator[tuple[Peer, Greeting]]:
        """A conversation that has begun, for as long as this lasts. Raises `Trouble`, `Denied`.

        A server at an address that does not want to be asked there may be one of 2024, or one no
        more.
        """
        turned: TurnedAway | None = None
        for opened in self._ways(spec):
            async with opened(spec, job) as peer, anyio.create_task_group() as group:
                group.start_soon(peer.listen)
                try:
                    greeting = await greeted(peer, self._known)
                except TurnedAway as away:
                    if turned or away.status not in _ELSEWHERE or not spec.url:
                        raise turned or away from None
                    turned = away
                else:
                    if opened == self._streamed:
                        self._old[spec.name] = spec
                    else:
                        self._old.pop(spec.name, None)
                    yield peer, greeting
                    group.cancel_scope.cancel()
                    return
                group.cancel_scope.cancel()
        raise turned or TurnedAway("it answers nothing", 0)

    def _ways(self, spec: ServerSpec) -> Sequence[Opened]:
        if not spec.url:
            return (self._started,)
        ways = (self._called, self._streamed)
        return ways[::-1] if self._old.get(spec.name) == spec else ways

    @asynccontextmanager
    async def _called(self, spec: ServerSpec, job: Job) -> AsyncGenerator[Peer]:
        yield Streamable(self._way(spec, job), Requests(self._host_of(spec, job)))

    @asynccontextmanager
    async def _streamed(self, spec: ServerSpec, job: Job) -> AsyncGenerator[Peer]:
        self._known.remember(spec, handshake=True)
        async with streamed(self._way(spec, job)) as lines:
            yield Talk(lines, Requests(self._host_of(spec, job)))

    def _way(self, spec: ServerSpec, job: Job) -> Way:
        usual, logins = self._world.reach(job, f"mcp:{spec.name}"), self._logins

        async def fetch(request: Request) -> Answer:
            reach = reach_of(spec, usual, logins.header(spec))
            return await self._world.egress.fetch(request, reach)

        async def refused(answer: Answer) -> bool:
            return await logins.refused(spec, answer, usual)

        return Way(url=spec.url, fetch=fetch, refused=refused)

    @asynccontextmanager
    async def _started(self, spec: ServerSpec, job: Job) -> AsyncGenerator[Peer]:
        owner = f"{job.task} mcp {spec.name}"
        variables = await _environment(self._world, spec, job)
        box_spec = self._world.box(spec, job)
        await anyio.Path(box_spec.workspace).mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            async with (
                self._kept(spec, box_spec.workspace),
                self._world.boxes.lend(owner, box_spec) as box,
                box.start(spec.command, environment=variables) as running,
            ):
                host = self._host_of(spec, job, box_spec.workspace)
                yield Talk(Lines(running), Requests(host))
        finally:
            with anyio.CancelScope(shield=True):
                await self._world.boxes.release(owner)

    def _host_of(self, spec: ServerSpec, job: Job, root: Path | None = None) -> Host:
        world = self._world
        return Host(
            spec=spec,
            job=job,
            questions=world.questions,
            sample=world.sample,
            heard=world.heard,
            root=root,
        )

    @asynccontextmanager
    async def _kept(self, spec: ServerSpec, workspace: Path) -> AsyncGenerator[None]:
        """What would run on the host is put back once no process of the server is left."""
        restored: Sequence[str] = ()
        try:
            async with self._world.kept(workspace) as restored:
                yield
        finally:
            if restored:
                _log.warning("put back after %s: %s", spec.name, ", ".join(restored)[:2_000])


async def _environment(world: World, spec: ServerSpec, job: Job) -> Mapping[str, str]:
    """Its variables; a secret is in them only where the owner of the house says `reveal`."""
    values: dict[str, str] = {}
    for name in spec.reveal:
        values[name] = await world.reveal(name, job, f"mcp:{spec.name}")
    return {
        key: SECRET.sub(lambda found: values.get(found[1], found[0]), text)
        for key, text in spec.environment.items()
    }


def reach_of(spec: ServerSpec, usual: Reach, more: Mapping[str, str]) -> Reach:
    """The one place that a server's address leads to, and nothing else."""
    host, port = address.place(spec)
    own = Allowed(host=host, port=port, headers={**spec.headers, **more})
    near = (host,) if address.near(spec) else ()
    return replace(usual, allowed=(own,), web=False, private=near)
