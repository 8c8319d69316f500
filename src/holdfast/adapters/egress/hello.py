"""The first words of TLS, which are said in the open: whom does the client believe to talk with?"""

from __future__ import annotations

from msgspec import Struct

from holdfast.core.error import NotAllowed

from .line import Line

_PATIENCE = 10.0
_LONGEST = 1 << 16
_RECORD, _HELLO = 22, 1
_SNI, _ECH = 0, 0xFE0D


class Hello(Struct, frozen=True, kw_only=True):
    """A ClientHello. `raw` are the bytes as they came; `veiled`: the true name may be encrypted."""

    raw: bytes
    name: str
    veiled: bool


async def read_hello(line: Line) -> Hello:
    """Whatever was read is given back. Raises `NotAllowed` for all that is not a ClientHello."""
    raw = b""
    while True:
        try:
            if (message := _message(raw)) is not None:
                line.give_back(raw)
                name, veiled = _understood(message)
                return Hello(raw=raw, name=name, veiled=veiled)
        except (ValueError, IndexError, UnicodeDecodeError):
            raise _strange() from None
        if len(raw) > _LONGEST or not (piece := await line.receive(_PATIENCE)):
            raise _strange()
        raw += piece


def _strange() -> NotAllowed:
    return NotAllowed("what came is not the beginning of TLS", code="egress_hello")


class _Reader:
    """Takes a message apart; every length must be true. Raises `ValueError`."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) != size:
            raise ValueError("too short")
        self._at += size
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def block(self, size: int) -> _Reader:
        """What follows a length of `size` bytes."""
        return _Reader(self.take(self.number(size)))

    @property
    def left(self) -> bool:
        return self._at < len(self._data)


def _message(raw: bytes) -> bytes | None:
    """The handshake message out of its records; None: more must come. `ValueError`: it is none."""
    message, at = b"", 0
    while at + 5 <= len(raw):
        kind, major, length = raw[at], raw[at + 1], int.from_bytes(raw[at + 3 : at + 5], "big")
        if kind != _RECORD or major != 3 or not 0 < length <= 1 << 14:
            raise ValueError("no handshake record")
        if at + 5 + length > len(raw):
            break
        message += raw[at + 5 : at + 5 + length]
        at += 5 + length
        if message[0] != _HELLO:
            raise ValueError("no ClientHello")
        if len(message) >= 4 and len(message) >= 4 + int.from_bytes(message[1:4], "big"):
            return message
    if raw and raw[0] != _RECORD:
        raise ValueError("no handshake record")
    return None


def _understood(message: bytes) -> tuple[str, bool]:
    whole = _Reader(message[1:])
    hello = whole.block(3)
    if whole.left:
        raise ValueError("more than one message")
    hello.take(2 + 32)
    for size in (1, 2, 1):
        hello.block(size)
    found: dict[int, _Reader] = {}
    extensions = hello.block(2) if hello.left else _Reader(b"")
    while extensions.left:
        kind = extensions.number(2)
        if kind in found:
            raise ValueError("twice the same")
        found[kind] = extensions.block(2)
    if hello.left:
        raise ValueError("more than extensions")
    return _name(found[_SNI]) if _SNI in found else "", _ECH in found


def _name(extension: _Reader) -> str:
    names = extension.block(2)
    if names.number(1) != 0:
        raise ValueError("no name of a host")
    name = names.take(names.number(2))
    if names.left or extension.left:
        raise ValueError("more than one name")
    return name.decode("ascii").lower()
