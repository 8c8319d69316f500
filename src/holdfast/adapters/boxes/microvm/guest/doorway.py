"""Listeners on this machine's own 127.0.0.1, whose connections are carried to the host."""

from __future__ import annotations

import selectors
import socket
from contextlib import suppress
from functools import partial

from .visitor import MOST, Visitor
from .wire import Order, Wire


class Doorway:
    """All listeners and connections. The numbers of connections are ours."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._wire = Wire(selector, "ways", self._obey)
        self._listeners: dict[int, socket.socket] = {}
        self._visitors: dict[int, Visitor] = {}
        self._last = 0

    def listen(self, port: int) -> None:
        if port in self._listeners:
            return
        listener = socket.create_server(("127.0.0.1", port))
        listener.setblocking(False)
        self._listeners[port] = listener
        self._selector.register(
            listener, selectors.EVENT_READ, partial(self._accept, listener, port)
        )

    def _accept(self, listener: socket.socket, port: int, _events: int) -> None:
        with suppress(OSError):
            accepted = listener.accept()[0]
            self._visitors = {n: each for n, each in self._visitors.items() if not each.over}
            if len(self._visitors) >= MOST:
                accepted.close()
                return
            accepted.setblocking(False)
            self._last += 1
            number = self._last
            self._wire.say(do="opened", id=number, port=port)
            self._visitors[number] = Visitor(number, accepted, self._wire.say, self._selector)

    def _obey(self, order: Order, body: bytes) -> None:
        if visitor := self._visitors.get(order["id"]):
            visitor.obey(order["do"], order.get("room", 0), body)
            if visitor.over:
                del self._visitors[order["id"]]
