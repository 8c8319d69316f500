"""The wire's grammar, the same at both ends: a frame is a head (JSON) and a body (bytes)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

WINDOW = 256 << 10
"""Bytes of one stream that may be on their way before the reader has asked for more."""
PIECE = 32 << 10
"""The most that one frame carries of a stream."""
_LENGTHS = struct.Struct(">II")
_MOST_HEAD = 2 << 20
_MOST_BODY = 1 << 20


def pack(head: bytes, body: bytes = b"") -> bytes:
    return _LENGTHS.pack(len(head), len(body)) + head + body


class Unpacker:
    """Bytes in, whole frames out."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Raises `ValueError` for a frame that is too long."""
        self._kept += data
        while len(self._kept) >= _LENGTHS.size:
            head, body = _LENGTHS.unpack_from(self._kept)
            if head > _MOST_HEAD or body > _MOST_BODY:
                raise ValueError("a frame is too long")
            end = _LENGTHS.size + head + body
            if len(self._kept) < end:
                return
            frame = bytes(self._kept[_LENGTHS.size : end])
            del self._kept[:end]
            yield frame[:head], frame[head:]
