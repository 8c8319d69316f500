"""Containers as boxes: the three kinds, and the making of one container.

A container is made by its engine, but commands are not brought in by it: that takes the engine some
150 ms and leaves behind what a killed command has started. We take the container's namespaces and
control groups by descriptor, and the porter carries commands in as it does for every box, each with
a process namespace of its own. gVisor's kernel has no door for a porter: see `sentry`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import shutil
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path

import anyio
from anyio import CancelScope, fail_after, to_thread
from msgspec.structs import replace

from holdfast.adapters.boxes.filters import programs
from holdfast.adapters.boxes.namespaced import NamespacedBox
from holdfast.adapters.boxes.porting import Porter
from holdfast.adapters.boxes.root import Inside, inside
from holdfast.adapters.boxes.walls import requiring, try_walls
from holdfast.core.error import HoldfastError, Unavailable
from holdfast.ports.box import Box, BoxSpec, Capabilities, Exit, Strength
from holdfast.ports.clock import Clock

from .box import Container, ContainerBox
from .engine import Engine
from .entering import group, spaces
from .health import EVERY
from .image import Image, ready
from .recipe import HOME_LABEL, WAITING, Plan, container_name, create
from .sentry import FIRST, THREADS, SentryBox, sandbox
from .stage import cleared, staged

_RESERVED, _AGENTS = 0x7100_0000, 0x0E00_0000
_READY_SECONDS, _REMOVE_SECONDS = 60.0, 60.0
_OURS = ["sh", "-c", "[ -O . ]"]
"""Does the workspace belong to the agent's user inside?"""
_log = logging.getLogger("holdfast.boxes")


def docker_boxes(
    home: Path, *, image: str = "", host: str = "", program: str = "docker"
) -> ContainerBoxes:
    """`host` is the daemon's socket, as `docker -H` takes it; it must be on this machine."""
    options = ("--host", host) if host else ()
    engine = Engine(name="docker", program=program, options=options)
    return ContainerBoxes("docker", engine, home, image=image)


def podman_boxes(
    home: Path,
    *,
    image: str = "",
    runtime: str = "",
    program: str = "podman",
    options: Sequence[str] = (),
    porter: Porter | None = None,
) -> ContainerBoxes:
    """`runtime` runs its containers: `crun` or `runc`; `options` are podman's global ones."""
    engine = Engine(name="podman", program=program, options=tuple(options), runtime=runtime)
    return ContainerBoxes("podman", engine, home, image=image, porter=porter)


def gvisor_boxes(
    home: Path,
    *,
    image: str = "",
    platform: str = "",
    program: str = "podman",
    options: Sequence[str] = (),
) -> ContainerBoxes:
    """Podman's containers over gVisor. `platform` is runsc's: `systrap`, `kvm` or `ptrace`."""
    flags = ("network=none", "oci-seccomp", *((f"platform={platform}",) if platform else ()))
    runtime = shutil.which("runsc") or "runsc"
    engine = Engine(
        name="podman",
        program=program,
        options=tuple(options),
        runtime=runtime,
        runtime_options=flags,
    )
    return ContainerBoxes("gvisor", engine, home, image=image)


