"""Who may speak here through a bridge, and where each of them stands."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Protocol
from urllib.parse import quote

import anyio
from msgspec import Struct

from holdfast.core.ids import CallId, Instant, TaskId

from .shelf import Memory, Shelf
from .window import Window

KIND = "chat:"
"""How the names of their conversations begin, and the labels of their words."""


class ChatTerms(Struct, frozen=True, kw_only=True):
    """Who may speak through bridges, in which rooms, and how often in 60 seconds.

    `users` and `rooms` are shell patterns; no user is nobody, no room is all of them. `persons`
    are patterns `PRINCIPAL/SENDER`: only a bridge that is named vouches for a person's own words.
    """

    enabled: bool = False
    users: tuple[str, ...] = ()
    rooms: tuple[str, ...] = ()
    persons: tuple[str, ...] = ()
    per_minute: int = 20
    all_per_minute: int = 120
    own_folders: bool = True

    def admits(self, sender: str) -> bool:
        return any(fnmatchcase(sender, one) for one in self.users)

    def is_open(self, room: str) -> bool:
        return not self.rooms or any(fnmatchcase(room, one) for one in self.rooms)

    def is_person(self, by: str, sender: str) -> bool:
        return any(fnmatchcase(f"{by}/{sender}", one) for one in self.persons)


class Speaker(Struct, frozen=True, kw_only=True):
    """Somebody in a room, as the bridge `by` says. Two that differ in anything share nothing."""

    by: str
    room: str
    sender: str

    @property
    def name(self) -> str:
        """Theirs alone, whatever is in it: also where their words come from."""
        return f"{KIND}{self.by}/{quote(self.room, safe='')}/{quote(self.sender, safe='')}"

    @property
    def mark(self) -> str:
        """The same as a name for files."""
        return hashlib.sha256(self.name.encode()).hexdigest()[:32]


class AnswerTo(Struct, frozen=True, kw_only=True):
    """Which question the message with this key answers."""

    task: TaskId
    call: CallId
    key: str = ""


class Talk(Struct, frozen=True, kw_only=True):
    """Where somebody stands: in which conversation, with which agent; all of theirs, and what they
    answered, the newest first. Empty: nothing has begun, or the agent is the house's own. `at`:
    when that changed."""

    session: str = ""
    agent: str = ""
    sessions: tuple[str, ...] = ()
    answers: tuple[AnswerTo, ...] = ()
    at: Instant = 0


class Talks(Protocol):
    """Keeps them, each under a mark that can be a file's name. All may raise `Unavailable`."""

    def of(self, mark: str) -> Shelf[Talk]: ...
    def marks(self) -> Sequence[str]: ...
    def forget(self, mark: str) -> None: ...


class _Remembered:
    """Implements `Talks`; forgets with the process."""

    def __init__(self) -> None:
        self._talks: dict[str, Memory[Talk]] = {}

    def of(self, mark: str) -> Memory[Talk]:
        return self._talks.setdefault(mark, Memory(Talk()))

    def marks(self) -> Sequence[str]:
        return list(self._talks)

    def forget(self, mark: str) -> None:
        self._talks.pop(mark, None)


class Chats:
    """Where each stands, kept; and how often they have spoken lately, which is not."""

    def __init__(self, talks: Talks | None = None) -> None:
        self.talks: Talks = talks or _Remembered()
        self.window, self.turn = Window(), anyio.Lock()
