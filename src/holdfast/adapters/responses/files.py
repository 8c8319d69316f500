"""Kept answers as files in a folder, one folder for each principal."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from anyio import to_thread

from holdfast.adapters import private
from holdfast.core.error import NotFound, Unavailable

_NAME = re.compile(r"[a-z]+_[0-9a-f]{32}")
_MOST_AT_ONCE = 200
MOST, DAYS = 10_000, 30


class FileResponses:
    """Implements `ports.Responses`. Of each principal the last `most` of the last 30 days stay."""

    def __init__(
        self, folder: Path, *, most: int = MOST, now: Callable[[], float] = time.time
    ) -> None:
        self._folder, self._most, self._now = folder, most, now
        self._kept = 0

    async def keep(self, name: str, by: str, data: bytes) -> None:
        await to_thread.run_sync(self._keep, self._path(name, by), data)

    async def find(self, name: str, by: str) -> bytes:
        return await to_thread.run_sync(self._find, name, by)

    async def forget(self, name: str, by: str) -> None:
        await to_thread.run_sync(self._forget, name, by)

    async def tidy(self, before: int) -> None:
        await to_thread.run_sync(self._tidy_all, before / 1000)

    async def purge(self, words: tuple[str, ...]) -> None:
        told = tuple(word.encode() for word in words if word)
        await to_thread.run_sync(self._purge, told)

    def _keep(self, path: Path, data: bytes) -> None:
        fresh = path.with_name(f".{secrets.token_hex(8)}")
        try:
            for folder in (self._folder, path.parent):
                private.make_folder(folder)
            with open(fresh, "xb", opener=private.opener) as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(path)
            private.sync(path.parent)
            self._kept += 1
            if self._kept % _MOST_AT_ONCE == 1:
                self._tidy(path.parent)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            what = f"the answer cannot be kept in {path.parent}: {error.strerror}"
            hint = "ask with `store: false`, or make room there"
            raise Unavailable(what, code="not_kept", hint=hint) from error

    def _find(self, name: str, by: str) -> bytes:
        try:
            return self._path(name, by).read_bytes()
        except FileNotFoundError:
            raise _nothing(name) from None
        except OSError as error:
            raise Unavailable(f"{name} cannot be read: {error.strerror}") from error

    def _forget(self, name: str, by: str) -> None:
        try:
            self._path(name, by).unlink()
        except FileNotFoundError:
            raise _nothing(name) from None
        except OSError as error:
            raise Unavailable(f"{name} cannot be deleted: {error.strerror}") from error

    def _tidy_all(self, before: float) -> None:
        for folder in self._folders():
            self._tidy(folder, before)

    def _purge(self, words: tuple[bytes, ...]) -> None:
        """Which answers speak of a task only they know: each is read. That is seldom done."""
        for folder in self._folders():
            for path in folder.iterdir():
                try:
                    if any(word in path.read_bytes() for word in words):
                        path.unlink()
                except FileNotFoundError:
                    continue  # its client was quicker
                except OSError as error:
                    raise Unavailable(f"{path} cannot be purged: {error.strerror}") from error

    def _folders(self) -> list[Path]:
        try:
            return [path for path in self._folder.iterdir() if path.is_dir()]
        except FileNotFoundError:
            return []

    def _tidy(self, folder: Path, before: float = 0) -> None:
        """Names begin with the time. What a killed writer left is old some day, too."""
        before = max(before, self._now() - DAYS * 86_400)
        names = sorted(folder.iterdir(), key=lambda path: path.name)
        for place, path in enumerate(names):
            too_many = place < len(names) - self._most
            try:
                if too_many or path.stat().st_mtime < before:
                    path.unlink()
            except FileNotFoundError:
                continue  # its client was quicker

    def _path(self, name: str, by: str) -> Path:
        if not _NAME.fullmatch(name):
            raise _nothing(name)
        return self._folder / hashlib.sha256(by.encode()).hexdigest()[:32] / name


def _nothing(name: str) -> NotFound:
    return NotFound(f"There is no response {name!r}.", code="response_not_found")
