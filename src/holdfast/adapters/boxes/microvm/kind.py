"""Boxes with a kernel of their own, made by QEMU."""

from __future__ import annotations

import logging
import os
import secrets
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import anyio
from anyio import CancelScope, to_thread

from holdfast.adapters.boxes.filters import programs
from holdfast.core.error import Invalid, Unavailable
from holdfast.ports.box import BoxSpec, Capabilities

from .asking import SYSTEM, workspace_of
from .box import Inside, MicroVMBox
from .channel import Channel
from .image import Image, prepare
from .machine import Machine, Plan, start
from .mirror import Mirror
from .probe import try_walls
from .said import told
from .snapshot import save, wake

_log = logging.getLogger(__name__)
_SEED = 64
_SECONDS = {"kvm": 15.0, "tcg": 90.0}
_TRIES = {"kvm": 1, "tcg": 2}
_FIRST_USER = 0x70000000
_VARIABLES: Mapping[str, str] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/run/home",
    "USER": "agent",
    "LOGNAME": "agent",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "TMPDIR": "/tmp",  # noqa: S108 - the box's own
}

Talk = tuple[Machine, Channel]


class MicroVMBoxes:
    """A `BoxKind`. With `tcg` a machine is emulated where the processor's help cannot be had:
    slow, and meant for tests. `user` says which user an agent's machines run as, when we are root.
    """

    def __init__(
        self,
        home: Path,
        *,
        kernel: Path | None = None,
        root: Path | None = None,
        tcg: bool = False,
        user: Callable[[str], int] | None = None,
    ) -> None:
        self._cache = home / "cache" / "microvm"
        self._kernel, self._root = kernel, root
        self._user = user or self._own_user
        self._users: dict[str, int] = {}
        self._accelerators = ["kvm", "tcg"] if tcg else ["kvm"]
        self._boxes: set[MicroVMBox] = set()
        self._capabilities: Capabilities | None = None

    @property
    def name(self) -> str:
        return "microvm"

    async def create(self, spec: BoxSpec) -> MicroVMBox:
        if spec.requires:
            found = await self.probe()
            missing = [wall for wall in spec.requires if found.walls.get(wall) != "enforced"]
            if missing:
                raise Unavailable(f"a microvm does not enforce here: {', '.join(missing)}")
        return await self._make(spec)

    async def probe(self) -> Capabilities:
        if self._capabilities is None:
            self._capabilities = await try_walls(self.name, self._make)
        return self._capabilities

    async def close(self) -> None:
        for box in list(self._boxes):
            await box.destroy()

    async def _make(self, spec: BoxSpec) -> MicroVMBox:
        if spec.browser:
            raise Invalid("a microvm box has no browser in it")
        async with AsyncExitStack() as undo:
            inside = await to_thread.run_sync(_inside, spec)
            undo.callback(inside.close)
            image = await to_thread.run_sync(prepare, self._cache, self._kernel, self._root)
            machine, channel = await self._booted(spec, inside, image)
            box = MicroVMBox(spec, inside, machine, channel, ended=lambda: self._boxes.discard(box))
            self._boxes.add(box)
            undo.push_async_callback(_shielded, box.destroy)
            await _furnish(channel, spec, inside)
            await box.bring_in()
            undo.pop_all()
        return box

    async def _booted(self, spec: BoxSpec, inside: Inside, image: Image) -> Talk:
        """A machine that has said it is ready. What does not boot once here is not tried again."""
        content, entries = await to_thread.run_sync(inside.workspace.measure)
        why = "there is no /dev/kvm"
        for accelerator in list(self._accelerators):
            plan = Plan(
                image=image,
                limits=spec.limits,
                accelerator=accelerator,
                user=self._user(spec.agent) if os.geteuid() == 0 else None,
                content=content,
                entries=entries,
            )
            for _ in range(_TRIES[accelerator]):
                try:
                    return await _boot(plan, self._cache)
                except Unavailable as error:
                    why = str(error)
            if accelerator == "kvm" and "tcg" in self._accelerators:
                self._accelerators = ["tcg"]
        raise Unavailable(
            f"no microvm could be started: {why}",
            hint="microvm boxes need a working /dev/kvm; `microvm.emulate` allows slow ones",
        )

    def _own_user(self, agent: str) -> int:
        return self._users.setdefault(agent, _FIRST_USER + len(self._users))


