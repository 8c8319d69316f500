"""The folders that both sides have: what the host puts there, and what changed here since.

The workspace is changed as the user of the commands, so that a link which a command has made
leads this process nowhere that the command could not go itself.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .frames import PIECE
from .wire import Order

USER = 1000
_PERMISSIONS = 0o777
Frame = tuple[Order, bytes]


class Tree:
    """One folder. `shared` is the workspace, whose changes are told."""

    def __init__(self, root: str, hidden: list[str], *, shared: bool) -> None:
        self._root, self._shared = root, shared
        self._hidden = {os.path.join(root, real_name(name)) for name in hidden}  # noqa: PTH118
        self._known: dict[str, tuple[int, ...]] = {}
        self._told: dict[str, tuple[int, ...] | None] = {}

    def obey(self, order: Order, body: bytes) -> None:
        if order["do"] == "put":
            self._put(order, body)
        else:
            self._remove(order["path"])

    def _put(self, order: Order, body: bytes) -> None:
        """Make what is described; a file comes in pieces, the last of them says so."""
        path = self._path(order["path"])
        with self._acting():
            if order["kind"] == "file":
                if not self._piece(path, order, body):
                    return
            elif order["kind"] == "link":
                _clear(path)
                Path(path).symlink_to(real_name(order["link"]))
            else:
                if not os.path.isdir(path) or os.path.islink(path):  # noqa: PTH112, PTH114
                    _clear(path)
                    os.mkdir(path)  # noqa: PTH102
                os.chmod(path, order["mode"] | stat.S_IRWXU)  # noqa: PTH101
            self._known[path] = _signature(os.lstat(path))

    def _remove(self, name: str) -> None:
        path = self._path(name)
        with self._acting():
            _clear(path)
        self._known.pop(path, None)

    def changes(self) -> Iterator[Frame]:
        """What became of the folder since the last time that was `settled`, what is gone first."""
        self._told = {}
        found = dict(self._walk())
        for path in sorted(self._known, reverse=True):
            now = found.get(path)
            if now is None or stat.S_IFMT(now.st_mode) != stat.S_IFMT(self._known[path][0]):
                self._told[path] = None
                yield {"do": "gone", "path": self._name(path)}, b""
        for path, about in found.items():
            if self._known.get(path) != _signature(about):
                self._told[path] = _signature(about)
                yield from self._tell(path, about)

    def settle(self) -> None:
        """The host has taken all that was told."""
        for path, signature in self._told.items():
            if signature is None:
                self._known.pop(path, None)
            else:
                self._known[path] = signature
        self._told = {}

    def _piece(self, path: str, order: Order, body: bytes) -> bool:
        """Write a piece of a file; True for the last."""
        if order["offset"] == 0:
            _clear(path)
        flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        flags |= os.O_CREAT | os.O_EXCL if order["offset"] == 0 else 0
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.seek(order["offset"])
            file.write(body)
            if order["last"]:
                file.truncate()
                os.fchmod(file.fileno(), order["mode"])
        if order["last"]:
            os.utime(path, ns=(order["mtime"], order["mtime"]), follow_symlinks=False)
        return bool(order["last"])

    def _walk(self) -> Iterator[tuple[str, os.stat_result]]:
        folders = [self._root]
        while folders:
            with suppress(OSError), os.scandir(folders.pop()) as entries:
                for entry in entries:
                    about = entry.stat(follow_symlinks=False)
                    if entry.path in self._hidden or not _plain(about.st_mode):
                        continue
                    yield entry.path, about
                    if stat.S_ISDIR(about.st_mode):
                        folders.append(entry.path)

    def _tell(self, path: str, about: os.stat_result) -> Iterator[Frame]:
        head: Order = {"do": "item", "path": self._name(path), "mode": about.st_mode & _PERMISSIONS}
        with suppress(OSError):
            if stat.S_ISDIR(about.st_mode):
                yield {**head, "kind": "folder"}, b""
            elif stat.S_ISLNK(about.st_mode):
                yield {**head, "kind": "link", "link": _told(os.readlink(path))}, b""  # noqa: PTH115
            else:
                yield from self._tell_file(
                    path, {**head, "kind": "file", "mtime": about.st_mtime_ns}
                )

    def _tell_file(self, path: str, head: Order) -> Iterator[Frame]:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            offset, piece = 0, file.read(PIECE)
            while True:
                after = file.read(PIECE)
                yield {**head, "offset": offset, "last": not after}, piece
                if not after:
                    return
                offset, piece = offset + len(piece), after

    def _path(self, name: str) -> str:
        return os.path.join(self._root, real_name(name))  # noqa: PTH118

    def _name(self, path: str) -> str:
        return _told(os.path.relpath(path, self._root))

    @contextmanager
    def _acting(self) -> Generator[None]:
        """The workspace is the user's; the other folders are ours, and only read by the user."""
        if self._shared:
            with as_user():
                yield
        else:
            yield


@contextmanager
def as_user() -> Generator[None]:
    """Touch files with no more rights than a command has."""
    os.setegid(USER)
    os.seteuid(USER)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def _plain(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)


def _signature(about: os.stat_result) -> tuple[int, ...]:
    if stat.S_ISDIR(about.st_mode):
        return (about.st_mode,)
    return (about.st_mode, about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino)


def _clear(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108
    except FileNotFoundError:
        return
    except IsADirectoryError:
        shutil.rmtree(path)


def real_name(told: str) -> str:
    """Names are bytes; on the wire each byte is a character."""
    return os.fsdecode(told.encode("latin-1"))


def _told(name: str) -> str:
    return os.fsencode(name).decode("latin-1")
