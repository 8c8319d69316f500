"""Looks at a folder: at the places that a call names, or at all of it within bounds.

A look at all of it costs a walk. Contents are read only where the mark of a file (its number, size
and times) is another than at the last look, and copied aside, so that what a command then changes
can still be kept. Copies are not synced: they need not outlive the machine, only the command.
"""

from __future__ import annotations

import os
import posixpath
import shutil
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from holdfast.adapters import private
from holdfast.adapters.tools.beneath import Denied, Folder

from .state import (
    State,
    above,
    content_of,
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
            for inner, about in _below(folder, name, frozenset({_OURS}), apart):
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
        self._roots: OrderedDict[str, dict[str, _Known]] = OrderedDict()
        # One look at a folder at a time; others do not wait for it.
        self._turns: dict[str, threading.Lock] = {}
        # What an earlier daemon copied: nobody knows any more what it was of.
        shutil.rmtree(place, ignore_errors=True)

    def look(self, root: Path, *, tidy: bool) -> Seen:
        """At all of a folder. Raises `TooMuch`, `OSError`. `tidy`: no other copy is needed."""
        folder = Folder(root)
        key = digest_of(os.fsencode(folder.root))[:24]
        with self._turns.setdefault(key, threading.Lock()):
            known = self._roots.pop(key, {})
            copies = self._place / key
            private.make_folder(self._place.parent)
            copies.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh, seen = _looked(folder, known, copies)
            self._roots[key] = fresh
            if tidy:
                self._tidy(copies, {one.state.digest for one in fresh.values()})
            return seen

    def content(self, root: Path, state: State) -> bytes | None:
        """What a look saw at some place; None if it was not copied, or is no longer whole."""
        key = digest_of(os.fsencode(Folder(root).root))[:24]
        with suppress(OSError):
            data = (self._place / key / state.digest).read_bytes()
            return data if digest_of(data) == state.digest else None
        return None

    def _tidy(self, copies: Path, wanted: set[str]) -> None:
        for one in copies.iterdir():
            if one.name not in wanted:
                one.unlink(missing_ok=True)
        while len(self._roots) > _ROOTS:
            key, _ = self._roots.popitem(last=False)
            shutil.rmtree(self._place / key, ignore_errors=True)


def _looked(
    folder: Folder, known: dict[str, _Known], copies: Path
) -> tuple[dict[str, _Known], Seen]:
    begun, left = time.time_ns(), MOST_BYTES
    fresh: dict[str, _Known] = {}
    states: dict[str, State] = {}
    apart: list[str] = []
    for name, about in _below(folder, "", APART | {_OURS}, apart):
        _bounded(states)
        if about is None:
            states[name] = _odd(name)
            continue
        mark, old = mark_of(about), known.get(name)
        size = about.st_size if stat.S_ISREG(about.st_mode) else 0
        if size > left:
            states[name] = _marked(about)
            continue
        left -= size
        if old is not None and old.settled and old.mark == mark:
            states[name], fresh[name] = old.state, old
        else:
            states[name] = _copied(folder, name, about, copies)
            settled = about.st_ctime_ns < begun - _SETTLED
            fresh[name] = _Known(mark, states[name], settled)
    return fresh, Seen(states, tuple(apart))


def _copied(folder: Folder, name: str, about: os.stat_result, copies: Path) -> State:
    state = described(folder, name, about)
    if not state.has_content or (copies / state.digest).exists():
        return state
    try:
        data = content_of(folder, name, state)
        if digest_of(data) != state.digest:
            return _marked(about)  # it changes while it is looked at
        part = copies / f"{state.digest}.part"
        with open(part, "wb", opener=private.opener) as file:
            file.write(data)
        part.replace(copies / state.digest)
    except (Denied, OSError):
        return _marked(about)
    return state


def _below(
    folder: Folder, name: str, unseen: frozenset[str], apart: list[str]
) -> Iterator[tuple[str, os.stat_result | None]]:
    """All that is below `name`; None for what cannot be looked at. Links are not followed."""
    waiting = [name]
    while waiting:
        here = waiting.pop()
        try:
            with folder.opened(here or ".", os.O_RDONLY | os.O_DIRECTORY) as descriptor:
                entries = list(os.scandir(descriptor))
                found = [(one.name, one.stat(follow_symlinks=False)) for one in entries]
        except FileNotFoundError:
            continue
        except OSError:
            if not here:
                raise
            yield here, None
            continue
        for last, about in sorted(found, key=lambda one: one[0]):
            inner = posixpath.join(here, last)
            if shown := _unspeakable(inner):
                apart.append(shown)
                continue
            if stat.S_ISDIR(about.st_mode) and last in unseen:
                apart += [inner] if last != _OURS else []
                continue
            yield inner, about
            if stat.S_ISDIR(about.st_mode):
                waiting.append(inner)


def _unspeakable(name: str) -> str:
    """A name that is no Unicode, as it can be written down; empty for all others."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return name.encode(errors="backslashreplace").decode()
    return ""


def _bounded(states: dict[str, State]) -> None:
    if len(states) > MOST_PLACES:
        raise TooMuch(f"the folder holds more than {MOST_PLACES:,} files and folders")


def _marked(about: os.stat_result) -> State:
    return State(kind="odd", digest=mark_of(about))


def _odd(name: str) -> State:
    return State(kind="odd", digest=f"closed: {name}")
