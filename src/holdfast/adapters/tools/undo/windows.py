"""Who is at work in which folder: whose a change is that was seen between two looks."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(eq=False, kw_only=True)
class Window:
    """A call at work, from its first look to its last. `places`: those that it names; None: it may
    change anything in its folder. `others` are places that other tasks named meanwhile; `shared`:
    another task could change all of the same, too."""

    task: str
    root: Path
    places: frozenset[Path] | None
    others: set[Path] = field(default_factory=set[Path])
    shared: bool = False

    def foreign(self, path: str) -> bool:
        """True for what another task named: that is told as its own change."""
        place = self.root / path
        return bool(self.others) and not self.others.isdisjoint({place, *place.parents})


class Windows:
    """All calls at work that may change a folder. Used on the loop only."""

    def __init__(self) -> None:
        self._open: list[Window] = []

    @contextmanager
    def open(self, task: str, root: Path, names: Iterable[str] | None) -> Generator[Window]:
        real = root.resolve()
        places = None if names is None else frozenset(real / name for name in names)
        window = Window(task=task, root=real, places=places)
        for other in self._open:
            if other.task != task and _overlap(other.root, real):
                _met(window, other)
        self._open.append(window)
        try:
            yield window
        finally:
            self._open.remove(window)

    def has(self, task: str) -> bool:
        """True while a call of the task is at work."""
        return any(window.task == task for window in self._open)

    def alone(self, window: Window) -> bool:
        """True if no other call is at work in its folder."""
        return not any(
            other is not window and _overlap(other.root, window.root) for other in self._open
        )


def _met(one: Window, other: Window) -> None:
    if one.places is None and other.places is None:
        one.shared = other.shared = True
    elif one.places is None:
        one.others |= other.places or frozenset()
    elif other.places is None:
        other.others |= one.places
    elif any(_overlap(mine, its) for mine in one.places for its in other.places):
        # Each may have looked before the other wrote: what it saw is then not what it replaced.
        one.shared = other.shared = True


def _overlap(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)
