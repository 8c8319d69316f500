"""Looks at a folder: at the places that a call names, or at all of it within bounds.

A look at all of it costs a walk. Contents are read only where the mark of a file (its number, size
and times) is another than at the last look, and copied aside, so that what a command then changes
can still be kept. Copies have no name and are not synced: they need not outlive the daemon, and
nobody finds there what a person keeps in the folder.
"""

from __future__ import annotations

import errno
import os
import posixpath
import shutil
import stat
import tempfile
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from holdfast.adapters import private
from holdfast.adapters.tools.beneath import Folder

from .state import (
    PERMISSIONS,
    State,
    above,
    described,
    digest_of,
    mark_of,
    state_of,
)

MOST_PLACES = 10_000
MOST_BYTES = 64 << 20
"""Of contents that are copied aside for one folder; of what is beyond, only marks are known."""

APART = frozenset({".git", "node_modules", ".venv", "__pycache__"})
"""Made by programs, large, and harmed by being put back in part: not looked into."""

_OURS = ".holdfast"
_ROOTS = 32
_SPARE = 1 << 20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SETTLED = 1_000_000_000
"""Nanoseconds after which a file's times tell every change; before, two may look alike."""


class TooMuch(Exception):
    """There is more in a folder than is looked at."""


class Seen(NamedTuple):
    """How all places stand, and the folders that were not looked into."""

    states: dict[str, State]
    apart: tuple[str, ...] = ()


def named(folder: Folder, names: Iterable[str]) -> Seen:
    """How the places stand that a call names, with all that is in them and above them."""
    states: dict[str, State] = {}
    apart: list[str] = []
    left = MOST_BYTES
    for name in names:
        for each in (*above(name), name):
            states[each] = state_of(folder, each)
        if states[name].kind == "dir":
            for inner, about, _, _ in _below(folder, name, frozenset({_OURS}), apart):
                _bounded(states)
                size = about.st_size if about is not None and stat.S_ISREG(about.st_mode) else 0
                left -= size
                if about is None or left < 0 < size:
                    states[inner] = _odd(inner) if about is None else _marked(about)
                else:
                    states[inner] = described(folder, inner, about)
    return Seen(states, tuple(apart))


class _Known(NamedTuple):
    mark: str
    state: State
    settled: bool


class Shadow:
    """The last look at each of a few folders, and copies of the contents that it saw."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._roots: OrderedDict[str, _Copies] = OrderedDict()
        # One look at a folder at a time; others do not wait for it.
        self._turns: dict[str, threading.Lock] = {}
        # What an earlier daemon copied: nobody knows any more what it was of.
        shutil.rmtree(place, ignore_errors=True)

    def look(self, root: Path, *, tidy: bool) -> Seen:
        """At all of a folder. Raises `TooMuch`, `OSError`. `tidy`: no earlier copy is needed."""
        folder = Folder(root)
        key = _key(folder)
        with self._turns.setdefault(key, threading.Lock()):
            private.make_folder(self._place.parent)
            private.make_folder(self._place)
            copies = self._roots.setdefault(key, _Copies(self._place))
            self._roots.move_to_end(key)
            if tidy:
                copies.tidy()
            while tidy and len(self._roots) > _ROOTS:
                self._roots.popitem(last=False)[1].clear()
            return copies.look(folder, anew=tidy)

    def content(self, root: Path, state: State) -> bytes | None:
        """What a look saw at some place; None if it was not copied, or is no longer whole."""
        copies = self._roots.get(_key(Folder(root)))
        return copies.content(state.digest) if copies is not None else None


def _key(folder: Folder) -> str:
    return digest_of(os.fsencode(folder.root))[:24]


class _Copies:
    """What is known of one folder. Contents stand behind each other in one file: thousands of
    files would take seconds to make."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._file: int | None = None
        self._closing: Callable[[], object] = _nothing
        self._known: dict[str, _Known] = {}
        self._places: dict[str, tuple[int, int]] = {}
        self._size = 0

    def tidy(self) -> None:
        """Begin anew once most of the file is of no use."""
        digests = {one.state.digest for one in self._known.values()}
        wanted = sum(size for digest, (_, size) in self._places.items() if digest in digests)
        if self._size > 2 * wanted + _SPARE:
            self.clear()

    def clear(self) -> None:
        self._closing()
        self._file, self._known, self._places, self._size = None, {}, {}, 0

    def content(self, digest: str) -> bytes | None:
        file = self._file
        with suppress(OSError, KeyError):  # closed meanwhile, perhaps
            start, size = self._places[digest]
            data = os.pread(file, size, start) if file is not None else b""
            return data if digest_of(data) == digest else None
        return None

    def look(self, folder: Folder, *, anew: bool) -> Seen:
        """`anew`: it is compared with no earlier look."""
        begun, left = time.time_ns(), MOST_BYTES
        known: dict[str, _Known] = {}
        states: dict[str, State] = {}
        apart: list[str] = []
        for one in _below(folder, "", APART | {_OURS}, apart):
            _bounded(states)
            if one.about is None:
                states[one.name] = _odd(one.name)
                continue
            size = one.about.st_size if stat.S_ISREG(one.about.st_mode) else 0
            mark, old = mark_of(one.about), self._last(one, anew=anew)
            if old is None and size > left:
                old = _Known(mark, _marked(one.about), settled=True)
            if old is None or not old.settled:
                settled = one.about.st_ctime_ns < begun - _SETTLED
                old = _Known(mark, self._copied(one, one.about), settled)
            left -= size if old.state.whole else 0
            known[one.name], states[one.name] = old, old.state
        self._known = known
        return Seen(states, tuple(apart))

    def _last(self, one: _Found, *, anew: bool) -> _Known | None:
        """What was seen there, if it has not changed. What was too much then stays so until one
        looks anew: that there is room for it by now is no change of it."""
        old = self._known.get(one.name)
        if old is None or one.about is None or old.mark != mark_of(one.about):
            return None
        return old if old.state.whole or not anew else None

    def _copied(self, one: _Found, about: os.stat_result) -> State:
        mode = about.st_mode & PERMISSIONS
        try:
            if stat.S_ISDIR(about.st_mode):
                return State(kind="dir", mode=mode)
            if stat.S_ISLNK(about.st_mode):
                data = os.fsencode(os.readlink(one.last, dir_fd=one.folder))
                state = State(kind="link", digest=digest_of(data))
            elif stat.S_ISREG(about.st_mode):
                data = _read(one.last, one.folder)
                state = State(kind="file", digest=digest_of(data), mode=mode)
            else:
                return _marked(about)
            self._keep(state.digest, data)
        except OSError:
            return _marked(about)
        return state

    def _keep(self, digest: str, data: bytes) -> None:
        if digest in self._places:
            return
        if self._file is None:
            self._file = _nameless(self._place)
            self._closing = weakref.finalize(self, os.close, self._file)
        if os.pwrite(self._file, data, self._size) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._places[digest] = self._size, len(data)
        self._size += len(data)


