"""The user's folder and the machine's copy of it: what changed here goes in, what changed there
comes out.

The machine is a stranger: it may name any path, any link, any length. Files are opened folder by
folder, links never followed; only files, folders and links that stay inside are brought back, with
nothing of their rights but rwx; hidden folders are never touched.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from msgspec import Struct

from holdfast.core.error import Invalid, NotFound, Unavailable

from .guest.frames import PIECE
from .said import Frame, Said, real_name, told

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PERMISSIONS = 0o777
_DEPTH = 200
_FRESH = ".holdfast-new-"
_Signature = tuple[int, ...]


class Order(Struct, frozen=True, kw_only=True):
    """Something to tell the machine. Once told, `name` is there as `signature` says."""

    head: dict[str, object]
    body: bytes = b""
    name: str = ""
    signature: _Signature | None = None


class Refusal(Exception):
    """The machine asks for something that no honest one asks for."""


class Room(Struct, frozen=True, kw_only=True):
    """How much may come out of the machine: bytes of one file; in one go, bytes besides zeros, and
    entries."""

    file: int
    bytes: int
    entries: int


class Mirror:
    """One folder (or, of a read-only path, perhaps one file `only` of it)."""

    def __init__(self, root: Path, hidden: Sequence[str] = (), only: str = "") -> None:
        self.root = root
        self.hidden = frozenset(hidden)
        self._only = only
        self._known: dict[str, _Signature] = {}
        about = root.stat()
        self._owner = (about.st_uid, about.st_gid)
        self._descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def measure(self) -> tuple[int, int]:
        """Bytes and entries that are there now."""
        sizes = [about.st_size for _, about in self._walk()]
        return sum(sizes), len(sizes)

    def size(self) -> tuple[int, int]:
        """Bytes and entries that the machine has of it, as far as is known."""
        files = (each for each in self._known.values() if not stat.S_ISDIR(each[0]))
        return sum(each[1] for each in files), len(self._known)

    def orders(self) -> Iterator[Order]:
        """What the machine must be told, so that its copy is what the folder is now."""
        found = dict(self._walk())
        for name in sorted(self._known, reverse=True):
            now = found.get(name)
            if now is None or stat.S_IFMT(now.st_mode) != stat.S_IFMT(self._known[name][0]):
                yield Order(head={"do": "gone", "path": told(name)}, name=name)
        for name, about in found.items():
            if self._known.get(name) != _signature(about):
                yield from self._describe(name, about)

    def was_told(self, order: Order) -> None:
        if order.signature:
            self._known[order.name] = order.signature
        elif order.name:
            self._known.pop(order.name, None)

    def forget(self) -> None:
        """What the machine has is not known: it is told all of it the next time."""
        self._known.clear()

    def incoming(self, room: Room) -> Incoming:
        return Incoming(self, room)

    def skipped(self, name: str) -> bool:
        """True for what is hidden, or in a hidden folder, and for our own unfinished files."""
        if name.rsplit("/", 1)[-1].startswith(_FRESH):
            return True
        return any(name == hidden or name.startswith(f"{hidden}/") for hidden in self.hidden)

    def holds_hidden(self, name: str) -> bool:
        return any(hidden.startswith(f"{name}/") for hidden in self.hidden)

    def write(self, path: str, data: bytes) -> None:
        """Raises `Invalid`, `NotFound` without the folder, `Unavailable`."""
        with self._plain(path, _WRITE) as descriptor:
            self.own(descriptor)
            os.ftruncate(descriptor, 0)
            try:
                _write(descriptor, data, 0)
                os.ftruncate(descriptor, len(data))
            except OSError as error:
                raise Unavailable(f"{path} cannot be written: {error.strerror}") from error

    def read(self, path: str, most: int) -> bytes:
        """Raises `Invalid`, `NotFound`."""
        with self._plain(path, _READ) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read(most)

    @contextmanager
    def _plain(self, path: str, flags: int) -> Generator[int]:
        """A file of the folder's own, named without any turn."""
        if not path or "\0" in path or self.skipped(path) or _odd(path.split("/")):
            raise Invalid(f"{path!r} is not the name of a file below the workspace")
        try:
            with self.parent(path) as (folder, last):
                descriptor = os.open(last, flags, 0o644, dir_fd=folder)
        except FileNotFoundError as error:
            raise NotFound(f"there is no {path} in the workspace") from error
        except OSError as error:
            raise Invalid(f"{path} is no file below the workspace: {error.strerror}") from error
        try:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
                raise Invalid(f"{path} is no plain file of the workspace alone")
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def parent(self, name: str) -> Generator[tuple[int, str]]:
        """The folder of an entry, reached through no link, and the entry's name in it."""
        *heads, last = name.split("/")
        here = os.dup(self._descriptor)
        try:
            for head in heads:
                below = os.open(head, _FOLDER, dir_fd=here)
                os.close(here)
                here = below
            yield here, last
        finally:
            os.close(here)

    def settled(self, name: str, descriptor: int, last: str) -> None:
        """What is there now is also what the machine has."""
        self._known[name] = _signature(os.stat(last, dir_fd=descriptor, follow_symlinks=False))

    def forgotten(self, name: str) -> None:
        self._known.pop(name, None)

    def own(self, descriptor: int) -> None:
        """What we make as root belongs to whose folder it is."""
        if os.geteuid() == 0:
            os.fchown(descriptor, *self._owner)

    def own_link(self, descriptor: int, last: str) -> None:
        if os.geteuid() == 0:
            os.chown(last, *self._owner, dir_fd=descriptor, follow_symlinks=False)

    def _walk(self) -> Iterator[tuple[str, os.stat_result]]:
        waiting = [""]
        while waiting:
            above = waiting.pop()
            with suppress(OSError), self.parent(f"{above}/." if above else ".") as (folder, last):
                descriptor = os.open(last, _FOLDER, dir_fd=folder)
                try:
                    for name in os.listdir(descriptor):  # noqa: PTH208 - by its descriptor
                        path = f"{above}/{name}" if above else name
                        about = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                        if self._left_out(path, about):
                            continue
                        yield path, about
                        if stat.S_ISDIR(about.st_mode):
                            waiting.append(path)
                finally:
                    os.close(descriptor)

    def _left_out(self, path: str, about: os.stat_result) -> bool:
        if self._only and path.split("/", 1)[0] != self._only:
            return True
        plain = (stat.S_ISREG, stat.S_ISDIR, stat.S_ISLNK)
        return self.skipped(path) or not any(is_kind(about.st_mode) for is_kind in plain)

    def _describe(self, name: str, about: os.stat_result) -> Iterator[Order]:
        head: dict[str, object] = {"path": told(name), "mode": about.st_mode & _PERMISSIONS}
        head["do"] = "put"
        now = _signature(about)
        with suppress(OSError), self.parent(name) as (folder, last):
            if stat.S_ISDIR(about.st_mode):
                yield Order(head={**head, "kind": "folder"}, name=name, signature=now)
            elif stat.S_ISLNK(about.st_mode):
                head |= {"kind": "link", "link": told(os.readlink(last, dir_fd=folder))}
                yield Order(head=head, name=name, signature=now)
            else:
                head |= {"kind": "file", "mtime": about.st_mtime_ns}
                for offset, piece, end in _pieces(os.open(last, _READ, dir_fd=folder)):
                    yield Order(
                        head={**head, "offset": offset, "last": end},
                        body=piece,
                        name=name if end else "",
                        signature=now if end else None,
                    )


