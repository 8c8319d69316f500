"""Blobs as files in a folder: `ab/cdef…`, named by their SHA-256."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from anyio import to_thread

from holdfast.adapters import private
from holdfast.core.error import Broken, NotFound, Unavailable

_NAME = re.compile(r"[0-9a-f]{64}")
_TEMPORARY = ".new-"


class FileBlobs:
    """A directory store. A blob is visible only when all of its bytes are on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writing: set[Path] = set()

    async def put(self, data: bytes) -> str:
        return await to_thread.run_sync(self._put, data)

    async def get(self, name: str) -> bytes:
        return await to_thread.run_sync(self._get, name)

    async def keep_only(self, names: frozenset[str]) -> int:
        return await to_thread.run_sync(self._keep_only, names)

    def _put(self, data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()
        path = self._path(name)
        try:
            if path.exists() and path.stat().st_size == len(data):
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

    def _keep_only(self, names: frozenset[str]) -> int:
        unwanted = [path for path in self._all() if path.parent.name + path.name not in names]
        for path in unwanted:
            if path not in self._writing:
                path.unlink(missing_ok=True)
        return sum(_NAME.fullmatch(path.parent.name + path.name) is not None for path in unwanted)

    def _all(self) -> Iterator[Path]:
        """Every blob, and what an interrupted `put` left."""
        with suppress(FileNotFoundError):
            for shelf in self._folder.iterdir():
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
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            self._writing.discard(temporary)
        _sync(path.parent)

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name[2:]


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
