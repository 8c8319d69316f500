"""Messages of one byte and a few descriptors; answers in JSON."""

from __future__ import annotations

import array
import json
import socket
from collections.abc import Sequence
from contextlib import suppress

from .kernel import MOST_DESCRIPTORS, Asked


def received(control: socket.socket) -> tuple[bytes, list[int]]:
    """A message and the descriptors that came with it; b"" when the other end is closed."""
    room = socket.CMSG_SPACE(MOST_DESCRIPTORS * 4)
    said, more, _flags, _ = control.recvmsg(16, room, socket.MSG_CMSG_CLOEXEC)
    found = array.array("i")
    for level, kind, data in more:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % 4])
    return said, list(found)


def complain(reply: socket.socket, words: str) -> None:
    with suppress(OSError):
        reply.send(json.dumps({"error": words}).encode())


def answer(reply: socket.socket, words: Asked, descriptors: Sequence[int] = ()) -> None:
    rights = array.array("i", descriptors)
    more = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if descriptors else []
    reply.sendmsg([json.dumps(words).encode()], more)
