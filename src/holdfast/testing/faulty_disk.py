"""A disk under SQLite that fails where it is told to: once, or from then on until it is mended."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import apsw

_NUMBERS = itertools.count(1)


class Disk:
    """Counts the operations that change what is stored, and fails the `at`-th.

    `lasting`: everything after it fails too, until `mend`. `torn`: the write that fails leaves
    half of itself behind, as a process that is killed or a disk that fills up may.
    """

    def __init__(
        self,
        at: int = 0,
        *,
        error: type[apsw.Error] = apsw.IOError,
        lasting: bool = False,
        torn: bool = False,
    ) -> None:
        self.count = self.failed = 0
        self.name = f"faulty-{next(_NUMBERS)}"
        self._at, self._error = at, error
        self._lasting, self._torn = lasting, torn
        self._down = False

    def mend(self) -> None:
        """From now on everything works."""
        self._at, self._down = 0, False

    @property
    def hit(self) -> bool:
        return self.failed > 0

    def touch(self) -> None:
        """One more operation. Raises the error if it is one that fails."""
        self.count += 1
        if not self._down and self.count != self._at:
            return
        self._down = self._lasting
        self.failed += 1
        raise self._error(f"operation {self.count} fails as told")

    def half(self, data: bytes) -> bytes:
        """What a failing write leaves behind: nothing, or half of it."""
        tears = self._torn and self.count + 1 == self._at
        return data[: len(data) // 2] if tears else b""

    @contextmanager
    def plugged_in(self) -> Generator[str]:
        """Known to SQLite, by the name that this gives."""
        vfs = _Files(self)
        try:
            yield self.name
        finally:
            vfs.unregister()


class _Files(apsw.VFS):
    """The files of one disk."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk.name, "")
        self._disk = disk

    def excepthook(self, etype: Any, evalue: Any, etraceback: Any) -> bool:
        """SQLite has been told; there is no need to print it too."""
        return True

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        if flags[0] & apsw.SQLITE_OPEN_CREATE:
            self._disk.touch()
        return _File(self._disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        self._disk.touch()
        super().xDelete(filename, syncdir)


class _File(apsw.VFSFile):
    """One file of it."""

    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        self._reads_only = bool(flags[0] & apsw.SQLITE_OPEN_READONLY)

    def excepthook(self, etype: Any, evalue: Any, etraceback: Any) -> bool:
        """SQLite has been told; there is no need to print it too."""
        return True

    def xLock(self, level: int) -> None:  # noqa: N802
        """A file opened for reading cannot be locked for writing, as SQLite tries on closing."""
        try:
            super().xLock(level)
        except apsw.IOError as error:
            if self._reads_only:
                raise apsw.BusyError from error
            raise

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        if half := self._disk.half(data):
            super().xWrite(half, offset)  # pyright: ignore[reportUnknownMemberType]
        self._disk.touch()
        super().xWrite(data, offset)  # pyright: ignore[reportUnknownMemberType]

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.touch()
        super().xSync(flags)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._disk.touch()
        super().xTruncate(newsize)