class ContainerBoxes:
    """A `BoxKind`. `watch` looks after its boxes; containers of this home that a killed daemon left
    are removed before the first one is made and at the end."""

    def __init__(
        self,
        name: str,
        engine: Engine,
        home: Path,
        *,
        image: str = "",
        porter: Porter | None = None,
    ) -> None:
        self.name = name
        self._engine, self._home, self._wanted = engine, home.resolve(), image
        self._porter = porter or Porter()
        self._preparing = anyio.Lock()
        self._image: Image | None = None
        self._users: dict[str, int] = {}
        self._boxes: set[ContainerBox] = set()
        self._found: Capabilities | None = None

    async def create(self, spec: BoxSpec) -> ContainerBox:
        if spec.requires:
            requiring(spec.requires, await self.probe())
        if os.geteuid() != 0 and (self._engine.name == "docker" or self.name == "gvisor"):
            hint = "run Holdfast as root, or choose `podman`, which needs no root"
            raise Unavailable(f"{self.name} boxes of an ordinary user could not write", hint=hint)
        view = await to_thread.run_sync(partial(inside, spec, lend=True))
        image = await self._prepared()
        view = replace(view, user=self._user(spec.agent), covered=("/sys",))
        make = partial(self._made, spec, view, image)
        box = ContainerBox(spec, await make(), make, self._remove)
        self._boxes.add(box)
        box.when_gone(self._boxes.discard)
        return box

    async def probe(self) -> Capabilities:
        if self._found is None:
            kernel: Strength = "enforced" if self.name == "gvisor" else "none"
            self._found = await try_walls(self, kernel=kernel, at_once=1)
        return self._found

    async def close(self) -> None:
        with CancelScope(shield=True):
            for box in tuple(self._boxes):
                await box.destroy()
            if self._image is not None:
                with suppress(Unavailable):  # the next daemon of this home clears too
                    await self.clear()
            await self._porter.close()

    async def clear(self) -> int:
        """Remove every container of this home that is not in use here; returns how many."""
        ours = {box.name for box in self._boxes}
        chosen = ("--all", "--filter", f"label={HOME_LABEL}={self._home}")
        said = await self._engine.call("ps", *chosen, "--format", "{{.Names}}")
        stale = [name for name in said.decode().split() if name not in ours]
        if stale:
            words = ("rm", "--force", "--volumes", *stale)
            await self._engine.call(*words, seconds=_REMOVE_SECONDS)
        for place in self._stages().glob("*"):
            if place.name not in ours:
                await to_thread.run_sync(cleared, place)
        return len(stale)

    async def watch(self, clock: Clock) -> None:
        """Get ready, then check every box every 30 s, until cancelled."""
        try:
            await self._prepared()
        except HoldfastError as error:
            _log.warning("no containers yet: %s %s", error, error.hint)
        while True:
            await clock.wait(anyio.Event(), clock.now() + EVERY)
            async with anyio.create_task_group() as group:
                for box in tuple(self._boxes):
                    group.start_soon(box.check, clock.now())

    async def _prepared(self) -> Image:
        async with self._preparing:
            if self._image is None:
                stale = await self.clear()
                if stale:
                    _log.info("removed %d containers that were left behind", stale)
                self._image = await ready(self._engine, self._wanted)
            return self._image

    async def _made(self, spec: BoxSpec, view: Inside, image: Image) -> Container:
        name = container_name(spec.agent, secrets.token_hex(4))
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self._discarded, name)
            with CancelScope(shield=True):
                try:
                    await self._run(name, spec, view, image)
                except OSError as error:
                    raise Unavailable(f"no container could be prepared: {error}") from error
            container = await self._entered(name, spec, view)
            undo.pop_all()
        return container

    async def _run(self, name: str, spec: BoxSpec, view: Inside, image: Image) -> None:
        as_root, gvisor = os.geteuid() == 0, self.name == "gvisor"
        lent = view.lent if as_root else ()
        place = self._stages() / name
        async with staged(place, self._porter, lent, view.user, served=gvisor) as stage:
            plan = Plan(
                name=name,
                home=self._home,
                image=image.name,
                host_system=image.host_system,
                spec=spec,
                view=view,
                stage=stage,
                shown=tuple(one.place for one in view.lent),
                staged=as_root,
                first=FIRST if gvisor else WAITING,
                threads=THREADS if gvisor else 0,
            )
            await self._engine.call(*create(self._engine, plan))

    async def _entered(self, name: str, spec: BoxSpec, view: Inside) -> Container:
        """Take hold of a container and see that a command can run in it."""
        try:
            with fail_after(_READY_SECONDS):
                process = await self._engine.process(name)
                return await self._tried(name, process, spec, view)
        except (Unavailable, OSError) as error:
            logs = await self._engine.logs(name)
            message = f"the container {name} did not get ready: {str(error) or 'it took too long'}"
            raise Unavailable(f"{message}\n{logs}".strip()) from error

    async def _tried(self, name: str, process: int, spec: BoxSpec, view: Inside) -> Container:
        async with AsyncExitStack() as undo:
            watched = os.pidfd_open(process)
            undo.callback(os.close, watched)
            box = await self._way_in(process, spec, view)
            undo.push_async_callback(box.destroy)
            _ready(await box.exec(_OURS, seconds=_READY_SECONDS))
            undo.pop_all()
        return Container(name=name, process=watched, inside=box)

    async def _way_in(self, process: int, spec: BoxSpec, view: Inside) -> Box:
        bounds = await to_thread.run_sync(group, process)
        if self.name == "gvisor":
            return SentryBox(await to_thread.run_sync(sandbox, process), spec, view, bounds)
        filters = await to_thread.run_sync(programs)
        there = await to_thread.run_sync(spaces, process)
        return NamespacedBox(self._porter, spec, view, there, bounds, filters)

    async def _discarded(self, name: str) -> None:
        with CancelScope(shield=True), suppress(Unavailable):
            await self._engine.call("rm", "--force", "--volumes", name, seconds=_REMOVE_SECONDS)

    async def _remove(self, container: Container) -> None:
        """What the engine cannot remove now is removed when the next daemon starts."""
        await container.inside.destroy()
        try:
            await self._engine.call("rm", "--force", "--volumes", container.name)
        except Unavailable as error:
            _log.warning("the container %s is left behind: %s", container.name, error)

    def _stages(self) -> Path:
        return self._home / "boxes"

    def _user(self, agent: str) -> int:
        """As root: a user that nothing else on this machine has, for this agent alone."""
        if os.geteuid() != 0:
            return os.geteuid()
        if agent not in self._users:
            seed = hashlib.sha256(f"{self._home}\0{agent}".encode()).digest()
            number, taken = int.from_bytes(seed[:8], "big"), set(self._users.values())
            while _RESERVED + number % _AGENTS in taken:
                number += 1
            self._users[agent] = _RESERVED + number % _AGENTS
        return self._users[agent]


def _ready(tried: Exit) -> None:
    if tried.code:
        words = tried.stderr.decode(errors="replace").strip()
        raise Unavailable(words or "the workspace is not the agent's inside")
