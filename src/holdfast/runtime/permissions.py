"""Is everything of the home for its owner alone? What is not can be named, and closed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_THEIRS = "workspace"


class Exposed(Struct, frozen=True, kw_only=True):
    """A file or folder that others may open, or that is somebody else's."""

    path: Path
    mode: int
    foreign: bool = False

    @property
    def problem(self) -> str:
        if self.foreign:
            return f"{self.path} belongs to somebody else"
        return f"{self.path} has mode {self.mode:04o}: others may open it"


def exposed(home: Path) -> list[Exposed]:
    """What is not as it should be: folders 0700, files 0600, all of them ours.

    What is in the workspace is the person's own, and is not looked at; links are not followed.
    """
    return [found for path in _all(home) if (found := _look(path))]


def close(found: list[Exposed]) -> list[Path]:
    """Take from others what they could open. What is somebody else's stays."""
    closed: list[Path] = []
    for one in found:
        if one.foreign:
            continue
        try:
            one.path.chmod(one.mode & ~_OTHERS, follow_symlinks=False)
        except NotImplementedError:  # pragma: no cover - systems that know no other way
            one.path.chmod(one.mode & ~_OTHERS)
        except FileNotFoundError:
            continue
        closed.append(one.path)
    return closed


def _all(home: Path) -> Iterator[Path]:
    yield home
    for folder, folders, files in os.walk(home):
        here = Path(folder)
        yield from (here / name for name in (*folders, *files))
        if here == home and _THEIRS in folders:
            folders.remove(_THEIRS)


def _look(path: Path) -> Exposed | None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(found.st_mode):
        return None
    mode, foreign = stat.S_IMODE(found.st_mode), found.st_uid != os.geteuid()
    return Exposed(path=path, mode=mode, foreign=foreign) if mode & _OTHERS or foreign else None
