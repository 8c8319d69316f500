"""Where those who speak through bridges stand: a file for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from holdfast.adapters import private
from holdfast.adapters.kept import Kept
from holdfast.runtime.chatting import Talk


class TalkFiles:
    """A folder of the home."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, mark: str) -> Kept[Talk]:
        return Kept(self._folder / f"{mark}.json", Talk())

    def marks(self) -> Sequence[str]:
        return [one.stem for one in self._folder.glob("*.json")]

    def forget(self, mark: str) -> None:
        private.remove(self._folder / f"{mark}.json")
