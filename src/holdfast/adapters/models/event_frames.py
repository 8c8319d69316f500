"""Server-sent events out of bytes that are cut anywhere."""

from __future__ import annotations

from collections.abc import Iterator

_BOTH = b"\r\n"


class EventFrames:
    """Splits what comes into the data of its events. A line ends in CR, LF or both."""

    def __init__(self) -> None:
        self._begun: list[bytes] = []  # a line that has not ended
        self._data: list[bytes] = []  # an event that has not ended
        self._after_cr = False

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The data of each event that ends in this piece."""
        if self._after_cr and piece:
            self._after_cr = False
            piece = piece.removeprefix(b"\n")
        if b"\r" in piece:
            self._after_cr = piece.endswith(b"\r")
            piece = piece.replace(_BOTH, b"\n").replace(b"\r", b"\n")
        *whole, rest = piece.split(b"\n")
        if whole and self._begun:
            whole[0] = b"".join((*self._begun, whole[0]))
            self._begun.clear()
        if rest:
            self._begun.append(rest)
        for line in whole:
            if not line:
                if self._data:
                    yield b"\n".join(self._data)
                    self._data.clear()
            elif line.startswith(b"data:"):
                self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
            elif line == b"data":
                self._data.append(b"")
