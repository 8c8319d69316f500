"""Somebody who watches tasks as they go on, and keeps every byte that was sent."""

from __future__ import annotations

import socket
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

_PATIENCE = 120.0


class Watcher:
    """Follows tasks over the socket of a home, each in a thread of its own, until they end."""

    def __init__(self, line: Path) -> None:
        self._line = line
        self._threads: list[threading.Thread] = []
        self._heard: list[bytearray] = []

    def follow(self, task: str) -> None:
        heard = bytearray()
        self._heard.append(heard)
        thread = threading.Thread(target=self._follow, args=(task, heard), daemon=True)
        thread.start()
        self._threads.append(thread)

    def rest(self) -> Iterator[bytes]:
        """All that was heard, once everybody has been told the end; and the pieces put together."""
        for thread, heard in zip(self._threads, self._heard, strict=True):
            thread.join(_PATIENCE)
            yield bytes(heard)
            yield from _whole(bytes(heard))

    def fetch(self, target: str) -> bytes:
        """What is answered, whatever it is, without its head."""
        heard = bytearray()
        self._ask(target, heard)
        return bytes(heard).partition(b"\r\n\r\n")[2]

    def _follow(self, task: str, heard: bytearray) -> None:
        with suppress(OSError):
            self._ask(f"/api/v1/tasks/{task}/events?follow=true", heard)

    def _ask(self, target: str, heard: bytearray) -> None:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(_PATIENCE)
            line.connect(str(self._line))
            head = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            line.sendall(head.encode())
            while piece := line.recv(1 << 16):
                heard += piece


def _whole(heard: bytes) -> Iterator[bytes]:
    """The replies whose pieces were sent one by one."""
    said: dict[str, str] = defaultdict(str)
    kind = b""
    for line in heard.splitlines():
        name, _, rest = line.partition(b": ")
        if name == b"event":
            kind = rest
        elif name == b"data" and kind == b"delta":
            for key, value in msgspec.json.decode(rest, type=dict[str, object]).items():
                said[key] += value if isinstance(value, str) else ""
    for text in said.values():
        yield text.encode()
