"""Uploads as files in a folder, one folder for each principal: a line about it, then its bytes."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock

from anyio import to_thread

from holdfast.adapters import private
from holdfast.core.error import NotFound, Refused, Unavailable

_NAME = re.compile(r"[a-z]+_[0-9a-f]{32}")
MOST, MOST_BYTES = 1_000, 1_000_000_000


class FileUploads:
    """Implements `runtime.shelf.Uploads`. Each principal has room for so many, of so many bytes;
    who has used it up is refused, for nothing goes that its owner still counts on."""

    def __init__(self, folder: Path, *, most: int = MOST, room: int = MOST_BYTES) -> None:
        self._folder, self._most, self._room = folder, most, room
        self._writing = Lock()

    async def keep(self, name: str, by: str, about: bytes, data: bytes) -> None:
        await to_thread.run_sync(self._keep, self._path(name, by), about, data)

    async def find(self, name: str, by: str) -> tuple[bytes, bytes]:
        return await to_thread.run_sync(self._find, name, by)

    async def about(self, name: str, by: str) -> bytes:
        return await to_thread.run_sync(self._about, name, by)

    async def all(self, by: str) -> Sequence[bytes]:
        return await to_thread.run_sync(self._all, by)

    async def forget(self, name: str, by: str) -> None:
        await to_thread.run_sync(self._forget, name, by)

    async def tidy(self, is_over: Callable[[bytes], bool]) -> None:
        await to_thread.run_sync(self._tidy, is_over)

    def _keep(self, path: Path, about: bytes, data: bytes) -> None:
        fresh = path.with_name(f".{secrets.token_hex(8)}")
        with self._writing:
            try:
                for folder in (self._folder, path.parent):
                    private.make_folder(folder)
                self._check_room(path.parent, len(data))
                with open(fresh, "xb", opener=private.opener) as out:
                    out.write(b"%b\n%b" % (about, data))
                    out.flush()
                    os.fsync(out.fileno())
                fresh.replace(path)
                private.sync(path.parent)
            except OSError as error:
                fresh.unlink(missing_ok=True)
                what = f"the file cannot be kept in {path.parent}: {error.strerror}"
                raise Unavailable(what, code="not_kept", hint="make room there") from error

    def _check_room(self, folder: Path, more: int) -> None:
        sizes = [size for path in _kept(folder) if (size := _size(path)) is not None]
        if len(sizes) >= self._most:
            what = f"there are {len(sizes)} files of yours, and no more are kept"
            raise Refused(what, code="too_many_files", hint="delete some that you do not need")
        if sum(sizes) + more > self._room:
            what = f"your files would take more than {self._room} bytes"
            raise Refused(what, code="no_room_for_files", hint="delete some that you do not need")

    def _find(self, name: str, by: str) -> tuple[bytes, bytes]:
        try:
            about, _, data = self._path(name, by).read_bytes().partition(b"\n")
        except FileNotFoundError:
            raise _nothing(name) from None
        except OSError as error:
            raise Unavailable(f"{name} cannot be read: {error.strerror}") from error
        return about, data

    def _about(self, name: str, by: str) -> bytes:
        if (line := _first_line(self._path(name, by))) is None:
            raise _nothing(name)
        return line

    def _all(self, by: str) -> Sequence[bytes]:
        return [line for path in _kept(self._of(by)) if (line := _first_line(path)) is not None]

    def _forget(self, name: str, by: str) -> None:
        try:
            self._path(name, by).unlink()
        except FileNotFoundError:
            raise _nothing(name) from None
        except OSError as error:
            raise Unavailable(f"{name} cannot be deleted: {error.strerror}") from error

    def _tidy(self, is_over: Callable[[bytes], bool]) -> None:
        """What a killed writer left goes, too."""
        try:
            folders = [path for path in self._folder.iterdir() if path.is_dir()]
        except FileNotFoundError:
            return
        for folder in folders:
            with self._writing:
                for path in folder.glob(".*"):
                    path.unlink(missing_ok=True)
            for path in _kept(folder):
                line = _first_line(path)
                if line is not None and is_over(line):
                    path.unlink(missing_ok=True)

    def _of(self, by: str) -> Path:
        return self._folder / hashlib.sha256(by.encode()).hexdigest()[:32]

    def _path(self, name: str, by: str) -> Path:
        if not _NAME.fullmatch(name):
            raise _nothing(name)
        return self._of(by) / name


def _kept(folder: Path) -> list[Path]:
    """In the order in which they came: names begin with the time."""
    try:
        return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
    except FileNotFoundError:
        return []


def _first_line(path: Path) -> bytes | None:
    """None for one that its owner deletes just now."""
    try:
        with path.open("rb") as file:
            return file.readline().rstrip(b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}") from error


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _nothing(name: str) -> NotFound:
    return NotFound(f"There is no file {name[:100]!r}.", code="file_not_found")
