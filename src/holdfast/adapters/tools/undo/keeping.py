"""Tools whose changes are told: looked at before and after, and written down."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread
from msgspec.structs import replace

from holdfast.adapters.tools.around import Around
from holdfast.adapters.tools.beneath import Denied, Folder
from holdfast.core.error import HoldfastError
from holdfast.core.message import Change, EffectClass, Outcome, Returned
from holdfast.core.task import Wait
from holdfast.ports.blobs import Blobs
from holdfast.ports.tools import Job, Tool, Traits

from .look import Seen, Shadow, TooMuch, named
from .state import Changed, State, differences
from .tape import Began, Ended, Line, Tape
from .windows import Window, Windows

_log = logging.getLogger("holdfast")


class Keeping:
    """Writes down what calls change. Nothing that goes wrong here stops a call: then it is told
    that what the call changed is not known."""

    def __init__(self, place: Path, blobs: Blobs, windows: Windows) -> None:
        self.tape = Tape(place)
        self._shadow = Shadow(place / "copies")
        self._blobs, self._windows = blobs, windows

    def every(self, tools: Iterable[Tool]) -> list[Tool]:
        """The same tools; those that change files of the workspace are looked after."""
        return [Kept(tool, self) if _changes_files(tool) else tool for tool in tools]

    @asynccontextmanager
    async def around(
        self, tool: str, job: Job, names: frozenset[str] | None
    ) -> AsyncGenerator[None]:
        """Look, let it work, look again. `names`: what it can change; None for anything."""
        with self._windows.open(job.task, job.workspace, names) as window:
            # What earlier looks copied is wanted no more, unless another call has just looked.
            was = await self._look(job, names, tidy=self._windows.alone(window))
            states = was.states if names is not None and isinstance(was, Seen) else None
            began = Began(call=job.call, tool=tool, was=states, root=str(window.root))
            await self._tell(job, began, durable=False)
            try:
                yield
            finally:
                # What a call that was broken off has changed is told as well.
                with anyio.CancelScope(shield=True):
                    now = await self._look(job, names)
                    line = await self._ended(tool, job, (was, now), window)
                    await self._tell(job, line, durable=True)

    async def found(self, tool: str, job: Job) -> None:
        """A call that was cut off has turned out to be done: look at what it named."""
        lines = await to_thread.run_sync(self.tape.read, job.task)
        began = [one for one in lines if isinstance(one, Began) and one.call == job.call]
        if not began or began[-1].was is None:
            return
        was = began[-1].was
        with self._windows.open(job.task, job.workspace, was) as window:
            now = await self._look(job, frozenset(was))
            line = await self._ended(tool, job, (Seen(was), now), window)
            await self._tell(job, line, durable=True)

    async def _look(
        self, job: Job, names: frozenset[str] | None, *, tidy: bool = False
    ) -> Seen | str:
        try:
            if names is not None:
                return await to_thread.run_sync(_named, job.workspace, sorted(names))
            return await to_thread.run_sync(partial(self._shadow.look, job.workspace, tidy=tidy))
        except (TooMuch, Denied, HoldfastError) as error:
            return str(error)
        except OSError as error:
            return f"the folder could not be looked at: {error.strerror}"

    async def _ended(
        self, tool: str, job: Job, looks: tuple[Seen | str, Seen | str], window: Window
    ) -> Line:
        was, now = looks
        if isinstance(was, str) or isinstance(now, str):
            why = was if isinstance(was, str) else str(now)
            return Ended(call=job.call, tool=tool, unknown=why)
        changes = [
            replace(one, unsure=window.shared)
            for one in differences(was.states, now.states)
            if not window.foreign(one.path)
        ]
        if window.places is None:
            changes = [await self._content_kept(one, job.workspace) for one in changes]
        apart = tuple(sorted({*was.apart, *now.apart}))
        return Ended(call=job.call, tool=tool, changes=tuple(changes), apart=apart)

    async def _content_kept(self, change: Changed, root: Path) -> Changed:
        """What a command has changed is kept only now, out of the copies."""
        if not change.was.has_content:
            return change
        lost = replace(change, was=State(kind="odd", digest="not kept"))
        data = await to_thread.run_sync(self._shadow.content, root, change.was)
        if data is None:
            return lost
        try:
            await self._blobs.put(data)
        except HoldfastError as error:
            _log.warning("%s cannot be undone: %s", change.path, error)
            return lost
        return change

    async def _tell(self, job: Job, line: Line, *, durable: bool) -> None:
        write = partial(self.tape.append, job.task, line, durable=durable)
        try:
            await to_thread.run_sync(write)
        except HoldfastError as error:
            _log.warning("what a call changed is not known: %s", error, extra={"task": job.task})


class Kept(Around):
    """A `Tool` whose changes are told."""

    def __init__(self, tool: Tool, keeping: Keeping) -> None:
        super().__init__(tool)
        self._keeping = keeping

    async def run(self, arguments: Mapping[str, Any], job: Job) -> Outcome | Wait:
        names = await to_thread.run_sync(_names, self._tool.traits, arguments, job.workspace)
        async with self._keeping.around(self.spec.name, job, names):
            return await self._tool.run(arguments, job)

    async def check(
        self, arguments: Mapping[str, Any], before: Sequence[Change], job: Job
    ) -> Outcome | None:
        found = await self._tool.check(arguments, before, job)
        if isinstance(found, Returned):
            await self._keeping.found(self.spec.name, job)
        return found


def _changes_files(tool: Tool) -> bool:
    """Files that it names, or whatever a program of it changes in the box."""
    traits = tool.traits
    in_a_box = traits.source == "box" or traits.source.startswith("acp:")
    return traits.effect is not EffectClass.READS and bool(traits.paths or in_a_box)


def _names(traits: Traits, arguments: Mapping[str, Any], root: Path) -> frozenset[str] | None:
    """The places that a call names, themselves and where their links lead; None: anywhere."""
    if not traits.paths:
        return None
    folder, found = Folder(root), set[str]()
    for key in traits.paths:
        path = arguments.get(key)
        for follow in (True, False):
            try:
                found |= {folder.locate(path, follow=follow)} if isinstance(path, str) else set()
            except (Denied, OSError):
                continue  # the tool refuses it as well
    return frozenset(found - {"."})


def _named(root: Path, names: Sequence[str]) -> Seen:
    return named(Folder(root), names)
