"""Listeners on this machine's own 127.0.0.1, whose connections are carried to the host."""

from __future__ import annotations

import selectors
import socket
from contextlib import suppress

from .frames import PIECE, WINDOW
from .wire import Order, Wire

_MOST = 256


class Doorway:
    """All listeners and connections. The numbers of connections are ours."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._wire = Wire(selector, "ways", self._obey)
        self._listeners: dict[int, socket.socket] = {}
        self._visitors: dict[int, _Visitor] = {}
        self._last = 0

    def listen(self, port: int) -> None:
        if port in self._listeners:
            return
        listener = socket.create_server(("127.0.0.1", port))
        listener.setblocking(False)
        self._listeners[port] = listener
        self._selector.register(
            listener, selectors.EVENT_READ, lambda _events: self._accept(listener, port)
        )

    def _accept(self, listener: socket.socket, port: int) -> None:
        with suppress(OSError):
            accepted = listener.accept()[0]
            self._visitors = {n: each for n, each in self._visitors.items() if not each.over}
            if len(self._visitors) >= _MOST:
                accepted.close()
                return
            accepted.setblocking(False)
            self._last += 1
            number = self._last
            self._wire.say(do="opened", id=number, port=port)
            self._visitors[number] = _Visitor(number, accepted, self._wire, self._selector)

    def _obey(self, order: Order, body: bytes) -> None:
        visitor = self._visitors.get(order["id"])
        if visitor is None:
            return
        match order["do"]:
            case "data":
                visitor.take(body)
            case "room":
                visitor.more_room(order["room"])
            case "end":
                visitor.no_more()
            case _:
                visitor.close()
        if visitor.over:
            del self._visitors[order["id"]]


class _Visitor:
    """One connection of a command, with a window each way."""

    def __init__(
        self, number: int, link: socket.socket, wire: Wire, selector: selectors.BaseSelector
    ) -> None:
        self._number, self._link, self._wire, self._selector = number, link, wire, selector
        self._room, self._out = WINDOW, bytearray()
        self._heard_all, self._said_all, self._shut = False, False, False
        self.over = False
        self._watch()

    def take(self, data: bytes) -> None:
        self._out += data
        self._ready(selectors.EVENT_WRITE)

    def more_room(self, amount: int) -> None:
        self._room += amount
        self._watch()

    def no_more(self) -> None:
        self._said_all = True
        self._ready(selectors.EVENT_WRITE)

    def close(self) -> None:
        if not self.over:
            self.over = True
            self._unwatch()
            self._link.close()
            self._wire.say(do="closed", id=self._number)

    def _ready(self, events: int) -> None:
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
            self._wire.say(do="room", id=self._number, room=sent)
        if self._said_all and not self._shut:
            self._shut = True
            self._link.shutdown(socket.SHUT_WR)

    def _read(self) -> None:
        data = self._link.recv(min(PIECE, max(self._room, 1)))
        if data:
            self._room -= len(data)
            self._wire.say(data, do="data", id=self._number)
        else:
            self._heard_all = True
            self._wire.say(do="end", id=self._number)

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
