"""What can put the files of a task back, and what it tells."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from holdfast.core.ids import Instant, TaskId


class Place(Protocol):
    """How something stands: `none`, `file`, `link`, `dir` or `odd`."""

    @property
    def kind(self) -> str: ...


class PutBack(Protocol):
    """One place, how it stood and how it is to stand."""

    @property
    def path(self) -> str: ...
    @property
    def was(self) -> Place: ...
    @property
    def now(self) -> Place: ...


class LeftAlone(Protocol):
    """One place that is not touched, and why."""

    @property
    def path(self) -> str: ...
    @property
    def why(self) -> str: ...


class Outcome(Protocol):
    """What an undo did or would do; `number` is 0 while nothing has been done."""

    @property
    def number(self) -> int: ...
    @property
    def of(self) -> int: ...
    @property
    def steps(self) -> Sequence[PutBack]: ...
    @property
    def left(self) -> Sequence[LeftAlone]: ...
    @property
    def resumed(self) -> bool: ...
    @property
    def digest(self) -> str: ...


class Begun(Protocol):
    """An undo as it was written down."""

    @property
    def number(self) -> int: ...
    @property
    def at(self) -> Instant: ...
    @property
    def by(self) -> str: ...
    @property
    def call(self) -> str: ...
    @property
    def of(self) -> int: ...
    @property
    def steps(self) -> Sequence[PutBack]: ...


class Past(Protocol):
    """One that was begun; `over`: and carried out."""

    @property
    def begun(self) -> Begun: ...
    @property
    def over(self) -> bool: ...


class Told(Protocol):
    """What is written down of a task: why the changes of a call are not known (empty: they are)."""

    @property
    def entries(self) -> Sequence[object]: ...
    @property
    def calls(self) -> Mapping[str, str]: ...
    @property
    def apart(self) -> Sequence[str]: ...
    @property
    def past(self) -> Sequence[Past]: ...


class Wish(Struct, frozen=True, kw_only=True):
    """What is to be undone: all that the task changed, one call, or an earlier undo of it."""

    by: str = ""
    at: Instant = 0
    call: str = ""
    of: int = 0


class Undoing(Protocol):
    """Puts the files of a folder back. All methods may raise `Unavailable` and `Broken`."""

    async def told(self, task: TaskId) -> Told: ...

    async def outlook(
        self, task: TaskId, workspace: Path, *, call: str = "", of: int = 0
    ) -> Outcome: ...

    async def undo(
        self,
        task: TaskId,
        workspace: Path,
        wish: Wish,
        agreed: Callable[[Outcome], Awaitable[None]],
    ) -> Outcome:
        """`agreed` is told before anything is touched. Raises `Refused` for two at once, while a
        call of the task is still ending, and where the workspace leads elsewhere by now."""
        ...

    async def forget(self, task: TaskId) -> None: ...

    async def tasks(self) -> Sequence[TaskId]: ...
