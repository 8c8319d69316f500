"""Undo and redo in one folder: planned, written down, carried out, and finished if cut off."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

import anyio
from anyio import to_thread
from msgspec import Struct
from msgspec.structs import replace

from holdfast.adapters.tools.beneath import Denied, Folder
from holdfast.core.error import HoldfastError, NotFound, Refused, Unavailable
from holdfast.core.ids import Instant, TaskId, digest
from holdfast.ports.blobs import Blobs
from holdfast.ports.tools import Tool

from .keeping import Keeping
from .plan import Act, Past, Plan, Told, again, backwards, in_order, told
from .putting import finish, put
from .state import State, content_of, digest_of, state_of
from .tape import Left, Step, Tape, Undoing, Undone
from .windows import Windows

Opened = Callable[[Path], Folder]


class Wish(Protocol):
    """What somebody wants undone: all, or one call, or with `of` an earlier undo."""

    @property
    def call(self) -> str: ...
    @property
    def of(self) -> int: ...
    @property
    def by(self) -> str: ...
    @property
    def at(self) -> Instant: ...


class Outcome(Struct, frozen=True, kw_only=True):
    """What an undo did, or would do. `number` is 0 while nothing has been done; `resumed`: it went
    on with one that had been cut off. `digest` stands for exactly these steps."""

    number: int = 0
    of: int = 0
    steps: tuple[Step, ...] = ()
    left: tuple[Left, ...] = ()
    resumed: bool = False
    digest: str = ""


class FolderUndo:
    """Implements `runtime.undoing.Undoing`; what calls changed is written down in `place`."""

    def __init__(self, place: Path, blobs: Blobs, *, opened: Opened = Folder) -> None:
        self._windows, self._blobs, self._opened = Windows(), blobs, opened
        self._keeping = Keeping(place, blobs, self._windows)
        self._tape: Tape = self._keeping.tape
        self._busy: list[Path] = []

    def watched(self, tools: Iterable[Tool]) -> list[Tool]:
        """The same tools; of those that change files of the workspace it is told what."""
        return self._keeping.every(tools)

    async def told(self, task: TaskId) -> Told:
        """What was written down about a task. Raises `Broken`, `Unavailable`."""
        return told(await to_thread.run_sync(self._tape.read, task))

    async def outlook(
        self, task: TaskId, workspace: Path, *, call: str = "", of: int = 0
    ) -> Outcome:
        """What `undo` would do now."""
        known = await self.told(task)
        _check_root(known, workspace)
        cut = known.unfinished
        if cut is not None:
            return replace(_outcome(cut, resumed=True), number=0)
        plan = await self._planned(known, workspace, call, of)
        return Outcome(of=of, steps=plan.steps, left=plan.left)

    async def undo(
        self,
        task: TaskId,
        workspace: Path,
        wish: Wish,
        agreed: Callable[[Outcome], Awaitable[None]],
    ) -> Outcome:
        """Do what `wish` says: its call or undo, by whom and when. `agreed` is told of it before.

        An undo that was cut off is finished first; if it was the same wish, that is all. What
        fails at one place is told in `left` and stops no other. Raises `Refused` while another undo
        is under way in the folder, and while a call of the task is still ending.
        """
        self._check_still(task)
        with self._alone(workspace), self._windows.open(f"undo {task}", workspace, None):
            known = await self.told(task)
            _check_root(known, workspace)
            if (cut := known.unfinished) is not None:
                await agreed(_outcome(cut, resumed=True))
                resumed = await self._carried_out(task, workspace, cut, resumed=True)
                known = await self.told(task)
                if (cut.call, cut.of) == (wish.call, wish.of):
                    return resumed
            return await self._anew(known, task, workspace, wish, agreed)

    async def forget(self, task: TaskId) -> None:
        """What calls of the task changed can then no longer be undone."""
        await to_thread.run_sync(self._tape.forget, task)

    async def tasks(self) -> Sequence[TaskId]:
        """Those about which something is written down."""
        return [TaskId(one) for one in await to_thread.run_sync(self._tape.tasks)]

    async def _anew(
        self,
        known: Told,
        task: TaskId,
        workspace: Path,
        wish: Wish,
        agreed: Callable[[Outcome], Awaitable[None]],
    ) -> Outcome:
        plan = await self._planned(known, workspace, wish.call, wish.of)
        if not (plan.steps or plan.gone or plan.back):
            return Outcome(of=wish.of, left=plan.left)
        steps, lost = await self._kept(workspace, plan.steps)
        begun = Undoing(
            number=len(known.past) + 1,
            at=wish.at,
            by=wish.by,
            call=wish.call,
            of=wish.of,
            steps=steps,
            gone=_without(known, plan.gone, lost),
            back=_without(known, plan.back, lost),
            left=(*plan.left, *lost),
        )
        await agreed(_outcome(begun))
        write = partial(self._tape.append, task, begun, durable=True)
        await to_thread.run_sync(write)
        return await self._carried_out(task, workspace, begun)

    async def _planned(self, known: Told, workspace: Path, call: str, of: int) -> Plan:
        stands = partial(state_of, self._opened(workspace))
        if of:
            past = _numbered(known, of)
            return await to_thread.run_sync(again, past, stands, known.entries)
        chosen = [one for one in known.standing if not call or one.call == call]
        others = [one for one in known.standing if one not in chosen]
        return await to_thread.run_sync(backwards, chosen, stands, others)

    async def _kept(
        self, workspace: Path, steps: Sequence[Step]
    ) -> tuple[tuple[Step, ...], tuple[Left, ...]]:
        """Keep what stands there, so that the undo can be undone; what cannot be kept stays."""
        folder = self._opened(workspace)
        ready: list[Step] = []
        lost: list[Left] = []
        for step in steps:
            if step.was.has_content:
                read = partial(_content, folder, step.path, step.was)
                data = await to_thread.run_sync(read)
                if data is None:
                    lost.append(Left(path=step.path, why="it changes just now"))
                    continue
                await self._blobs.put(data)
            ready.append(step)
        return tuple(ready), tuple(lost)

    async def _carried_out(
        self, task: TaskId, workspace: Path, begun: Undoing, *, resumed: bool = False
    ) -> Outcome:
        failed: dict[str, str] = {}
        # From here on it is finished: whoever asked may hang up.
        with anyio.CancelScope(shield=True):
            await self._acted(task, workspace, begun, failed)
        return _outcome(begun, _left(failed), resumed=resumed)

    async def _acted(
        self, task: TaskId, workspace: Path, begun: Undoing, failed: dict[str, str]
    ) -> None:
        folder, acts = self._opened(workspace), in_order(begun.steps)
        for act in acts:
            if act.step.path not in failed and (
                why := await self._put(folder, act, f"{task}.{begun.number}")
            ):
                failed[act.step.path] = why
        for act in reversed(acts):
            await to_thread.run_sync(finish, folder, act)
        done = Undone(number=begun.number, at=begun.at, left=_left(failed))
        await to_thread.run_sync(partial(self._tape.append, task, done, durable=True))

    async def _put(self, folder: Folder, act: Act, undo: str) -> str:
        data = b""
        if act.comes and act.step.now.has_content:
            try:
                data = await self._blobs.get(act.step.now.digest)
            except HoldfastError as error:
                return str(error)
        return await to_thread.run_sync(put, folder, act, data, undo)

    def _check_still(self, task: TaskId) -> None:
        """A task ends when it is cancelled, its command a little later."""
        if self._windows.has(task):
            raise Refused(
                f"a call of {task} is still ending: what it changed is not told yet",
                code="call_ending",
                hint="ask again in a moment",
            )

    @contextmanager
    def _alone(self, workspace: Path) -> Generator[None]:
        real = workspace.resolve()
        if any(one.is_relative_to(real) or real.is_relative_to(one) for one in self._busy):
            raise Refused(
                f"another undo is under way in {workspace}",
                code="undo_under_way",
                hint="look at what it did, then ask again",
            )
        if not real.is_dir():
            raise Unavailable(f"the workspace {workspace} is not there", code="no_workspace")
        self._busy.append(real)
        try:
            yield
        finally:
            self._busy.remove(real)


def _check_root(known: Told, workspace: Path) -> None:
    """A folder above may have been changed, so that the same path leads to another folder."""
    real = str(workspace.resolve())
    if others := sorted(known.roots - {real}):
        raise Refused(
            f"{workspace} leads elsewhere by now: to {real}; the task worked in {others[0]}",
            code="workspace_moved",
            hint="put the folder back to where it was",
        )


def _numbered(known: Told, number: int) -> Past:
    if not 0 < number <= len(known.past):
        raise NotFound(f"there is no undo {number} of this task", code="undo_not_found")
    return known.past[number - 1]


def _without(known: Told, numbers: Sequence[int], lost: Sequence[Left]) -> tuple[int, ...]:
    paths = {one.path for one in lost}
    return tuple(n for n in numbers if known.entries[n].change.path not in paths)


def _content(folder: Folder, path: str, state: State) -> bytes | None:
    """What is there, if it still is what was planned with."""
    try:
        data = content_of(folder, path, state)
    except (Denied, OSError):
        return None
    return data if digest_of(data) == state.digest else None


def _left(failed: Mapping[str, str]) -> tuple[Left, ...]:
    return tuple(Left(path=path, why=why) for path, why in failed.items())


def _outcome(begun: Undoing, failed: Sequence[Left] = (), *, resumed: bool = False) -> Outcome:
    not_done = {one.path for one in failed}
    return Outcome(
        number=begun.number,
        of=begun.of,
        steps=tuple(one for one in begun.steps if one.path not in not_done),
        left=(*begun.left, *failed),
        resumed=resumed,
        digest=digest([[one.path, one.was.digest, one.now.digest] for one in begun.steps]),
    )
