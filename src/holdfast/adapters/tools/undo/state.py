"""How one place in a folder stands, and what differs between two looks at it."""

from __future__ import annotations

import errno
import hashlib
import os
import posixpath
import stat
from collections.abc import Iterator, Mapping
from typing import Literal

from msgspec import Struct

from holdfast.adapters.tools.beneath import Denied, Folder
from holdfast.adapters.tools.content import LARGEST, load

PERMISSIONS = 0o777
"""Without the bits that lend a program its owner's rights: these are never given back."""


class State(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is at one place. `digest` is SHA-256 of a file's bytes, or of where a link leads.

    Of what is `odd` (a device, a file too large or that may not be read) only a mark is known,
    which is another one when it changes.
    """

    kind: Literal["none", "file", "link", "dir", "odd"] = "none"
    digest: str = ""
    mode: int = 0

    @property
    def whole(self) -> bool:
        """Whether it can be made again from what is kept."""
        return self.kind != "odd"

    @property
    def has_content(self) -> bool:
        return self.kind in {"file", "link"}


NOTHING = State()
OUT_OF_REACH = State(kind="odd", digest="out of reach")


class Changed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One place that a call changed. `unsure`: another task was at work there at the same time."""

    path: str
    was: State
    now: State
    unsure: bool = False


def mark_of(about: os.stat_result) -> str:
    return f"{about.st_ino}:{about.st_size}:{about.st_mtime_ns}:{about.st_ctime_ns}"


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def state_of(folder: Folder, name: str) -> State:
    """How it stands, links not followed: in a folder that is a link by now, there is nothing."""
    try:
        about = folder.stat(name)
    except OSError as error:
        return NOTHING if error.errno == errno.ELOOP else OUT_OF_REACH
    if about is None:
        return NOTHING
    return described(folder, name, about)


def described(folder: Folder, name: str, about: os.stat_result) -> State:
    """The state of a place of which it is known what it is."""
    odd = State(kind="odd", digest=mark_of(about))
    mode = about.st_mode & PERMISSIONS
    if stat.S_ISDIR(about.st_mode):
        return State(kind="dir", mode=mode)
    try:
        if stat.S_ISLNK(about.st_mode):
            return State(kind="link", digest=digest_of(target_of(folder, name)))
        if stat.S_ISREG(about.st_mode) and about.st_size <= LARGEST:
            return State(kind="file", digest=digest_of(load(folder, name).data), mode=mode)
    except FileNotFoundError:
        return NOTHING
    except (Denied, OSError):
        return odd
    return odd


def target_of(folder: Folder, name: str) -> bytes:
    """Where a link leads, as it is written in it."""
    with folder.parent(name) as (parent, last):
        return os.fsencode(os.readlink(last, dir_fd=parent))


def content_of(folder: Folder, name: str, state: State) -> bytes:
    """The bytes behind the digest of a file or a link. Raises `Denied`, `OSError`."""
    return target_of(folder, name) if state.kind == "link" else load(folder, name).data


def differences(was: Mapping[str, State], now: Mapping[str, State]) -> Iterator[Changed]:
    """What has changed, in order of names. What is in a folder that could not be entered is unknown
    on one side, so it is left out; the folder itself is told as odd."""
    closed = {path for look in (was, now) for path, state in look.items() if state.kind == "odd"}
    for path in sorted({*was, *now}):
        one, other = was.get(path, NOTHING), now.get(path, NOTHING)
        if one != other and closed.isdisjoint(above(path)):
            yield Changed(path=path, was=one, now=other)


def above(path: str) -> Iterator[str]:
    """The folders that `path` is in, nearest first."""
    while path := posixpath.dirname(path):
        yield path
