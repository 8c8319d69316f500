"""A disk, as SQLite sees it, that fails when it is told to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apsw


class FailingDisk(apsw.VFS):
    """Fails at operation number `at` that should change something; only once, or ever after."""

    name = "failing"

    def __init__(self, error: type[apsw.Error] = apsw.IOError) -> None:
        super().__init__(self.name, "")
        self.error, self.at, self.once = error, 0, True
        self.done = self.failed = 0

    def __enter__(self) -> FailingDisk:
        return self

    def __exit__(self, *_: object) -> None:
        self.unregister()

    def fail(self, at: int, *, once: bool) -> None:
        self.at, self.once, self.done, self.failed = at, once, 0, 0

    def heal(self) -> None:
        self.at = 0

    def step(self) -> None:
        """One operation that should reach the disk."""
        self.done += 1
        if self.at and (self.done == self.at or (self.done > self.at and not self.once)):
            self.failed += 1
            raise self.error("the disk failed on purpose")

    def excepthook(self, etype: Any, evalue: Any, etraceback: Any) -> bool:
        """SQLite has been told; there is no need to print it too."""
        return True

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> Any:  # noqa: N802
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        self.step()
        super().xDelete(filename, syncdir)


class _File(apsw.VFSFile):
    def __init__(
        self, disk: FailingDisk, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        self._step: Callable[[], None] = disk.step
        super().__init__("", name, flags)

    def excepthook(self, etype: Any, evalue: Any, etraceback: Any) -> bool:
        """As above."""
        return True

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802
        self._step()
        super().xWrite(data, offset)  # pyright: ignore[reportUnknownMemberType]

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._step()
        super().xSync(flags)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._step()
        super().xTruncate(newsize)
