"""A connection that is carried over the wire; the same at both ends."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable
from contextlib import suppress

from .frames import PIECE, WINDOW

MOST = 256
"""Connections of a machine at once."""


class Visitor:
    """One connection of a command, or its continuation on the host, with a window each way."""

    def __init__(
        self,
        number: int,
        link: socket.socket,
        say: Callable[..., None],
        selector: selectors.BaseSelector,
    ) -> None:
        self._number, self._link, self._say, self._selector = number, link, say, selector
        self._room, self._out = WINDOW, bytearray()
        self._heard_all, self._said_all, self._shut = False, False, False
        self.over = False
        self._watch()

    def obey(self, do: str, room: int, data: bytes) -> None:
        """What the other end of the wire says about it. Whoever says too much is left."""
        if self.over:
            return
        if do == "room" and room > 0:
            self._room += room
            self._watch()
        elif do == "data" and len(self._out) + len(data) <= 2 * WINDOW:
            self._out += data
            self._ready(selectors.EVENT_WRITE)
        elif do == "end":
            self._said_all = True
            self._ready(selectors.EVENT_WRITE)
        else:
            self.close()

    def close(self) -> None:
        if not self.over:
            self.over = True
            self._unwatch()
            self._link.close()
            self._say(do="closed", id=self._number)

    def _ready(self, events: int) -> None:
        if self.over:
            return  # closed by what happened at the same moment
        try:
            if events & selectors.EVENT_WRITE:
                self._write()
            if events & selectors.EVENT_READ:
                self._read()
        except BlockingIOError:
            pass
        except OSError:
            self.close()
        if self._heard_all and self._shut:
            self.close()
        self._watch()

    def _write(self) -> None:
        while self._out:
            sent = self._link.send(self._out[:PIECE])
            del self._out[:sent]
            self._say(do="room", id=self._number, room=sent)
        if self._said_all and not self._shut:
            self._shut = True
            self._link.shutdown(socket.SHUT_WR)

    def _read(self) -> None:
        data = self._link.recv(min(PIECE, max(self._room, 1)))
        if data:
            self._room -= len(data)
            self._say(data, do="data", id=self._number)
        else:
            self._heard_all = True
            self._say(do="end", id=self._number)

    def _watch(self) -> None:
        self._unwatch()
        if self.over:
            return
        events = selectors.EVENT_WRITE if self._out else 0
        if self._room > 0 and not self._heard_all:
            events |= selectors.EVENT_READ
        if events:
            self._selector.register(self._link, events, self._ready)

    def _unwatch(self) -> None:
        with suppress(KeyError, ValueError):
            self._selector.unregister(self._link)
