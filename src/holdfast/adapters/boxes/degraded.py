"""Boxes without namespaces, for hosts that allow none: Landlock and system call filters alone.

Weaker, and said so everywhere: commands see that other processes exist, share the kernel's names
and the disk with them, and have no control group. In return they have no network at all, cannot
connect to any socket, and can open nothing but the system's programs and their workspace. Never
chosen by itself: somebody must write `box.kind = "degraded"`.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anyio import CancelScope, to_thread

from holdfast.core.error import Unavailable
from holdfast.ports.box import BoxSpec, BoxStats, Capabilities

from .files import remove_tree
from .filters import programs
from .namespaced import NamespacedBox, Spaces
from .porting import Porter
from .root import Inside, environment, inside
from .walls import requiring, try_walls

_READS = (
    "/usr",
    "/bin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/sbin",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/ssl/certs",
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_SOFT = ("memory", "cpu", "pids", "ipc", "processes")


class DegradedBoxes:
    """A `BoxKind`."""

    name = "degraded"

    def __init__(self, porter: Porter | None = None) -> None:
        self._porter = porter or Porter()
        self._boxes: set[NamespacedBox] = set()
        self._found: Capabilities | None = None

    async def create(self, spec: BoxSpec) -> DegradedBox:
        if os.geteuid() == 0:
            hint = "run Holdfast as an ordinary user, or choose another `box.kind`"
            raise Unavailable("degraded boxes are never made as root", hint=hint)
        if spec.browser:
            raise Unavailable("a browser needs a box with namespaces")
        if spec.requires:
            requiring(spec.requires, await self.probe())
        view = await to_thread.run_sync(lambda: inside(spec, lend=False))
        if view.hidden:
            hint = "choose another workspace, or another `box.kind`"
            raise Unavailable(f"degraded boxes cannot hide {view.hidden[0]}", hint=hint)
        filters = await to_thread.run_sync(lambda: programs(alone=True, uncounted=True))
        scratch = Path(await to_thread.run_sync(tempfile.mkdtemp))
        box = DegradedBox(self._porter, spec, view, scratch, filters)
        self._boxes.add(box)
        box.when_gone(self._boxes.discard)
        return box

    async def probe(self) -> Capabilities:
        if self._found is None:
            self._found = await try_walls(self, soft=_SOFT)
        return self._found

    async def close(self) -> None:
        for box in tuple(self._boxes):
            await box.destroy()
        await self._porter.close()


class DegradedBox(NamespacedBox):
    """A `Box`: a scratch folder and what its commands are allowed to open."""

    def __init__(
        self,
        porter: Porter,
        spec: BoxSpec,
        view: Inside,
        scratch: Path,
        filters: Sequence[bytes],
    ) -> None:
        super().__init__(porter, spec, view, _NO_SPACES, None, filters)
        self._scratch = scratch

    do = "alone"
    ending = signal.SIGTERM

    def variables(self, extra: Mapping[str, str]) -> dict[str, str]:
        place = {"HOME": str(self._scratch), "TMPDIR": str(self._scratch)}
        return environment({**place, **self.spec.environment, **extra})

    def landlock(self) -> dict[str, Any]:
        reads = [*_READS, *map(str, self.spec.read_only)]
        writes = [str(self._view.workspace), str(self._scratch)]
        return {"reads": reads, "devices": _DEVICES, "writes": writes}

    async def listen(self, port: int) -> Any:
        raise Unavailable("degraded boxes have no network")

    async def stats(self) -> BoxStats:
        return BoxStats()

    async def destroy(self) -> None:
        await super().destroy()
        with CancelScope(shield=True):
            await to_thread.run_sync(remove_tree, self._scratch)


_NO_SPACES = Spaces(*[-1] * len(Spaces._fields))