class Incoming:
    """One delivery of changes from the machine; what it may not do raises `Refusal`."""

    def __init__(self, mirror: Mirror, room: Room) -> None:
        self._mirror, self._room = mirror, room
        self._bytes, self._entries = 0, 0
        self._open: tuple[str, str, int] | None = None
        self._offset = 0
        self._lost = ""
        self.left_behind: list[str] = []

    def take_all(self, frames: Sequence[Frame]) -> bool:
        """True at the end. Raises `Refusal`."""
        for said, body in frames:
            if said.do == "done":
                return True
            if said.do not in {"item", "gone"}:
                raise Refusal(f"its files cannot be had: {said.why[:200]}")
            self.take(said, body)
        return False

    def take(self, said: Said, body: bytes) -> None:
        """Raises `Refusal`. What cannot be written here is left behind."""
        name = _checked(said.path)
        self._entries += 1 if said.offset == 0 else 0
        self._bytes += len(body) if body.strip(b"\0") else 0
        if self._entries > self._room.entries or self._bytes > self._room.bytes:
            raise Refusal("more came out of the box than fits into it")
        if self._mirror.skipped(name) or (name == self._lost and said.offset):
            return
        if said.kind != "folder" and self._mirror.holds_hidden(name):
            raise Refusal(f"the box would replace what hidden files are in: {name}")
        try:
            with self._mirror.parent(name) as (folder, last):
                self._apply(name, (folder, last), said, body)
        except OSError:
            self.close()
            self._lost = name
            self.left_behind.append(name)

    def _apply(self, name: str, place: tuple[int, str], said: Said, body: bytes) -> None:
        folder, last = place
        if said.do == "gone":
            _clear(folder, last)
            self._mirror.forgotten(name)
        elif said.kind == "folder":
            self._folder(folder, last, said.mode)
            self._mirror.settled(name, folder, last)
        elif said.kind == "link":
            self._link(name, folder, last, said.link)
        elif said.kind == "file" and self._file(name, folder, said, body):
            self._mirror.settled(name, folder, last)

    def close(self) -> None:
        """Throw away what was not finished."""
        if self._open is not None:
            name, fresh, descriptor = self._open
            os.close(descriptor)
            with suppress(OSError), self._mirror.parent(name) as (folder, _):
                os.unlink(fresh, dir_fd=folder)
        self._open = None

    def _folder(self, folder: int, last: str, mode: int) -> None:
        about = _about(folder, last)
        if about is None or not stat.S_ISDIR(about.st_mode):
            _clear(folder, last)
            os.mkdir(last, 0o700, dir_fd=folder)
        descriptor = os.open(last, _FOLDER, dir_fd=folder)
        try:
            self._mirror.own(descriptor)
            os.fchmod(descriptor, mode & _PERMISSIONS | stat.S_IRWXU)
        finally:
            os.close(descriptor)

    def _link(self, name: str, folder: int, last: str, link: str) -> None:
        target = _real(link)
        if not _stays_inside(name, target, self._mirror.root):
            self.left_behind.append(name)
            return
        _clear(folder, last)
        os.symlink(target, last, dir_fd=folder)
        self._mirror.own_link(folder, last)
        self._mirror.settled(name, folder, last)

    def _file(self, name: str, folder: int, said: Said, body: bytes) -> bool:
        """Take a piece; with the last, the file is there as a whole: True."""
        last = name.rsplit("/", 1)[-1]
        if said.offset == 0:
            self.close()
            fresh = f"{_FRESH}{os.getpid()}-{self._entries}"
            descriptor = os.open(fresh, _CREATE, 0o600, dir_fd=folder)
            self._open, self._offset = (name, fresh, descriptor), 0
        if self._open is None or self._open[0] != name or said.offset != self._offset:
            raise Refusal("pieces of a file came out of order")
        _, fresh, descriptor = self._open
        self._offset += len(body)
        if self._offset > self._room.file:
            raise Refusal("a file came out of the box that is too large to be in it")
        _write(descriptor, body, said.offset)
        if not said.last:
            return False
        os.ftruncate(descriptor, self._offset)
        self._mirror.own(descriptor)
        os.fchmod(descriptor, said.mode & _PERMISSIONS)
        with suppress(OSError, OverflowError):
            os.utime(descriptor, ns=(said.mtime, said.mtime))
        about = _about(folder, last)
        if about is not None and stat.S_ISDIR(about.st_mode):
            _clear(folder, last)
        os.rename(fresh, last, src_dir_fd=folder, dst_dir_fd=folder)
        os.close(descriptor)
        self._open = None
        return True


