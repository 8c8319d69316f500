"""Blobs as files in a folder: `ab/cdef…`, named by their SHA-256."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from anyio import to_thread

from holdfast.adapters import private
from holdfast.core.error import Broken, NotFound, Unavailable
from holdfast.core.ids import Instant

_NAME = re.compile(r"[0-9a-f]{64}")
_TEMPORARY = ".new-"
_MILLISECOND = 1_000_000


def _wall_time() -> Instant:
    return time.time_ns() // _MILLISECOND


class FileBlobs:
    """A directory store. A blob is visible only when all of its bytes are on disk.

    Its file's time says when it was put or renewed last. One store at a time may work in a folder:
    what is looked at and then dropped is nobody else's to renew in between.
    """

    def __init__(self, folder: Path, now: Callable[[], Instant] = _wall_time) -> None:
        self._folder, self._now = folder, now
        self._writing: set[Path] = set()
        self._deciding = threading.Lock()

    async def put(self, data: bytes) -> str:
        return await to_thread.run_sync(self._put, data)

    async def get(self, name: str) -> bytes:
        return await to_thread.run_sync(self._get, name)

    async def renew(self, names: Iterable[str]) -> None:
        if wanted := [name for name in names if _NAME.fullmatch(name)]:
            await to_thread.run_sync(lambda: [self._renewed(name) for name in wanted])

    async def stale(self, before: Instant) -> frozenset[str]:
        return await to_thread.run_sync(self._stale, before)

    async def drop(self, names: Iterable[str], before: Instant) -> tuple[int, int]:
        return await to_thread.run_sync(self._drop, frozenset(names), before)

    def _put(self, data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()
        path = self._path(name)
        try:
            if self._renewed(name, size=len(data)):
                return name
            self._make(path.parent)
            self._write(path, data)
        except OSError as error:
            raise Unavailable(f"a file could not be kept in {self._folder}: {error}") from error
        return name

    def _get(self, name: str) -> bytes:
        if not _NAME.fullmatch(name):
            raise NotFound(f"there is no blob {name!r}")
        try:
            data = self._path(name).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"there is no blob {name}") from None
        except OSError as error:
            raise Unavailable(f"the blob {name} cannot be read: {error}") from error
        if hashlib.sha256(data).hexdigest() != name:
            raise Broken(f"the blob {name} in {self._folder} is damaged")
        return data

    def _renewed(self, name: str, *, size: int = -1) -> bool:
        """Whether there is such a blob, of that size if one is given: then it is fresh now."""
        path = self._path(name)
        with self._deciding:
            try:
                if size not in (-1, path.stat().st_size):
                    return False
                self._touch(path)
            except FileNotFoundError:
                return False
        return True

    def _touch(self, path: Path) -> None:
        now = self._now() * _MILLISECOND
        os.utime(path, ns=(now, now))

    def _stale(self, before: Instant) -> frozenset[str]:
        names = (path.parent.name + path.name for path in self._all() if _is_old(path, before))
        return frozenset(name for name in names if _NAME.fullmatch(name))

    def _drop(self, names: frozenset[str], before: Instant) -> tuple[int, int]:
        count, size = 0, 0
        try:
            for path in list(self._all()):
                name = path.parent.name + path.name
                interrupted = path.name.startswith(_TEMPORARY) and path not in self._writing
                with self._deciding:
                    if not (name in names or interrupted) or not _is_old(path, before):
                        continue
                    found = path.stat().st_size
                    path.unlink(missing_ok=True)
                count, size = count + (not interrupted), size + found
        except OSError as error:
            what = f"blobs in {self._folder} could not be deleted: {error}"
            raise Unavailable(what) from error
        return count, size

    def _all(self) -> Iterator[Path]:
        """Every blob, and what an interrupted `put` left."""
        with suppress(FileNotFoundError):
            for shelf in self._folder.iterdir():
                if shelf.is_dir():
                    yield from shelf.iterdir()

    def _make(self, shelf: Path) -> None:
        if not shelf.is_dir():
            shelf.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sync(self._folder)

    def _write(self, path: Path, data: bytes) -> None:
        temporary = path.with_name(_TEMPORARY + secrets.token_hex(8))
        self._writing.add(temporary)
        try:
            with open(temporary, "xb", opener=private.opener) as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            self._touch(temporary)
            with self._deciding:
                temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            self._writing.discard(temporary)
        _sync(path.parent)

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name[2:]


def _is_old(path: Path, before: Instant) -> bool:
    try:
        return path.stat().st_mtime_ns <= before * _MILLISECOND
    except FileNotFoundError:
        return False


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