async def _boot(plan: Plan, cache: Path) -> Talk:
    """From the memory of one like it where there is that, else from nothing."""
    if await to_thread.run_sync(plan.snapshot.exists):
        try:
            return await _resumed(plan, cache)
        except Unavailable as error:
            _log.warning("a microvm does not start from its snapshot: %s", error)
            await to_thread.run_sync(partial(plan.snapshot.unlink, missing_ok=True))
    async with AsyncExitStack() as undo:
        machine = await _started(plan, cache, resume=False)
        undo.push_async_callback(_shielded, partial(_ended, machine))
        channel = Channel(machine.work)
        try:
            with anyio.fail_after(_SECONDS[plan.accelerator]):
                async with channel.open(0) as line:
                    await line.receive()
        except (TimeoutError, Unavailable):
            words = machine.last_words()
            raise Unavailable(f"with {plan.accelerator} it does not boot: {words}") from None
        try:
            await save(machine.control, plan.snapshot)
        except Unavailable as error:
            _log.warning("the next microvm will boot from nothing too: %s", error)
        undo.pop_all()
    machine.hush()
    return machine, channel


async def _resumed(plan: Plan, cache: Path) -> Talk:
    async with AsyncExitStack() as undo:
        machine = await _started(plan, cache, resume=True)
        undo.push_async_callback(_shielded, partial(_ended, machine))
        channel = Channel(machine.work)
        try:
            await wake(machine.control)
            with anyio.fail_after(_SECONDS["kvm"]):
                async with channel.line() as line:
                    await line.send("mark")
                    await line.answer()
        except (TimeoutError, Unavailable):
            raise Unavailable(machine.last_words()) from None
        undo.pop_all()
    machine.hush()
    return machine, channel


async def _started(plan: Plan, cache: Path, *, resume: bool) -> Machine:
    """Not to be cancelled: what was started must first be held to be killed."""
    with tempfile.TemporaryDirectory(dir=cache, prefix=".disk-") as folder:
        with CancelScope(shield=True):
            return await start(plan, Path(folder), resume=resume)
    raise AssertionError("nobody cancels this scope")


async def _shielded(end: Callable[[], Awaitable[None]]) -> None:
    with CancelScope(shield=True):
        await end()


async def _ended(machine: Machine) -> None:
    await machine.end()
    machine.ways.close()


async def _furnish(channel: Channel, spec: BoxSpec, inside: Inside) -> None:
    root, limits = inside.workspace.root, spec.limits
    alias = "" if spec.workspace == root or ".." in spec.workspace.parts else str(spec.workspace)
    async with channel.line() as line:
        await line.send(
            "box",
            workspace=told(str(root)),
            alias=told(alias),
            hidden=[told(name) for name in inside.workspace.hidden],
            read_only=[told(str(mirror.root)) for mirror in inside.read_only],
            memory=limits.memory,
            processes=limits.processes,
            cpus=limits.cpus,
            scratch=limits.scratch,
            time=time.time(),
            seed=secrets.token_hex(_SEED),
            filters=[each.hex() for each in await to_thread.run_sync(programs)],
        )
        await line.answer()


def _inside(spec: BoxSpec) -> Inside:
    """Raises `Invalid` when the spec asks for something that cannot be shown."""
    real = workspace_of(spec.workspace)
    variables = {**_VARIABLES, **spec.environment}
    hidden = [path.resolve() for path in spec.hidden]
    names = [
        path.relative_to(real).as_posix()
        for path in hidden
        if path != real and path.is_relative_to(real) and path.is_dir()
    ]
    return Inside(
        workspace=Mirror(real, names),
        read_only=tuple(_shown(path, real) for path in spec.read_only),
        environment=variables,
    )


def _shown(path: Path, workspace: Path) -> Mirror:
    if not path.is_absolute() or not path.exists():
        raise Invalid(f"the read-only path {path} does not exist or is not absolute")
    if path.resolve().is_relative_to(workspace) or path.is_relative_to(workspace):
        raise Invalid(f"the read-only path {path} is inside the workspace {workspace}")
    if any(path.is_relative_to(each) for each in SYSTEM):
        raise Invalid(f"a microvm has a system of its own: {path} of yours cannot be shown in it")
    return Mirror(path) if path.is_dir() else Mirror(path.parent, only=path.name)
