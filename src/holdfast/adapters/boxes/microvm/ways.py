"""The machine's ways out: connections to its own 127.0.0.1 become connections to a socket of ours.

They have a wire to themselves and a thread to carry it, because they live as long as the box does,
whoever waits for what else. The thread ends with the wire.
"""

from __future__ import annotations

import selectors
import shutil
import socket
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import msgspec

from .guest.frames import Unpacker, pack
from .guest.visitor import MOST, Visitor
from .said import Said, parse

_READ = 64 << 10
_WRITE = 64 << 10
_BACKLOG = 64


class Ways:
    """All of one machine's. Whatever it says, a connection leads to one of our sockets only."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire
        self._unpacker, self._out = Unpacker(), bytearray()
        self._visitors: dict[int, Visitor] = {}
        self._places: dict[int, str] = {}
        self._folder: Path | None = None
        self._thread: threading.Thread | None = None

    def listen(self, port: int) -> socket.socket:
        """The socket at which connections to the machine's `port` arrive."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="holdfast-"))
        place = self._folder / str(port)
        place.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(place))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        self._places[port] = str(place)
        if self._thread is None:
            self._thread = threading.Thread(target=self._carry, name="microvm-ways", daemon=True)
            self._thread.start()
        return listener

    def close(self) -> None:
        """Wait for the thread, which ends when the machine has. May be called twice."""
        if self._thread is not None:
            self._thread.join()
        self._wire.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _carry(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wire, selectors.EVENT_READ, None)
            try:
                while True:
                    for key, events in selector.select():
                        if key.data is None:
                            self._ready(selector, events)
                        else:
                            key.data(events)
                    self._flush(selector)
                    self._visitors = {
                        n: each for n, each in self._visitors.items() if not each.over
                    }
            except (OSError, ValueError, EOFError, msgspec.MsgspecError):
                for visitor in self._visitors.values():
                    visitor.close()

    def _ready(self, selector: selectors.BaseSelector, events: int) -> None:
        if not events & selectors.EVENT_READ:
            return
        with suppress(BlockingIOError):
            data = self._wire.recv(_READ)
            if not data:
                raise EOFError
            for head, body in self._unpacker.feed(data):
                self._obey(selector, parse(head), body)

    def _obey(self, selector: selectors.BaseSelector, said: Said, body: bytes) -> None:
        if said.do == "opened" and said.id not in self._visitors:
            link = self._dial(said.port) if len(self._visitors) < MOST else None
            if link is None:
                self._say(do="closed", id=said.id)
            else:
                self._visitors[said.id] = Visitor(said.id, link, self._say, selector)
        elif visitor := self._visitors.get(said.id):
            visitor.obey(said.do, said.room, body)

    def _dial(self, port: int) -> socket.socket | None:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.setblocking(False)
        try:
            link.connect(self._places[port])
        except (OSError, KeyError):
            link.close()
            return None
        return link

    def _say(self, body: bytes = b"", **head: object) -> None:
        self._out += pack(msgspec.json.encode(head), body)

    def _flush(self, selector: selectors.BaseSelector) -> None:
        with suppress(BlockingIOError):
            while self._out:
                del self._out[: self._wire.send(self._out[:_WRITE])]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
        selector.modify(self._wire, events, None)
