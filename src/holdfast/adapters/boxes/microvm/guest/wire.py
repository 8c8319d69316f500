"""This end of a wire to the host: never blocks, and never holds more than the windows allow."""

from __future__ import annotations

import json
import os
import selectors
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .frames import Unpacker, pack

Order = dict[str, Any]
_READ = 64 << 10
_WRITE = 32 << 10


class Wire:
    """A port of the serial device, by its name."""

    def __init__(
        self, selector: selectors.BaseSelector, name: str, obey: Callable[[Order, bytes], None]
    ) -> None:
        self._selector, self._obey = selector, obey
        self._descriptor = os.open(_device(name), os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._unpacker, self._out = Unpacker(), bytearray()
        selector.register(self._descriptor, selectors.EVENT_READ, self._ready)

    def say(self, body: bytes = b"", **head: Any) -> None:
        self._out += pack(json.dumps(head).encode(), body)
        self._flush()

    def _ready(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._flush()
        if events & selectors.EVENT_READ:
            with suppress(BlockingIOError):
                data = os.read(self._descriptor, _READ)
                for head, body in self._unpacker.feed(data):
                    self._obey(json.loads(head), body)

    def _flush(self) -> None:
        with suppress(BlockingIOError):
            while self._out:
                del self._out[: os.write(self._descriptor, self._out[:_WRITE])]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
        self._selector.modify(self._descriptor, events, self._ready)


def _device(name: str) -> str:
    for port in Path("/sys/class/virtio-ports").iterdir():
        if (port / "name").read_text().strip() == name:
            return f"/dev/{port.name}"
    raise FileNotFoundError(name)
