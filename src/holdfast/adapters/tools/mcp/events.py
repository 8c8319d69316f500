"""Streams of events in which servers answer over HTTP, heard as they come."""

from __future__ import annotations

import re
from collections.abc import Callable

from holdfast.ports.egress import Answer

from . import messages
from .messages import LARGEST, Message
from .trouble import Odd

STREAM = "text/event-stream"
TICKET = re.compile(r"[\x21-\x7e]{1,256}")
_MOST = 10_000
_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_BREAK = re.compile(rb"\r\n|\n|\r(?!\n|$)")


class Ear:
    """Hears a stream until the answer to one question is among what it says.

    `named` hears the events that have a name of their own: name, and what they say.
    """

    def __init__(
        self,
        number: int,
        unasked: Callable[[Message], None],
        named: Callable[[str, bytes], None] | None = None,
    ) -> None:
        self._number, self._unasked, self._named = number, unasked, named
        self._held = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._name = ""
        self._count = 0
        self.found: Message | None = None
        self.last, self.pause = "", _PAUSE

    def forget(self) -> None:
        """What was heard so far was no part of an answer."""
        self._held.clear()
        self._data.clear()
        self._size = 0

    def hear(self, piece: bytes) -> bool:
        """True once the answer is there. Raises `Odd`."""
        self._held += piece
        if not (piece and _BREAK.search(piece)) and len(self._held) <= LARGEST:
            return False
        *lines, rest = _BREAK.split(bytes(self._held))
        self._held = bytearray(rest)
        for line in lines:
            self._line(line)
        if len(rest) + self._size > LARGEST:
            raise Odd(f"it sent a message of more than {LARGEST >> 20} MiB")
        return self.found is not None

    def take(self, message: Message) -> None:
        """Raises `Odd` for more than anybody asked for."""
        if message.id == self._number and not message.method:
            self.found = self.found or message
            return
        self._count += 1
        if self._count > _MOST:
            raise Odd("it says more than anybody asked for")
        self._unasked(message)

    def whole(self, answer: Answer, method: str) -> Message | None:
        """The answer that is no stream of events, or what was left of one. Raises `Odd`."""
        kind = kind_of(answer)
        if kind == STREAM:
            self.hear(b"\n\n")
        elif kind == "application/json":
            for message in messages.heard(answer.body):
                self.take(message)
        else:
            raise Odd(f"the answer to {method} is {kind[:60] or 'of no kind'}")
        return self.found

    def _line(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
            self._size += len(line)  # with its name: an empty one takes its place, too
        elif line.startswith(b"id:"):
            told = line[3:].strip().decode(errors="replace")
            self.last = told if TICKET.fullmatch(told) else self.last
        elif line.startswith(b"event:"):
            self._name = line[6:].strip().decode(errors="replace")[:60]
        elif line.startswith(b"retry:") and (told := line[6:].strip()).isdigit():
            self.pause = min(int(told[:9]) / 1000, _LONGEST_PAUSE)
        elif not line:
            self._event()

    def _event(self) -> None:
        data, self._data, self._size = b"\n".join(self._data), [], 0
        name, self._name = self._name, ""
        if self._named is not None and name not in {"", "message"}:
            self._named(name, data)
        elif data.strip():
            for message in messages.heard(data):
                self.take(message)


def kind_of(answer: Answer) -> str:
    return header_of(answer, "content-type").partition(";")[0].strip().lower()


def header_of(answer: Answer, name: str) -> str:
    return next((text for key, text in answer.headers.items() if key.lower() == name), "")
