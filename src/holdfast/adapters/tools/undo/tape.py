"""What calls of a task changed and what was undone, as lines of a file: one file for each task.

Appended to, never rewritten. A line that a killed writer left unfinished is cut off by the next.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from holdfast.adapters import private
from holdfast.core.error import Broken, Unavailable

from .state import Changed, State

_NAME = re.compile(r"[\w-]{1,100}")
_LARGEST = 256 << 20


class Began(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="began"):
    """A call is about to change something. `was`: the places it names; None: anywhere. `root` is
    the folder in which it works, links followed."""

    call: str
    tool: str
    was: dict[str, State] | None = None
    root: str = ""


class Ended(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="ended"):
    """What it changed; or why that is not known. `apart` are folders that were not looked into."""

    call: str
    tool: str
    changes: tuple[Changed, ...] = ()
    unknown: str = ""
    apart: tuple[str, ...] = ()


class Step(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One place that is put back: how it stands, and how it is to stand."""

    path: str
    was: State
    now: State


class Left(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A place that is left alone, and why."""

    path: str
    why: str


class Undoing(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="undoing"):
    """Somebody undoes changes, or with `of` an earlier undo. `gone` are the numbers of changes that
    then count no more, `back` of those that count again. `left` was left alone from the start."""

    number: int
    at: int
    by: str
    call: str = ""
    of: int = 0
    steps: tuple[Step, ...] = ()
    gone: tuple[int, ...] = ()
    back: tuple[int, ...] = ()
    left: tuple[Left, ...] = ()


class Undone(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="undone"):
    """An undo has been carried out. `left` is what could not be put back after all."""

    number: int
    at: int
    left: tuple[Left, ...] = ()


Line = Began | Ended | Undoing | Undone
_DECODER = msgspec.json.Decoder(Line)
_ENCODER = msgspec.json.Encoder()


class Tape:
    """The files of all tasks."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._turn = threading.Lock()

    def read(self, task: str) -> Sequence[Line]:
        """In order. Raises `Broken` for a line that is none of ours, `Unavailable`."""
        data = private.read(self._path(task), _LARGEST) or b""
        whole = data[: data.rfind(b"\n") + 1]
        try:
            return [_DECODER.decode(line) for line in whole.splitlines()]
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            what = f"{self._path(task)} is damaged: {error}"
            hint = "move it away; what this task changed can then not be undone"
            raise Broken(what, code="undo_damaged", hint=hint) from None

    def append(self, task: str, line: Line, *, durable: bool) -> None:
        """Raises `Unavailable`; then the line is not there."""
        try:
            with self._turn:
                self._append(self._path(task), _ENCODER.encode(line) + b"\n", durable)
        except OSError as error:
            what = f"it could not be written down in {self._place}: {error.strerror}"
            raise Unavailable(what, code="not_kept", hint="make room there") from error

    def forget(self, task: str) -> None:
        """Raises `Unavailable`."""
        try:
            self._path(task).unlink(missing_ok=True)
        except OSError as error:
            what = f"{self._path(task)} could not be forgotten: {error.strerror}"
            raise Unavailable(what, code="not_forgotten", hint="remove it") from error

    def tasks(self) -> list[str]:
        names = [one.stem for one in self._place.glob("*.jsonl")] if self._place.is_dir() else []
        return [one for one in names if _NAME.fullmatch(one)]

    def _append(self, path: Path, data: bytes, durable: bool) -> None:
        fresh = not path.exists()
        if fresh:
            private.make_folder(self._place)
        with open(path, "a+b", opener=private.opener) as file:
            size = _whole(file.fileno())
            file.truncate(size)
            try:
                file.write(data)
                file.flush()
            except OSError:
                file.truncate(size)
                raise
            if durable:
                os.fsync(file.fileno())
        if fresh and durable:
            private.sync(self._place)

    def _path(self, task: str) -> Path:
        if not _NAME.fullmatch(task):
            raise Broken(f"{task!r} is no task's id", code="bad_task")
        return self._place / f"{task}.jsonl"


def _whole(descriptor: int) -> int:
    """How much of the file is whole lines."""
    size = os.fstat(descriptor).st_size
    if not size or os.pread(descriptor, 1, size - 1) == b"\n":
        return size
    at = size
    while at:
        piece = min(65_536, at)
        at -= piece
        if (found := os.pread(descriptor, piece, at).rfind(b"\n")) >= 0:
            return at + found + 1
    return 0