def _real(text: str) -> str:
    try:
        return real_name(text)
    except UnicodeEncodeError:
        raise Refusal("a name came out of the box that is none") from None


def _checked(path: str) -> str:
    """The name of an entry below the folder, as it is written here."""
    name = _real(path)
    parts = name.split("/")
    if _odd(parts) or "\0" in name or len(parts) > _DEPTH:
        raise Refusal(f"a name came out of the box that leads elsewhere: {name[:100]!r}")
    return name


def _odd(parts: Sequence[str]) -> bool:
    return any(part in {"", ".", ".."} for part in parts)


def _stays_inside(name: str, target: str, root: Path) -> bool:
    """By its words alone. Going up after having gone down could pass another link: not allowed."""
    if not target or "\0" in target:
        return False
    parts = PurePosixPath(target).parts
    climbs = next((n for n, part in enumerate(parts) if part != ".."), len(parts))
    if ".." in parts[climbs:]:
        return False
    if target.startswith("/"):
        return PurePosixPath(target).is_relative_to(root)
    return climbs <= name.count("/")


def _pieces(descriptor: int) -> Iterator[tuple[int, bytes, bool]]:
    with os.fdopen(descriptor, "rb") as file:
        offset, piece = 0, file.read(PIECE)
        while True:
            after = file.read(PIECE)
            yield offset, piece, not after
            if not after:
                return
            offset, piece = offset + len(piece), after


def _write(descriptor: int, body: bytes, offset: int) -> None:
    """Zeros are not written: a file full of nothing takes no room."""
    if not body.strip(b"\0"):
        return
    view = memoryview(body)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _about(folder: int, last: str) -> os.stat_result | None:
    try:
        return os.stat(last, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _clear(folder: int, last: str) -> None:
    about = _about(folder, last)
    if about is None:
        return
    if stat.S_ISDIR(about.st_mode):
        try:
            shutil.rmtree(last, dir_fd=folder)
        except RecursionError:
            raise Unavailable(f"the folder {last} is too deep to be replaced") from None
    else:
        os.unlink(last, dir_fd=folder)


def _signature(about: os.stat_result) -> _Signature:
    if stat.S_ISDIR(about.st_mode):
        return (about.st_mode,)
    return (about.st_mode, about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino)
