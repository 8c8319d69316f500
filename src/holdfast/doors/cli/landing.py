"""Where a browser ends that a person has logged in with: here, or pasted from anywhere."""

from __future__ import annotations

import select
import socket
import sys
import time
import webbrowser

from .out import line
from .reading import text_of
from .stop import Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json

_LONGEST, _PATIENCE = 1 << 16, 900
_GONE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_THERE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
    b"Referrer-Policy: no-referrer\r\nCache-Control: no-store\r\n\r\n"
    b"That is all: go back to the terminal. You may close this page.\n"
)


class Landing:
    """Listens on 127.0.0.1; port 0 is any, None none at all: then the address is pasted."""

    def __init__(self, port: int | None) -> None:
        self._ears: socket.socket | None = None
        if port is None:
            return
        try:
            self._ears = socket.create_server(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            hint = "--port takes another one, which the issuer must know as well"
            why = error.strerror if isinstance(error, OSError) else "there is no such port"
            raise Stop(f"--port {port}: {why}", hint=hint, name="usage") from error

    @property
    def address(self) -> str:
        if self._ears is None:
            return ""
        host, port = self._ears.getsockname()[:2]
        return f"http://{host}:{port}/callback"

    def only_for(self, redirect: str) -> None:
        """Do not wait here for a browser that ends elsewhere."""
        if self._ears is not None and f":{self._ears.getsockname()[1]}/" not in redirect:
            self.close()
            self._ears = None

    def close(self) -> None:
        if self._ears is not None:
            self._ears.close()

    def invite(self, desk: Desk, given: Given, begun: Json, name: str) -> None:
        """Send the person to the address under `name`."""
        url, opened = line(text_of(begun, name)), False
        if desk.screen.attended and not given.has("no-browser"):
            opened = url.startswith(("http://", "https://")) and webbrowser.open(url)
        said = "a browser was opened; or open this:" if opened else "open this, and log in:"
        desk.screen.note(said)
        desk.screen.note(url)

    def answer(self, desk: Desk, given: Given) -> str:
        """What the browser brings, or a person pastes: the address that it ended at. Empty where
        nobody came."""
        ears = self._ears
        typed = desk.screen.attended or ears is None or given.has("paste")
        if typed:
            asked = "(or paste the address that it ends at) " if ears else "then paste it: "
            desk.screen.ask(asked)
        until = time.monotonic() + _PATIENCE
        while (left := until - time.monotonic()) > 0:
            sources = [*([ears] if ears else []), *([sys.stdin] if typed else [])]
            ready = select.select(sources, [], [], left)[0]
            if sys.stdin in ready:
                if answer := sys.stdin.readline(_LONGEST).strip():
                    return answer
                if ears is None:
                    break
                typed = False
            elif ears is not None and ready and (answer := self._brought(ears)):
                desk.screen.note("")
                return answer
        return ""

    def _brought(self, ears: socket.socket) -> str:
        """What one visitor asks for, if it is the end of a login; others are sent away."""
        visitor, _ = ears.accept()
        with visitor:
            visitor.settimeout(5)
            head = b""
            try:
                while b"\r\n\r\n" not in head and len(head) < _LONGEST:
                    if not (piece := visitor.recv(4096)):
                        break
                    head += piece
                words = head.partition(b"\r\n")[0].split(b" ")
                get = len(words) == 3 and words[:1] == [b"GET"]
                good = get and words[1].startswith(b"/callback?")
                visitor.sendall(_THERE if good else _GONE)
            except OSError:
                return ""
        target = words[1].decode("ascii", "replace").removeprefix("/callback") if good else ""
        return f"{self.address}{target}" if target else ""
