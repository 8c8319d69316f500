"""Messages as lines over the pipes of a command in a box."""

from __future__ import annotations

from holdfast.core.error import HoldfastError
from holdfast.ports.box import Running

from .messages import LARGEST, Message, heard
from .trouble import Gone, Odd

_LAST = 200
_NONSENSE = 50


class Lines:
    """What a server writes, one message a line. Some that are none (a banner) are passed over.

    A line that is too long, or nonsense without end, ends the conversation.
    """

    def __init__(self, running: Running, largest: int = LARGEST) -> None:
        self._running, self._largest = running, largest
        self._held = bytearray()
        self._searched = self._nonsense = 0

    async def send(self, message: bytes) -> None:
        try:
            await self._running.send(message + b"\n")
        except HoldfastError:
            raise Gone(self._ended()) from None

    async def receive(self) -> list[Message]:
        """Raises `Gone`."""
        while True:
            line = (await self._line()).strip()
            if not line:
                continue
            try:
                return heard(line)
            except Odd as odd:
                self._nonsense += 1
                if self._nonsense > _NONSENSE:
                    raise Gone(f"it writes what is no message, again and again: {odd}") from None

    async def _line(self) -> bytes:
        while (end := self._held.find(b"\n", self._searched)) < 0:
            if len(self._held) > self._largest:
                raise Gone(f"it sent a message of more than {self._largest >> 20} MiB")
            self._searched = len(self._held)
            if not (piece := await self._running.receive()):
                raise Gone(self._ended())
            self._held += piece
        line = bytes(self._held[:end])
        del self._held[: end + 1]
        self._searched = 0
        return line

    def _ended(self) -> str:
        last = self._running.complaint().strip().rpartition("\n")[2][-_LAST:]
        return f"it has ended: {last}" if last else "it has ended"