def _nameless(place: Path) -> int:
    """A file that is in no folder, and gone with its descriptor."""
    descriptor, name = tempfile.mkstemp(dir=place)
    Path(name).unlink()
    return descriptor


def _nothing() -> None:
    """Nothing is open yet."""


def _read(last: str, folder: int) -> bytes:
    """A plain file as it is; raises `OSError` if it is something else by now, or has grown."""
    descriptor = os.open(last, _OPEN, dir_fd=folder)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        about = os.fstat(descriptor)
        data = file.read(about.st_size + 1) if stat.S_ISREG(about.st_mode) else None
    if data is None or len(data) != about.st_size:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
    return data


class _Found(NamedTuple):
    """One thing on a walk; `about` is None if it cannot be looked at. `folder` is a descriptor of
    the folder that it is in, good until the walk goes on."""

    name: str
    about: os.stat_result | None
    folder: int = -1
    last: str = ""


def _below(folder: Folder, name: str, unseen: frozenset[str], apart: list[str]) -> Iterator[_Found]:
    """All that is below `name`, links not followed."""
    waiting = [name]
    while waiting:
        here = waiting.pop()
        try:
            with folder.opened(here or ".", os.O_RDONLY | os.O_DIRECTORY) as descriptor:
                for last, about in _entries(descriptor):
                    inner = posixpath.join(here, last)
                    if shown := _unspeakable(inner):
                        apart.append(shown)
                    elif stat.S_ISDIR(about.st_mode) and last in unseen:
                        apart += [inner] if last != _OURS else []
                    else:
                        yield _Found(inner, about, descriptor, last)
                        waiting += [inner] if stat.S_ISDIR(about.st_mode) else []
        except FileNotFoundError:
            continue
        except OSError:
            if not here:
                raise
            yield _Found(here, None)


def _entries(folder: int) -> list[tuple[str, os.stat_result]]:
    found: list[tuple[str, os.stat_result]] = []
    with os.scandir(folder) as entries:
        for one in entries:
            if len(found) > MOST_PLACES:
                raise _too_much()
            with suppress(FileNotFoundError):
                found.append((one.name, one.stat(follow_symlinks=False)))
    return sorted(found)


def _unspeakable(name: str) -> str:
    """A name that is no Unicode, as it can be written down; empty for all others."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return name.encode(errors="backslashreplace").decode()
    return ""


def _bounded(states: dict[str, State]) -> None:
    if len(states) > MOST_PLACES:
        raise _too_much()


def _too_much() -> TooMuch:
    return TooMuch(f"the folder holds more than {MOST_PLACES:,} files and folders")


def _marked(about: os.stat_result) -> State:
    return State(kind="odd", digest=mark_of(about))


def _odd(name: str) -> State:
    return State(kind="odd", digest=f"closed: {name}")
