"""Boxes made of Linux namespaces by bubblewrap: no daemon, no privileges, no process while idle.

bubblewrap lays out a minimal root and makes the namespaces; then it ends and we keep them by
descriptor. A command costs a process only while it runs, and everything is gone with us, however
we end. Started as root, the box belongs to a user that nothing else uses; its workspace is mounted
so that what the folder's owner has is that user's inside, and stays the owner's on the disk.
"""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from functools import partial
from typing import Any

from anyio import fail_after, to_thread

from holdfast.core.error import Unavailable
from holdfast.ports.box import BoxSpec, Capabilities

from . import files
from .filters import programs
from .namespaced import NamespacedBox, Spaces
from .porting import Porter, shielded
from .root import ETC, Inside, inside
from .walls import requiring, try_walls

HINT = "install bubblewrap 0.8 or newer, e.g. `apt-get install bubblewrap`"
_LENDING = "choose a folder on ext4, xfs, btrfs or tmpfs, or run Holdfast as an ordinary user"
_BOX_NAME = "holdfast-box"
_WAIT = ["/bin/sh", "-c", "echo; read wait"]
_SECONDS = 30.0
_PAGE, _QUEUES = 4096, 32
_RESERVED = 0x7000_0000
_HOMES, _AGENTS = 0xFFF, 0x1000


class BubblewrapBoxes:
    """A `BoxKind`. `program` is bubblewrap's name or path."""

    name = "bubblewrap"

    def __init__(self, *, program: str = "bwrap", porter: Porter | None = None) -> None:
        self._program = program
        self._porter = porter or Porter()
        self._users: dict[str, int] = {}
        self._boxes: set[NamespacedBox] = set()
        self._found: Capabilities | None = None

    async def create(self, spec: BoxSpec) -> NamespacedBox:
        if spec.requires:
            requiring(spec.requires, await self.probe())
        program = shutil.which(self._program)
        if program is None:
            raise Unavailable("commands need a box and bubblewrap is not installed", hint=HINT)
        view = await to_thread.run_sync(lambda: inside(spec, lend=os.geteuid() == 0))
        await self._porter.ready()  # it knows which groups there are
        with ExitStack() as undo:
            group = await to_thread.run_sync(self._porter.groups.make, spec.limits)
            if group is not None:
                undo.callback(group.remove)
            filters = await to_thread.run_sync(partial(programs, uncounted=group is None))
            spaces = await shielded(partial(self._made, program, spec, view))
            undo.pop_all()
        box = NamespacedBox(self._porter, spec, view, Spaces(*spaces), group, filters)
        self._boxes.add(box)
        box.when_gone(self._boxes.discard)
        return box

    async def probe(self) -> Capabilities:
        if self._found is None:
            soft = {"memory", "cpu"} - self._porter.groups.controllers()
            self._found = await try_walls(self, soft=sorted(soft))
        return self._found

    async def close(self) -> None:
        for box in tuple(self._boxes):
            await box.destroy()
        await self._porter.close()

    async def _made(self, program: str, spec: BoxSpec, view: Inside) -> list[int]:
        words: dict[str, Any] = {
            "do": "make",
            "name": _BOX_NAME,
            "program": program,
            "options": view.options,
            "files": ETC,
            "wait": _WAIT,
            "uid": self._user(spec.agent),
            "lent": [{"place": one.place, "owned": one.owned} for one in view.lent],
            "scratch": view.scratch,
            "hidden": view.hidden,
            "kernel": {"shmall": spec.limits.scratch // _PAGE, "msgmni": _QUEUES},
        }
        with ExitStack() as ours:
            lent = [_opened(ours, one.place) for one in view.lent]
            reply = await self._porter.ask(words, lent)
            ours.callback(reply.close)
            try:
                with fail_after(_SECONDS):
                    said, found = await reply.next()
            except TimeoutError:
                await reply.unanswered()
                raise Unavailable("no box could be made in time") from None
        if "error" in said or not found:
            why = said.get("error", "the porter is gone")
            hint = _LENDING if why.startswith("lend ") else HINT
            raise Unavailable(f"no box could be made: {why}", hint=hint)
        return found

    def _user(self, agent: str) -> int | None:
        """As root: a user for this agent alone; several daemons hardly ever share one."""
        if os.geteuid() != 0:
            return None
        own = _RESERVED + (os.getpid() & _HOMES) * _AGENTS
        if agent not in self._users and len(self._users) == _AGENTS:
            raise Unavailable(f"there are users for {_AGENTS} agents only; restart the daemon")
        return self._users.setdefault(agent, own + len(self._users))


def _opened(owner: ExitStack, place: str) -> int:
    descriptor = files.place(place)
    owner.callback(os.close, descriptor)
    return descriptor
