"""One kind of box on its ground, ready to be attacked; and what an attack from outside is."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import anyio
import msgspec
from msgspec import Struct

from holdfast.core.error import HoldfastError, Unavailable
from holdfast.ports.box import Box, BoxKind, BoxLimits, BoxSpec, Running
from holdfast.ports.egress import Egress, Pass

from .ground import Ground, forget_shared, open_ground, owned, seen
from .means import Means
from .world import REACH, World, open_world

LIMITS = BoxLimits(
    seconds=30.0,
    memory=128 << 20,
    processes=48,
    cpus=0.5,
    files=256,
    file_size=256 << 20,
    output=1 << 20,
    scratch=64 << 20,
    disk=64 << 20,
    inodes=2000,
)
"""Small, so that a missing wall harms nothing: every bomb stops by itself at twice of it."""
PYTHON = ("python3", "-I", "-S", "attacks.pyz")
_PATIENCE = 20.0
_PORT = 3128
_WAIT = "import sys; print(flush=True); sys.stdin.read()"


class Heard(Struct, frozen=True, kw_only=True):
    """What came back over one connection, why it broke off, and how long it took."""

    heard: bytes = b""
    why: str = ""
    seconds: float = 0.0


_HEARD = msgspec.json.Decoder(Heard)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """The box's way out: a proxy on `port` of its own loopback, over a world of ours.

    `authorization` is the header line by which the box shows that it may use it.
    """

    world: World
    egress: Egress
    port: int
    authorization: str
    talker: Running

    async def talk(self, steps: Sequence[Mapping[str, str]]) -> Heard:
        """One connection from inside the box to the proxy.

        Raises `ConnectionError` when nobody inside speaks any more: that is no proof of anything.
        """
        told = {"proxy": ("127.0.0.1", self.port), "steps": [_wire(each) for each in steps]}
        said = b""
        try:
            await self.talker.send(msgspec.json.encode(told) + b"\n")
            while not said.endswith(b"\n") and (piece := await self.talker.receive()):
                said += piece
        except Unavailable as error:
            raise ConnectionError(str(error)) from error
        if not said:
            raise ConnectionError(f"what speaks to the proxy has ended: {self.talker.complaint()}")
        return _HEARD.decode(said)


@dataclass(slots=True, kw_only=True)
class Field:
    """What attacks are given. `way` is None where there is none to attack, `no_way` says why.

    `no_python`: why what runs inside cannot run; empty when it can.
    `heard` is what the other agent's command has said.
    """

    kind: BoxKind
    box: Box
    ground: Ground
    means: Means
    heard: bytearray
    no_python: str = ""
    way: Way | None = None
    no_way: str = "there is no proxy to attack"

    async def works(self) -> bool:
        """Does anything run in its box? One whose memory an attack has used up is no wall."""
        try:
            return not await _without_python(self.box)
        except HoldfastError:
            return False

    async def renew(self) -> None:
        """Take another box, as an attack has ended this one. Raises `Unavailable`."""
        await self.end()
        self.box = await self.kind.create(spec_of(self.ground, "escape", self.ground.workspace))
        await self.box.put("attacks.pyz", self.ground.archive)
        if why := await _without_python(self.box):
            raise Unavailable(why)

    async def end(self) -> None:
        with anyio.CancelScope(shield=True), anyio.move_on_after(_PATIENCE):
            await self.box.destroy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """An attack that is made from outside, with the box or the tools as a means."""

    name: str
    tries: str
    wall: str
    run: Callable[[Field], Awaitable[str]]


def trial(wall: str) -> Callable[[Callable[[Field], Awaitable[str]]], Trial]:
    """Make one of a function that says in words what it won, or raises."""

    def of(run: Callable[[Field], Awaitable[str]]) -> Trial:
        tries = (run.__doc__ or "").strip().rstrip(".")
        return Trial(name=run.__name__, tries=tries, wall=wall, run=run)

    return of


def spec_of(ground: Ground, agent: str, workspace: Path) -> BoxSpec:
    return BoxSpec(workspace=workspace, agent=agent, read_only=(ground.tools,), limits=LIMITS)


@asynccontextmanager
async def open_field(kind: BoxKind, means: Means, *, own_network: bool) -> AsyncGenerator[Field]:
    """Make the ground, two boxes of different agents, and give the decoys to their user."""
    async with AsyncExitStack() as stack:
        ground = await stack.enter_async_context(open_ground(own_network=own_network))
        box = await kind.create(spec_of(ground, "escape", ground.workspace))
        field = Field(kind=kind, box=box, ground=ground, means=means, heard=bytearray())
        stack.push_async_callback(field.end)
        await box.put("attacks.pyz", ground.archive)
        field.no_python = await _without_python(box)
        if not field.no_python:
            stack.enter_context(owned(ground, await _user_of(box, ground)))
            await stack.enter_async_context(_neighbour(kind, ground, field.heard))
        yield field


@asynccontextmanager
async def way_out(field: Field) -> AsyncGenerator[None]:
    """Meanwhile its box has a way out, or the field says why there is none.

    Whoever speaks to the proxy starts here: an earlier attack on memory may end whatever runs.
    """
    if field.means.gate is None or field.no_python:
        field.no_way = field.no_python or field.no_way
        yield
        return
    try:
        if not await field.works():
            await field.renew()
        listener = await field.box.listen(_PORT)
    except Unavailable as error:
        field.no_way = f"no way out of this kind of box: {error}"
        yield
        return
    async with open_world() as world:
        egress = field.means.gate(world)
        with listener:
            async with (
                egress.serve(listener, REACH, port=_PORT) as given,
                field.box.start([*PYTHON, "converse"]) as talker,
            ):
                way = Way(
                    world=world,
                    egress=egress,
                    port=_PORT,
                    authorization=_authorization(given),
                    talker=talker,
                )
                heard = await way.talk(_allowed(way.authorization))
                works = heard.heard.startswith(b"HTTP/1.1 200")
                field.way = way if works else None
                field.no_way = "the way out lets through nothing at all"
                yield
                field.way = None


def _allowed(authorization: str) -> Sequence[Mapping[str, str]]:
    """What must work, or that the rest is refused proves nothing."""
    lines = ("GET http://allowed.example/open/ HTTP/1.1", "Host: allowed.example", authorization)
    return ({"say": "\r\n".join((*lines, "", ""))}, {"hear": "20"})


def _wire(step: Mapping[str, str]) -> Mapping[str, str]:
    if "say" not in step:
        return step
    return {"say": base64.b64encode(step["say"].encode("utf-8", "surrogateescape")).decode()}


def _authorization(given: Pass) -> str:
    url = given.environment.get("HTTP_PROXY") or given.environment.get("http_proxy") or ""
    told = urlsplit(url)
    if not told.username:
        return "X-Nothing: here"
    words = f"{unquote(told.username)}:{unquote(told.password or '')}"
    return f"Proxy-Authorization: Basic {base64.b64encode(words.encode()).decode()}"


@asynccontextmanager
async def _made(kind: BoxKind, spec: BoxSpec) -> AsyncGenerator[Box]:
    box = await kind.create(spec)
    try:
        yield box
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(_PATIENCE):
            await box.destroy()


async def _without_python(box: Box) -> str:
    out = await box.exec(["python3", "-I", "-S", "-c", "pass"])
    if out.code == 0:
        return ""
    why = out.stderr.decode(errors="replace").strip() or out.stopped
    return f"python3 does not run in this box: {why or f'exit code {out.code}'}"


async def _user_of(box: Box, ground: Ground) -> int:
    """Whose processes are in the box, as the host sees it.

    Where none is in sight, as in another machine, it is whoever owns what was put there.
    """
    mark = f"{ground.canary}-whose"
    async with box.start(["python3", "-I", "-S", "-c", _WAIT, mark]) as running:
        found = await seen(mark) if await running.receive() else None
    return found[1] if found else (ground.workspace / "attacks.pyz").stat().st_uid


@asynccontextmanager
async def _neighbour(kind: BoxKind, ground: Ground, heard: bytearray) -> AsyncGenerator[None]:
    """Another agent at work in its own box; what it says is kept in `heard`."""
    scratch, shm = f"/tmp/{ground.canary}-scratch", f"/dev/shm/{ground.canary}-scratch"
    abstract, workspace = f"{ground.canary}-other", ground.base / "neighbour"
    words = (ground.canary, scratch, shm, str(ground.neighbour_key), abstract)
    async with AsyncExitStack() as stack:
        stack.callback(forget_shared, ground.neighbour_key, shm, scratch)
        box = await stack.enter_async_context(_made(kind, spec_of(ground, "neighbour", workspace)))
        group = await stack.enter_async_context(anyio.create_task_group())
        await box.put("attacks.pyz", ground.archive)
        async with box.start([*PYTHON, "neighbour", *words]) as running:
            ready = anyio.Event()
            group.start_soon(_hear, running, heard, ready)
            with anyio.move_on_after(_PATIENCE):
                await ready.wait()
            found = await seen(scratch) if b"ready" in heard else None
            ground.neighbour = {
                "mark": scratch,
                "pid": str(found[0]) if found else "0",
                "scratch": scratch,
                "shm": shm,
                "sysv": str(ground.neighbour_key),
                "abstract": abstract,
                "socket": f"{scratch}.sock",
                "workspace": str(workspace),
            }
            yield
            group.cancel_scope.cancel()


async def _hear(running: Running, heard: bytearray, ready: anyio.Event) -> None:
    while piece := await running.receive():
        heard += piece
        if b"ready" in heard:
            ready.set()
    ready.set()
