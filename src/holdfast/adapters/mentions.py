"""Which blobs are spoken of: by their names, wherever these stand in what is written down."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from anyio import to_thread

_RUN = re.compile(rb"[0-9a-f]{64,}")
_LENGTH = 64
_PIECE = 1 << 20


def named_in(text: bytes) -> Iterator[str]:
    """Everything in a text that could be the name of a blob."""
    for run in _RUN.findall(text):
        for start in range(len(run) - _LENGTH + 1):
            yield run[start : start + _LENGTH].decode()


def left_over(names: frozenset[str], texts: Iterable[bytes]) -> frozenset[str]:
    """Those of the names that stand in none of the texts."""
    left = set(names)
    for text in texts:
        if not left:
            break
        left.difference_update(named_in(text))
    return frozenset(left)


class FolderMentions:
    """Implements `ports.Mentions` for all files below some folders."""

    def __init__(self, *folders: Path) -> None:
        self._folders = folders

    async def unmentioned(self, names: frozenset[str]) -> frozenset[str]:
        return await to_thread.run_sync(lambda: left_over(names, self._texts()))

    def _texts(self) -> Iterator[bytes]:
        for folder in self._folders:
            for path in folder.rglob("*"):
                if path.is_file() and not path.is_symlink():
                    yield from _pieces(path)


def _pieces(path: Path) -> Iterator[bytes]:
    """A file in pieces that overlap by what a name could lose at an edge."""
    kept = b""
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                yield kept + piece
                kept = piece[1 - _LENGTH :]
    except FileNotFoundError:
        return  # it was swept meanwhile
